"""Reads from each ledger line which incidents it opens and which it ends, so that no practice knows of incidents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Any

from pipelines.ledger.required_evidence import is_gate
from pipelines.messages.incident import Finding
from pipelines.ports import LedgerEntry
from pipelines.verdict import Outcome, Severity

ENDS_OF_A_ROLLOUT = ("release", "rollback", "rollout_end", "lease_expired")
OF_ONE_LIVE_VERSION = ("performance", "estimated_performance")
"""Kinds whose subject is the live version: they are over once another version answers."""
NOTHING_CHANGED = "nothing was changed; what was live stays live"


def findings(line: LedgerEntry) -> list[Finding]:
    """What the line finds wrong or well again, in the order in which it counts."""
    read = READERS.get(line.kind)
    findings = [] if read is None else list(read(line))
    return [*findings, *(_ended_rollouts(line) if line.kind in ENDS_OF_A_ROLLOUT else [])]


def day_of(line: LedgerEntry) -> date | None:
    """The day of the data that the line is about, if it is about one."""
    text = str(line.details.get("day") or "")[:10]
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def run_of(line: LedgerEntry) -> str | None:
    """``<dag_id>/<run_id>`` of the task that wrote the line, by its key."""
    parts = (line.key or "").split("/")
    return "/".join(parts[:2]) if len(parts) > 2 and "__" in parts[0] else None


def _data(line: LedgerEntry) -> Iterator[Finding]:
    details = line.details
    subject = f"{details.get('check')} {details.get('day') or ''}".strip()
    report = details.get("report")
    is_feature = details.get("check") == "point_in_time_features"
    done = "the partition is not in the feature table" if is_feature else "the published tables are as they were"
    yield _verdict(line, "data_refused", subject, severity="warning", done=done, report=report)


def _gate(line: LedgerEntry) -> Iterator[Finding]:
    if not is_gate(line):
        return
    gate, outcome = str(line.details.get("gate")), line.details.get("outcome")
    for kind, bad, severity in (("gate_no", Outcome.FAIL, "info"), ("gate_unmeasured", Outcome.UNKNOWN, "warning")):
        yield _finding(
            line,
            kind,
            gate,
            firing=outcome == bad.value,
            severity=severity,
            what=f"version {line.version} at the {gate.replace('_', ' ')}: {_reasons(line)}",
            done=NOTHING_CHANGED,
        )


def _rollout(line: LedgerEntry) -> Iterator[Finding]:
    details = line.details
    practice, outcome = str(details.get("practice")).replace("_", " "), details.get("outcome")
    if details.get("resumed") is not None or outcome == Outcome.PASS.value:
        yield _finding(line, "rollout_undecided", None, firing=False)
    elif outcome == Outcome.UNKNOWN.value:
        what = f"the {practice} of version {line.version} is undecided: {_reasons(line)}"
        done = "the traffic stays as it is until a person decides or the lease ends"
        subject = f"version {line.version}"
        yield _finding(line, "rollout_undecided", subject, firing=True, severity="warning", what=what, done=done)
    elif outcome == Outcome.FAIL.value:
        what = f"the {practice} of version {line.version} failed: {_reasons(line)}"
        subject, answers = f"version {line.version}", _answering(details)
        affects = f"the candidate; {answers}"
        fields: dict[str, Any] = {"severity": "warning", "what": what, "affects": affects, "done": answers}
        yield _finding(line, "rollout_failed", subject, firing=True, **fields)


def _answering(details: dict[str, Any]) -> str:
    """Who answers callers once a candidate was taken away; a first version has no other beside it."""
    if "champion" not in details:
        return "the version that was live answers all callers"
    champion = details["champion"]
    return f"version {champion} answers all callers" if champion else "no version answers callers yet"


def _ended_rollouts(line: LedgerEntry) -> Iterator[Finding]:
    yield _finding(line, "rollout_undecided", None, firing=False)
    yield _finding(line, "approval_waiting", None, firing=False)
    if line.kind == "release":
        for kind in ("rollback", "rollout_failed", "lease_expired", "approval_no", "retrain_requested", "gate_no"):
            yield _finding(line, kind, None, firing=False)
    live = line.version if line.kind == "release" else line.details.get("to")
    for kind in OF_ONE_LIVE_VERSION if live else ():
        yield _finding(line, kind, None, firing=False, except_for=(str(live),))


def _rollback(line: LedgerEntry) -> Iterator[Finding]:
    details = line.details
    what = f"version {details.get('from')} was taken back: {details.get('reason')}"
    severity: Severity = "warning" if details.get("by") == "target" else "info"
    done = f"version {details.get('to')} answers" if details.get("to") else "nothing answers"
    yield _finding(
        line, "rollback", f"version {details.get('from')}", firing=True, severity=severity, what=what, done=done
    )


def _lease(line: LedgerEntry) -> Iterator[Finding]:
    details = line.details
    what = f"the lease of rollout {details.get('rollout_id')} ended: {details.get('reason')}"
    done = f"it is {details.get('phase')}; version {details.get('to')} answers"
    yield _finding(
        line, "lease_expired", f"version {line.version}", firing=True, severity="warning", what=what, done=done
    )


def _approval_request(line: LedgerEntry) -> Iterator[Finding]:
    details = line.details
    users = ", ".join(map(str, details.get("users") or ()))
    until = _moment(details.get("until"))
    what = f"version {line.version} waits for the approval of {details.get('role')} ({users})"
    what += f" until {until:%Y-%m-%d %H:%M} UTC" if until else ""
    done = "the candidate is ready and has no traffic"
    yield _finding(line, "approval_waiting", _slot(line), firing=True, what=what, done=done, deadline=until)


def _approval_answer(line: LedgerEntry) -> Iterator[Finding]:
    yield _finding(line, "approval_waiting", _slot(line), firing=False)


def _approval_quorum(line: LedgerEntry) -> Iterator[Finding]:
    what = f"version {line.version} was not approved: {_reasons(line)}"
    firing = line.details.get("outcome") != Outcome.PASS.value
    yield _finding(line, "approval_no", f"version {line.version}", firing=firing, what=what, done=NOTHING_CHANGED)


def _monitoring(line: LedgerEntry) -> Iterator[Finding]:
    details, check = line.details, str(line.details.get("check"))
    outcome = details.get("outcome")
    is_overdue = outcome == Outcome.UNKNOWN.value and any("not measured since" in text for text in _texts(line))
    if outcome != Outcome.UNKNOWN.value or is_overdue:
        what = f"{check} of version {line.version}: {_reasons(line)}"
        yield _finding(line, "monitoring_gap", check, firing=is_overdue, severity="warning", what=what)
    disagreements = [str(text) for text in details.get("disagreements") or ()]
    what = "; ".join(disagreements)
    yield _finding(
        line, "registry_disagreement", "registry", firing=bool(disagreements), severity="warning", what=what, day=None
    )
    if outcome == Outcome.UNKNOWN.value:
        return
    if check == "performance_check":
        yield _verdict(line, "performance", str(line.version), severity="critical", numbers=_numbers(line))
    elif check == "drift_check":
        yield from _broken_columns(line, "drift_fault", "is asked with this column")
    elif check == "estimated_performance":
        yield _estimate(line)
    elif check == "live_input_check":
        yield from _broken_columns(line, "live_input_fault", "is sent other values of this column than it knows")


def _estimate(line: LedgerEntry) -> Finding:
    facts = line.details.get("facts") or {}
    numbers = {name: facts.get(name) for name in ("estimate", "half_width", "certificate")}
    shown = {name: f"{number:.4f}" for name, number in numbers.items() if isinstance(number, int | float)}
    named = ", ".join(f"{name.replace('_', ' ')} {number}" for name, number in shown.items())
    what = f"{facts.get('metric')} of version {line.version}, before its labels: {named}"
    firing = facts.get("state") == "watch"
    done = "nothing was changed; the labels will tell"
    return _finding(line, "estimated_performance", str(line.version), firing=firing, what=what, done=done)


def _broken_columns(line: LedgerEntry, kind: str, affects: str) -> Iterator[Finding]:
    """The columns that are well again first: all, then those that broke fire anew."""
    facts = line.details.get("facts") or {}
    faults, matters = [str(column) for column in facts.get("faults") or ()], facts.get("act") or ()
    starts = {column: (f"{column} ", f"{column}: ") for column in faults}
    by_column = {column: next((r for r in _texts(line) if r.startswith(starts[column])), column) for column in faults}
    yield _finding(line, kind, None, firing=False, except_for=tuple(faults))
    for column, what in by_column.items():
        severity: Severity = "critical" if column in matters else "warning"
        yield _finding(
            line,
            kind,
            column,
            firing=True,
            severity=severity,
            what=what,
            affects=f"version {line.version} {affects}",
            done="nothing was changed: a broken column is no reason to retrain",
            report=facts.get("report"),
            numbers={"weight": (facts.get("weights") or {}).get(column, "not measured")},
        )


def _retrain(line: LedgerEntry) -> Iterator[Finding]:
    yield _finding(
        line, "retrain_requested", "training", firing=True, what=_reasons(line), done=f"{line.model}__train was started"
    )


def _unmended(line: LedgerEntry) -> Iterator[Finding]:
    done = "no other training is asked for by the loss"
    kind, what = "retraining_unmended", _reasons(line)
    yield _finding(line, kind, "training", firing=True, severity="critical", what=what, done=done)


def _training(line: LedgerEntry) -> Iterator[Finding]:
    yield _verdict(line, "training_failed", "training", severity="warning", done=NOTHING_CHANGED)


def _drill(line: LedgerEntry) -> Iterator[Finding]:
    yield _verdict(line, "drill_failed", "drill", severity="critical", done="the drill's rollout was ended")
    if line.details.get("outcome") == Outcome.PASS.value:
        yield _finding(line, "drill_overdue", None, firing=False)


def _orphan(line: LedgerEntry) -> Iterator[Finding]:
    what = f"pod {line.details.get('pod')} had no task: {line.details.get('reason')}"
    yield _finding(line, "orphaned_pod", "pods", firing=True, what=what, done="the pod was deleted")


def _reconciliation(line: LedgerEntry) -> Iterator[Finding]:
    """It stays open with what could not be put right."""
    remaining = [str(text) for text in line.details.get("remaining") or ()]
    yield _finding(
        line,
        "registry_disagreement",
        "registry" if remaining else None,
        firing=bool(remaining),
        severity="warning",
        what="; ".join(remaining),
    )


def _verdict(line: LedgerEntry, kind: str, subject: str, *, severity: Severity, **more: Any) -> Finding:
    """Fires unless the verdict is PASS."""
    firing = line.details.get("outcome") != Outcome.PASS.value
    return _finding(line, kind, subject, firing=firing, severity=severity, what=_reasons(line), **more)


def _finding(line: LedgerEntry, kind: str, subject: str | None, *, firing: bool, **more: Any) -> Finding:
    known: dict[str, Any] = {"day": day_of(line), "run": run_of(line), "line": line.number, **more}
    return Finding(model=line.model, kind=kind, subject=subject, firing=firing, at=line.at, **known)


def _texts(line: LedgerEntry) -> list[str]:
    return [str(reason) for reason in line.details.get("reasons") or ()]


def _reasons(line: LedgerEntry) -> str:
    return "; ".join(_texts(line)) or str(line.details.get("outcome", ""))


def _numbers(line: LedgerEntry) -> dict[str, float | str]:
    facts = line.details.get("facts") or {}
    return {name: facts[name] for name in ("metric", "value", "reference", "drop") if facts.get(name) is not None}


def _slot(line: LedgerEntry) -> str:
    return f"version {line.version} {line.details.get('role')} {line.details.get('slot', '')}".strip()


def _moment(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        return None


READERS: dict[str, Callable[[LedgerEntry], Iterator[Finding]]] = {
    "data_verdict": _data,
    "gate": _gate,
    "rollout": _rollout,
    "rollback": _rollback,
    "lease_expired": _lease,
    "approval_request": _approval_request,
    "approval_answer": _approval_answer,
    "approval_quorum": _approval_quorum,
    "monitoring_verdict": _monitoring,
    "retrain_request": _retrain,
    "retraining_unmended": _unmended,
    "training": _training,
    "rollback_drill": _drill,
    "orphaned_pod": _orphan,
    "reconciliation": _reconciliation,
}
"""Kind of ledger line to what is read from it."""
