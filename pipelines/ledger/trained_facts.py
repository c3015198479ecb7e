"""How a version was trained, as the ledger's line on its training has it, and in what two versions differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipelines.ledger.hash_chain import utc_minute
from pipelines.ledger.markdown import Markup, code, text
from pipelines.messages.training import SnapshotResult

UNKNOWN_REVISION = "unknown"


class TrainedFacts(BaseModel):
    """Facts of one training. None: not on record."""

    model_config = ConfigDict(frozen=True)

    declared: dict[str, Any] = {}
    """What was declared when it was trained: problem, target, inputs, estimator."""
    seed: str | None = None
    rounds: int | None = None
    device: str | None = None
    git_revision: str | None = None
    environment_digest: str | None = None
    model_digest: str | None = None
    judged_digest: str | None = None
    """Of the model that was judged, if the deployed one was trained again on all rows."""
    snapshot: str | None = None
    """Digest of the training data."""
    hypothesis: str = ""
    data: SnapshotResult | None = None

    @classmethod
    def of(
        cls, details: Mapping[str, Any], tags: Mapping[str, str], data: SnapshotResult | None = None
    ) -> TrainedFacts:
        """``details`` of the ledger's line; the registry's ``tags`` fill what lines of earlier versions lack."""
        seed = details.get("seed")
        return cls(
            declared=details.get("declared") or {},
            seed=tags.get("airworthy.seed") if seed is None else str(seed),
            rounds=details.get("rounds"),
            device=details.get("device") or tags.get("airworthy.device"),
            git_revision=details.get("git_revision") or tags.get("airworthy.git_revision"),
            environment_digest=details.get("environment_digest") or tags.get("airworthy.environment_digest"),
            model_digest=details.get("model_digest") or tags.get("airworthy.model_digest"),
            judged_digest=details.get("judged_digest"),
            snapshot=snapshot_digest(details, tags),
            hypothesis=str(details.get("hypothesis", tags.get("airworthy.hypothesis")) or ""),
            data=data,
        )

    @property
    def estimator(self) -> str | None:
        """Kind or class of what was trained."""
        estimator = self.declared.get("estimator") or {}
        return estimator.get("class_path") or estimator.get("kind")

    @property
    def target(self) -> Markup | None:
        """``classification of amount ≥ 15``."""
        target = self.declared.get("target") or {}
        name = target.get("column") or target.get("expression")
        if not name:
            return None
        bound = target.get("at_least")
        named = f"{text(str(self.declared.get('problem')))} of {code(str(name))}"
        return Markup(named + (f" ≥ {bound:g}" if bound is not None else ""))


def snapshot_digest(details: Mapping[str, Any], tags: Mapping[str, str]) -> str | None:
    return details.get("snapshot") or tags.get("airworthy.snapshot")


def training_differences(candidate: TrainedFacts, live: TrainedFacts) -> list[str]:
    """In what the training of a candidate differs from that of the live version, beside what was declared."""
    if candidate.model_digest is not None and candidate.model_digest == live.model_digest:
        return ["none: both are the same model file, byte for byte"]
    texts = [_data_difference(candidate, live)]
    for name, mine, other in (
        ("seed", candidate.seed, live.seed),
        ("code", _known_revision(candidate), _known_revision(live)),
    ):
        if mine is None or other is None:
            texts.append(f"{name}: not on record of {'this version' if mine is None else 'the live version'}")
        elif mine != other:
            texts.append(f"{name} {mine[:12]} instead of {other[:12]}")
    if None not in (candidate.environment_digest, live.environment_digest) and (
        candidate.environment_digest != live.environment_digest
    ):
        texts.append("other versions of the libraries")
    return texts


def _known_revision(facts: TrainedFacts) -> str | None:
    return None if facts.git_revision == UNKNOWN_REVISION else facts.git_revision


def _data_difference(candidate: TrainedFacts, live: TrainedFacts) -> str:
    if candidate.snapshot is None or live.snapshot is None:
        return f"data: not on record of {'this version' if candidate.snapshot is None else 'the live version'}"
    if candidate.snapshot == live.snapshot:
        return f"the same data: snapshot {candidate.snapshot[:12]}"
    if candidate.data is None or live.data is None:
        return f"other data: snapshot {candidate.snapshot[:12]} instead of {live.snapshot[:12]}"
    mine, other = candidate.data, live.data
    age = "newer" if mine.as_of > other.as_of else "older" if mine.as_of < other.as_of else "other"
    return f"{age} data: {_rows_text(mine)} instead of {_rows_text(other)}"


def _rows_text(data: SnapshotResult) -> str:
    return f"{data.rows:,} rows known at {utc_minute(data.as_of)}"
