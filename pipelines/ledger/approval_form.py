"""Writes the Markdown form that approvers read: digests, changes, gate verdicts, results of the rollout, model card."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipelines.ledger.markdown import Markup, cell, code, link, text
from pipelines.ledger.required_evidence import REQUIRED_GATES
from pipelines.ledger.trained_facts import TrainedFacts, training_differences
from pipelines.messages.rollout import RolloutTicket
from pipelines.ports import LedgerEntry, VersionInfo
from pipelines.spec.model import LOWER_IS_BETTER, ModelSpec
from pipelines.verdict import significant

COMPARISON_KEYS = {"metric", "candidate", "gain", "low", "high", "confidence", "rows"}
MAX_SHOWN_VALUES = 12
SKIPPED_FACTS = {"version", "champion", "snapshot", "rollout_id", "model", "generation", "steps", "phase"}
TECHNICAL_FACTS = re.compile(r"(_log_e$|^needed_|digest|sha256|histogram|per_second|^plots?$|^report$|^pictures?$)")


class FormFacts(BaseModel):
    """The facts of the form, gathered from registry, ledger and store; ``spec`` says what this run will do."""

    model_config = ConfigDict(frozen=True)

    ticket: RolloutTicket
    spec: ModelSpec
    candidate: VersionInfo
    champion: VersionInfo | None = None
    """The version that is live at the target."""
    lines: Sequence[LedgerEntry]
    """Ledger lines of this version, oldest first."""
    run_verdicts: Mapping[str, LedgerEntry] = {}
    """Newest verdict of each task of this deploy run, by task id."""
    trained: TrainedFacts = TrainedFacts()
    live_trained: TrainedFacts = TrainedFacts()
    live_metrics: Mapping[str, float] = {}
    """Test metrics of the live version, by its own evaluation on the ledger."""
    changes: Sequence[str] | None = None
    """Differences of what was declared for the two trainings; None: not on record of one of them."""
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
        f"**Approve** releases version {text(ticket.version)} {way}. **Reject** ends this release and keeps the live "
        f"version. No answer within {wait} counts as a rejection. Your name and answer are written to the ledger."
    )


def _identity_table(facts: FormFacts) -> str:
    ticket = facts.ticket
    rows = {
        "model": f"{ticket.model}: {facts.spec.description}",
        "version": f"{_version_text(facts.candidate)}, now live: {_version_text(facts.champion)}",
        "number": _number_text(facts),
        "model digest": code(ticket.model_digest),
        "judged digest": _judged_text(facts),
        "bundle digest": code(ticket.sha256),
        "hypothesis": facts.trained.hypothesis,
        "author": f"{', '.join(facts.authors)} (may not approve)" if facts.authors else "",
        "see also": Markup(" · ".join(link(name, url) for name, url in facts.links.items())),
    }
    return _table(("", ""), [(name, value) for name, value in rows.items() if value])


def _judged_text(facts: FormFacts) -> Markup | str:
    """The model that the gates judged, if it is not the one that is released."""
    digest = facts.trained.judged_digest
    if digest is None:
        return ""
    return Markup(f"{code(digest)}: the gates judged this model; the one above was then trained again on all rows")


def _number_text(facts: FormFacts) -> str:
    """Which version the semantic version follows, if that is not the live one."""
    approvals = [line.details for line in facts.lines if line.kind == "approval"]
    follows = approvals[-1].get("follows") if approvals else None
    if not follows or (facts.champion and follows == facts.champion.semantic):
        return ""
    return f"{approvals[-1].get('semantic_version')} follows {follows}, the highest approved before; that is not live"


def _changes(facts: FormFacts) -> str:
    """What is different for callers and operators: a comparison with what is live, and with nothing else."""
    if facts.champion is None:
        return "### What changed\n\nNothing is live: there is no version to compare with."
    declared = [" ".join(change.split()) for change in facts.changes or []]
    if facts.changes is None:
        declared = ["what was declared for one of the two trainings is not on record"]
    elif not declared:
        declared = ["nothing that was declared: features, target and estimator are the same"]
    lines = [f"- {text(each)}" for each in [*declared, *training_differences(facts.trained, facts.live_trained)]]
    live = text(_version_text(facts.champion))
    return "\n".join([f"### What changed since version {live}, which is live", "", *lines])


def _gates(facts: FormFacts) -> str:
    verdicts = {line.details.get("gate"): line.details for line in facts.lines if line.kind == "gate"}
    rows = []
    for name in REQUIRED_GATES:
        details = verdicts.get(name, {})
        rows.append((name.replace("_", " "), _verdict_text(verdicts.get(name)), _measured_text(details)))
    table = "### Gates\n\n" + _table(("gate", "verdict", "numbers"), rows)
    compared = (verdicts.get("candidate_evaluation", {}).get("facts") or {}).get("champion")
    if compared is None or compared == (facts.ticket.champion or "no champion"):
        return table
    which = "no other version" if compared == "no champion" else f"version {compared}"
    live = _version_text(facts.champion)
    return f"{table}\n\n**These gates compared it with {text(which)}; live is {text(live)}.**"


def _measured_text(details: Mapping[str, Any]) -> str:
    """What was measured against which limit when the gate judged; lines of earlier versions have only the numbers."""
    if findings := details.get("findings"):
        return "; ".join(map(str, findings))
    measured = details.get("facts") or {}
    return _comparison_text(measured) if measured.keys() >= COMPARISON_KEYS else _facts_text(measured)


def _rollout(facts: FormFacts) -> str:
    rows = [
        (task, _verdict_text(line.details), _facts_text(line.details.get("facts")))
        for task, line in facts.run_verdicts.items()
    ]
    if not rows:
        return ""
    return "### Tests of this release\n\n" + _table(("task", "verdict", "numbers"), rows)


def _model_card(facts: FormFacts) -> str:
    """How this version was trained and judged, by its record; of the present declaration only the owner."""
    trained, not_recorded = facts.trained, "not on record"
    rounds = f", {trained.rounds} rounds" if trained.rounds else ""
    device = f", on {trained.device}" if trained.device else ""
    rows = [
        ("use", Markup(f"{trained.target or f'target {not_recorded}'}; owner {text(facts.spec.owner)}")),
        ("limits", _evaluation_limits(facts)),
        ("trained by", f"{trained.estimator or not_recorded}, seed {trained.seed or not_recorded}{rounds}{device}"),
        ("code", code(trained.git_revision or not_recorded)),
    ]
    if taken := trained.data:
        parts = ", ".join(
            f"{name} {part.rows:,} rows"
            + (f" ({part.first:%Y-%m-%d} to {part.last:%Y-%m-%d})" if part.first and part.last else "")
            for name, part in taken.parts.items()
        )
        rows += [
            ("data", f"{taken.rows:,} rows known at {taken.as_of:%Y-%m-%d %H:%M} UTC: {parts}"),
            ("features", Markup(f"{len(taken.features)}: {', '.join(map(code, taken.features))}")),
        ]
    rows.append(("snapshot", code(trained.snapshot or not_recorded)))
    return "\n\n".join(["### Model card", _table(("", ""), rows), _metrics(facts)])


def _evaluation_limits(facts: FormFacts) -> str:
    """Over which groups the slice gate judged this version."""
    gates = [line.details for line in facts.lines if line.details.get("gate") == "slice_gate"]
    measured = (gates[-1].get("facts") or {}) if gates else {}
    columns = dict.fromkeys(name.split("=", 1)[0] for name in measured.get("gains") or {})
    if columns:
        return f"judged over all rows and by {', '.join(columns)}; not evaluated for smaller groups"
    if measured.get("champion") == "no champion":
        return "judged over all rows only, as there was no version to compare its groups with"
    return "judged over all rows only; not evaluated for smaller groups"


def _metrics(facts: FormFacts) -> str:
    """Candidate and live version side by side, each on its own test rows, as their evaluations are on the ledger."""
    measured = [line.details for line in facts.lines if line.details.get("gate") == "candidate_evaluation"]
    metrics = measured[-1].get("facts", {}).get("metrics", {}) if measured else {}
    rows = [(name, _number(value), _number(facts.live_metrics.get(name))) for name, value in metrics.items()]
    live = f"version {facts.champion.version}, on its own test rows" if facts.champion else "nothing is live"
    return _table(("metric", "candidate", live), rows) if rows else ""


def _verdict_text(details: Mapping[str, Any] | None) -> str:
    if details is None:
        return Markup("**no verdict**")
    outcome = str(details.get("outcome"))
    reasons = "; ".join(str(reason) for reason in details.get("reasons") or ())
    return "pass" if outcome == "pass" else Markup(f"**{text(outcome)}**: {text(reasons)}")


def _facts_text(facts: Mapping[str, Any] | None) -> str:
    """``roc_auc 0.7012, rows 9,124``: the measured facts, without digests, paths and log evidence."""
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
            texts.append(f"{_field_label(name)} {_number(value)}")
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
            return f"{significant(seconds / size)} {unit}"
    return f"{seconds:g} seconds"


def _comparison_text(facts: Mapping[str, Any]) -> str:
    """The comparison with the champion: metric, gain, interval, rows and margin."""
    interval = "no interval"
    if _is_number(facts["low"]) and _is_number(facts["high"]):
        interval = f"{100 * facts['confidence']:.4g}% interval [{facts['low']:+.4f}, {facts['high']:+.4f}]"
    loss = facts["metric"] in LOWER_IS_BETTER
    before = facts["candidate"] + facts["gain"] if loss else facts["candidate"] - facts["gain"]
    text = f"{facts['metric']} {facts['candidate']:.4f} against {before:.4f}: gain {facts['gain']:+.4f}, {interval}"
    units = f" of {facts['units']} {'days' if facts.get('unit') == 'day' else 'units'}" if facts.get("units") else ""
    return f"{text}, on {facts['rows']:,} rows{units}; margin {facts.get('margin', 0):g}"


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
    """A Markdown table; what is not made here is shown letter for letter and stays in its cell."""
    lines: list[Sequence[str]] = [list(map(cell, head)), ["---"] * len(head)]
    lines += [list(map(cell, row)) for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
