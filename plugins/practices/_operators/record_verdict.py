"""Records a verdict on the ledger, then returns on PASS, skips the downstream tasks or fails the task."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Refused
from pipelines.ports import LedgerEntry, Ports
from pipelines.verdict import Outcome, Verdict
from practices._operators import run_context

log = logging.getLogger(__name__)


def record_verdict(
    verdict: Verdict,
    *,
    subject: str,
    ledger_kind: str,
    model: str,
    version: str | None,
    ports: Ports,
    context: Context,
    on_fail: Literal["skip", "fail"] = "fail",
    on_unknown: Literal["skip", "fail"] = "fail",
    details: Mapping[str, Any] | None = None,
    result: str = "",
    on_recorded: Callable[[LedgerEntry], None] | None = None,
    next_steps: Callable[[], Sequence[str]] = tuple,
) -> None:
    """Write the verdict to the ledger, the XComs and the task's log; return on PASS, else stop the downstream tasks.

    FAIL skips them (``on_fail="skip"``: a candidate was rejected) or raises ``Refused`` (``on_fail="fail"``: bad data,
    a bad live system). UNKNOWN raises ``Refused`` as well, or skips them (``on_unknown="skip"``: a monitor that has too
    little data yet). The ledger gets ``details`` and the verdict; ``on_recorded`` is called with its line before the
    task ends. ``result``: digest of what the task returns; a retry that returns something else writes another line.
    What ``next_steps`` returns after that ends the message of a task that does not pass, and is no part of the verdict.
    """
    line = append_verdict(verdict, ledger_kind, model, version, ports, context, details or {}, result)
    if on_recorded is not None:
        on_recorded(line)
    push_verdict(verdict, context)
    actions = {Outcome.FAIL: on_fail, Outcome.UNKNOWN: on_unknown}
    if actions.get(verdict.outcome) == "fail":
        raise refusal(verdict, subject, next_steps())
    log_verdict(verdict, subject)
    if verdict.outcome is not Outcome.PASS:
        answer = "no" if verdict.outcome is Outcome.FAIL else "not measured yet"
        lines = [*verdict.reasons, *next_steps()]
        raise AirflowSkipException(f"{subject}: {answer}\n" + "\n".join(f"  - {line}" for line in lines))


def append_verdict(
    verdict: Verdict,
    ledger_kind: str,
    model: str,
    version: str | None,
    ports: Ports,
    context: Context,
    details: Mapping[str, Any],
    result: str = "",
) -> LedgerEntry:
    """Write the verdict to the ledger and do nothing else."""
    return ports.ledger.append(
        ledger_kind,
        model,
        version,
        {**details, **verdict.model_dump(mode="json")},
        actor=ports.settings.actor,
        key=verdict_key(context, verdict, result),
    )


def refusal(verdict: Verdict, subject: str, next_steps: Sequence[str] = ()) -> Refused:
    """The error that fails the task; the numbers are its notes, which its log shows after the reasons."""
    outcome = "refused" if verdict.outcome is Outcome.FAIL else "unknown"
    error = Refused(f"{subject} is {outcome}", [*verdict.reasons, *next_steps])
    for line in verdict.lines()[len(verdict.reasons) :]:
        error.add_note(line)
    return error


def log_verdict(verdict: Verdict, subject: str) -> None:
    """Log the outcome with one line per reason and number, the reasons first."""
    level = logging.INFO if verdict.passed else logging.WARNING
    lines = "".join(f"\n  - {line}" for line in verdict.lines())
    log.log(level, "%s: %s%s", subject, verdict.outcome.value.upper(), lines)


def push_verdict(verdict: Verdict, context: Context) -> None:
    """Push all reasons and numbers of the verdict as the XComs ``reasons`` and ``facts``."""
    task = context["ti"]
    task.xcom_push(key="reasons", value=list(verdict.reasons))
    task.xcom_push(key="facts", value=verdict.model_dump(mode="json")["facts"])


def verdict_key(context: Context, verdict: Verdict, result: str = "") -> str:
    """Idempotency key of the ledger line: equal for a retry with the same verdict and result, new after a clearing.

    It is new as well in a run that has the id of a deleted one, which began at another time.
    """
    task, clears = context["ti"], run_context.clear_count(context)
    began = getattr(context["dag_run"], "start_date", None)
    parts = [
        verdict.rule,
        verdict.outcome,
        *verdict.reasons,
        *([began.isoformat()] if began else []),
        *([result] if result else []),
    ]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return f"{run_context.run_key(context)}/{task.task_id}/{task.map_index}/{clears}/{digest}"
