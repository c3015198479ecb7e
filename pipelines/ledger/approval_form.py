"""Writes the Markdown form that approvers read: digests, changes, gate verdicts, results of the rollout, model card."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipelines.ledger.required_evidence import REQUIRED_GATES
from pipelines.messages.rollout import RolloutTicket
from pipelines.messages.training import SnapshotResult
from pipelines.ports import LedgerEntry, VersionInfo
from pipelines.spec.model import ModelSpec

COMPARISON_KEYS = {"metric", "candidate", "gain", "low", "high", "confidence", "rows"}
MAX_SHOWN_VALUES = 12
SKIPPED_FACTS = {"version", "champion", "snapshot", "rollout_id", "model", "generation", "steps", "phase"}
TECHNICAL_FACTS = re.compile(r"(_log_e$|^needed_|digest|sha256|histogram|per_second|^plots?$|^report$|^pictures?$)")


class FormFacts(BaseModel):
    """The facts of the form, gathered from registry, ledger, store and declaration."""

    model_config = ConfigDict(frozen=True)

    ticket: RolloutTicket
    spec: ModelSpec
    candidate: VersionInfo
    champion: VersionInfo | None = None
    lines: Sequence[LedgerEntry]
    """Ledger lines of this version, oldest first."""
    run_verdicts: Mapping[str, LedgerEntry] = {}
    """Newest verdict of each task of this deploy run, by task id."""
    snapshot: SnapshotResult | None = None
    authors: Sequence[str] = ()
    links: Mapping[str, str] = {}


def subject(facts: FormFacts, role: str) -> str:
    ticket = facts.ticket
    former = f"in place of {_version_text(facts.champion)}" if facts.champion else "as its first version"
    return f"{role}: release {ticket.model} {_version_text(facts.candidate)} {former}?"


def form(facts: FormFacts, seconds: float) -> str:
    """The form as Markdown; the same facts give the same text. ``seconds``: time to answer."""
    parts = [
        _introduction(facts, _duration_text(seconds)),
        _identity_table(facts),
        _changes(facts),
        _gates(facts),
        _rollout(facts),
        _model_card(facts),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _introduction(facts: FormFacts, wait: str) -> str:
    ticket, strategy = facts.ticket, facts.spec.deployment.strategy
    shares = [f"{share / 100:g} %" for share in facts.spec.deployment.shares()]
    way = f"by {strategy}" + (f", {' → '.join(shares)}" if shares else "")
    if ticket.first:
        way = "at once, because no version is live yet"
    return (
        f"**Approve** releases version {ticket.version} {way}. **Reject** ends this release and keeps the live "
        f"version. No answer within {wait} counts as a rejection. Your name and answer are written to the ledger."
    )


def _identity_table(facts: FormFacts) -> str:
    ticket, tags = facts.ticket, facts.candidate.tags
    rows = {
        "model": f"{ticket.model}: {facts.spec.description}",
        "version": f"{_version_text(facts.candidate)}, now live: {_version_text(facts.champion)}",
        "model digest": f"`{ticket.model_digest}`",
        "bundle digest": f"`{ticket.sha256}`",
        "hypothesis": tags.get("airworthy.hypothesis", ""),
        "author": f"{', '.join(facts.authors)} (may not approve)" if facts.authors else "",
        "see also": " · ".join(f"[{name}]({url})" for name, url in facts.links.items()),
    }
    return _table(("", ""), [(name, value) for name, value in rows.items() if value])


def _changes(facts: FormFacts) -> str:
    approvals = [line.details for line in facts.lines if line.kind == "approval"]
    if not approvals:
        return ""
    follows, changes = approvals[-1].get("follows"), approvals[-1].get("changes") or []
    if not follows:
        return "### What changed\n\nThis is the first approved version of this model."
    lines = [f"- {' '.join(change.split())}" for change in changes] or [
        "- no declared change: the same model, trained on newer data"
    ]
    return "\n".join([f"### What changed since {follows}", "", *lines])


def _gates(facts: FormFacts) -> str:
    verdicts = {line.details.get("gate"): line.details for line in facts.lines if line.kind == "gate"}
    bounds = {
        name: " and ".join(f"{sign} {value:g}" for sign, value in (("≥", b.min), ("≤", b.max)) if value is not None)
        for name, b in facts.spec.evaluation.minimum_metrics.items()
    }
    rows = []
    for name in REQUIRED_GATES:
        measured = verdicts.get(name, {}).get("facts") or {}
        numbers = _comparison_text(measured) if measured.keys() >= COMPARISON_KEYS else _facts_text(measured, bounds)
        rows.append((name.replace("_", " "), _verdict_text(verdicts.get(name)), numbers))
    return "### Gates\n\n" + _table(("gate", "verdict", "numbers"), rows)


def _rollout(facts: FormFacts) -> str:
    rows = [
        (task, _verdict_text(line.details), _facts_text(line.details.get("facts"), {}))
        for task, line in facts.run_verdicts.items()
    ]
    if not rows:
        return ""
    return "### Tests of this release\n\n" + _table(("task", "verdict", "numbers"), rows)


def _model_card(facts: FormFacts) -> str:
    spec, tags = facts.spec, facts.candidate.tags
    target = f"`{spec.target.column}`" + (f" ≥ {spec.target.at_least:g}" if spec.target.at_least is not None else "")
    rows = [
        ("use", f"{spec.problem} of {target}; owner {spec.owner}"),
        ("limits", _evaluation_limits(spec)),
        (
            "trained by",
            f"{spec.training.estimator.class_path or spec.training.estimator.kind}, seed {spec.training.seed}",
        ),
        ("code", f"`{tags.get('airworthy.git_revision', 'unknown')}`"),
    ]
    if taken := facts.snapshot:
        parts = ", ".join(
            f"{name} {part.rows:,} rows"
            + (f" ({part.first:%Y-%m-%d} to {part.last:%Y-%m-%d})" if part.first and part.last else "")
            for name, part in taken.parts.items()
        )
        rows += [
            ("data", f"{taken.rows:,} rows known at {taken.as_of:%Y-%m-%d %H:%M} UTC: {parts}"),
            ("features", f"{len(taken.features)}: {', '.join(f'`{name}`' for name in taken.features)}"),
        ]
    rows.append(("snapshot", f"`{tags.get('airworthy.snapshot', 'not on record')}`"))
    return "\n\n".join(["### Model card", _table(("", ""), rows), _metrics(facts)])


def _evaluation_limits(spec: ModelSpec) -> str:
    slices = spec.evaluation.slices
    judged = f"judged over all rows and by {', '.join(slices.columns)}" if slices else "judged over all rows only"
    return f"{judged}; not evaluated for smaller groups"


def _metrics(facts: FormFacts) -> str:
    """Candidate and champion side by side, each on its own test rows."""
    mine, theirs = facts.candidate.metrics, facts.champion.metrics if facts.champion else {}
    measured = [line.details for line in facts.lines if line.details.get("gate") == "candidate_evaluation"]
    metrics = measured[-1].get("facts", {}).get("metrics", {}) if measured else {}
    rows = [
        (name, _number(value), _number(theirs.get(f"test_{name}", theirs.get(name)))) for name, value in metrics.items()
    ]
    if not rows:
        rows = [(name, _number(value), _number(theirs.get(name))) for name, value in sorted(mine.items())]
    return _table(("metric", "candidate", "champion, on its own test rows"), rows) if rows else ""


def _verdict_text(details: Mapping[str, Any] | None) -> str:
    if details is None:
        return "**no verdict**"
    outcome = str(details.get("outcome"))
    reasons = "; ".join(str(reason) for reason in details.get("reasons") or ())
    return "pass" if outcome == "pass" else f"**{outcome}**: {reasons}"


def _facts_text(facts: Mapping[str, Any] | None, bounds: Mapping[str, str]) -> str:
    """``roc_auc 0.7012 (≥ 0.62), …``: the measured facts, without digests, paths and log evidence."""
    texts = []
    for name, value in (facts or {}).items():
        if name in SKIPPED_FACTS or TECHNICAL_FACTS.search(name) or value in (None, "", [], {}) or value is False:
            continue
        if isinstance(value, Mapping):
            texts.append(f"{_field_label(name)}: {_mapping_text(value)}")
        elif isinstance(value, list):
            texts.append(
                f"{_field_label(name)}: {'; '.join(_list_item_text(each) for each in value[:MAX_SHOWN_VALUES])}"
            )
        else:
            texts.append(f"{_field_label(name)} {_number(value)}" + (f" ({bounds[name]})" if name in bounds else ""))
    return ", ".join(texts)


def _mapping_text(values: Mapping[str, Any]) -> str:
    """Up to 12 values of a mapping; of more numbers only the 12 lowest, ascending."""
    shown = {name: value for name, value in values.items() if not TECHNICAL_FACTS.search(name)}
    numbers = {name: float(value) for name, value in shown.items() if _is_number(value)}
    if len(shown) <= MAX_SHOWN_VALUES or len(numbers) < len(shown):
        return ", ".join(
            f"{name} {_mapping_value_text(value)}" for name, value in list(shown.items())[:MAX_SHOWN_VALUES]
        )
    lowest = sorted(numbers, key=lambda name: numbers[name])[:MAX_SHOWN_VALUES]
    listed = ", ".join(f"{name} {_number(numbers[name])}" for name in lowest)
    return f"{listed} (the lowest {MAX_SHOWN_VALUES} of {len(shown)})"


def _mapping_value_text(value: Any) -> str:
    return f"({_mapping_text(value)})" if isinstance(value, Mapping) else _number(value)


def _list_item_text(value: Any) -> str:
    """One item of a list; a checklist item shows its reasons unless it passed."""
    if not isinstance(value, Mapping):
        return _number(value)
    if {"item", "result"} <= value.keys():
        why = "" if value["result"] == "PASS" else f" ({', '.join(value.get('why') or [])})"
        return f"{value['item']} {value['result']}{why}"
    return _mapping_text(value)


def _duration_text(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:g} seconds"


def _comparison_text(facts: Mapping[str, Any]) -> str:
    """The comparison with the champion: metric, gain, interval, rows and margin."""
    interval = f"{facts['confidence']:.0%} interval [{facts['low']:+.4f}, {facts['high']:+.4f}]"
    before = facts["candidate"] - facts["gain"]
    text = f"{facts['metric']} {facts['candidate']:.4f} against {before:.4f}: gain {facts['gain']:+.4f}, {interval}"
    return f"{text}, on {facts['rows']:,} rows; margin {facts.get('margin', 0):g}"


def _number(value: Any) -> str:
    if not _is_number(value):
        return "" if value is None else str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _field_label(name: str) -> str:
    return name.replace("_", " ") if name.islower() else name


def _version_text(info: VersionInfo | None) -> str:
    if info is None:
        return "nothing"
    return f"{info.version} ({info.semantic})" if info.semantic else info.version


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; text that a person typed is escaped to stay in its cell."""
    lines = [head, ["---"] * len(head), *([_escape_cell(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _escape_cell(text: str) -> str:
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").split())
