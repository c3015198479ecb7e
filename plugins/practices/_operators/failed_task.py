"""Opens an incident for a task that failed for good without a verdict on the ledger, which would open one itself."""

from __future__ import annotations

import logging
from typing import Any

from pipelines.verdict import Outcome
from practices._operators import run_context

SHOWN_CHARACTERS = 500
log = logging.getLogger(__name__)


def report_failure(context: Any) -> None:
    """Called by Airflow after the last try, and by its DAG processor for a task whose process was lost.

    The task has failed already: what goes wrong here is logged and changes nothing about it.
    """
    try:
        _report(context)
    except Exception:
        log.exception("the failure of this task opens no incident; its state in Airflow is right")


def _report(context: Any) -> None:
    from pipelines.incidents.record import take
    from pipelines.messages.incident import Finding
    from pipelines.rules.incident_kinds import KINDS
    from practices._connections import installation

    ports, task = installation.open_ports(), context["ti"]
    model, _, stage = task.dag_id.rpartition("__")
    key = f"{run_context.run_key(context)}/{task.task_id}/"
    lines = [line for line in ports.ledger.entries(model) if (line.key or "").startswith(key)]
    if any(line.details.get("outcome") in (Outcome.FAIL.value, Outcome.UNKNOWN.value) for line in lines):
        return
    error = " ".join(str(context.get("exception") or "its process was lost").split())[:SHOWN_CHARACTERS]
    about = KINDS["task_failed"]
    finding = Finding(
        model=model,
        kind="task_failed",
        subject=f"{stage}.{task.task_id}",
        firing=True,
        at=ports.clock(),
        severity=about.severity,
        what=f"{task.task_id} of {task.dag_id} failed: {error}",
        affects=about.affects,
        done=f"it was tried {getattr(task, 'try_number', 1)} time(s)",
        run=run_context.run_key(context),
    )
    take(ports, [finding])
