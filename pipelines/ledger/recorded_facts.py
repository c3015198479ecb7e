"""What the ledger says of versions where the registry has a copy, which others may edit: decisions read these."""

from __future__ import annotations

from collections.abc import Iterable

from pipelines.ports import LedgerEntry


def semantic_versions(lines: Iterable[LedgerEntry]) -> dict[str, str]:
    """Version to the semantic version of its newest approval."""
    approvals = [line for line in lines if line.kind == "approval" and line.details.get("semantic_version")]
    return {str(line.version): str(line.details["semantic_version"]) for line in approvals}


def test_metrics(lines: Iterable[LedgerEntry]) -> dict[str, dict[str, float]]:
    """Version to the metrics of its test part in its newest evaluation, as far as they were measured."""
    measured = {}
    for line in lines:
        if line.kind == "gate" and line.details.get("gate") == "candidate_evaluation":
            metrics = (line.details.get("facts") or {}).get("metrics") or {}
            measured[str(line.version)] = {
                name: float(value) for name, value in metrics.items() if isinstance(value, int | float)
            }
    return {version: metrics for version, metrics in measured.items() if metrics}


def compared_histories(lines: Iterable[LedgerEntry]) -> dict[str, int]:
    """Version to the number of histories that it is the better of (``HistoryChoice``), where two were measured."""
    trainings = [line for line in lines if line.kind == "training" and line.version is not None]
    compared = {
        str(line.version): len((line.details.get("history") or {}).get("snapshots") or {}) for line in trainings
    }
    return {version: count for version, count in compared.items() if count > 1}


def compared_versions(lines: Iterable[LedgerEntry]) -> dict[str, list[str]]:
    """Digest of a test part to the versions that were compared with a champion on it, by the ledger, oldest first."""
    versions: dict[str, list[str]] = {}
    for line in lines:
        part = line.details.get("test_part")
        if (
            line.kind == "gate"
            and line.details.get("gate") == "candidate_evaluation"
            and part
            and line.details.get("champion")
        ):
            known = versions.setdefault(str(part), [])
            if line.version is not None and line.version not in known:
                known.append(line.version)
    return versions
