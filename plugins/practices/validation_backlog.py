"""Hands ingested days on again whose event was lost because validation was paused."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.ports import Ports
from pipelines.rules.validation_backlog import HANDED_ON, BacklogDecision, days_not_audited, judge_backlog
from practices._connections import installation
from practices._operators import defaults, run_context
from practices._operators.record_verdict import push_verdict

MAX_DAYS = 366
"""Days per run; the others are found again."""


class ValidationBacklog(BaseOperator):
    """Send the event of each ingested day that was not audited since, oldest first, so that validation starts for it.

    Airflow drops the events of a DAG that is paused. The ledger names the days: ingested, and not audited afterwards.
    Skipped while ``<dataset>__validate`` is paused or has unfinished runs, and if there is no such day. A delivery is
    handed on once, so a day whose audit cannot be made does not start for ever. Returns the days.
    """

    template_fields = ("dataset",)
    ui_color = "#d9ead3"

    def __init__(self, *, dataset: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.dataset = dataset

    def execute(self, context: Context) -> list[str]:
        ports = installation.open_ports()
        decision = self._judge(ports, context)
        push_verdict(decision.verdict, context)
        if decision.action == "wait":
            raise AirflowSkipException(f"{self.dataset}: {decision.reason}")
        days: Any = decision.verdict.facts["days"]
        actor = run_context.actor(context, ports.settings.actor)
        for day in days:
            key = run_context.action_key(context, day)
            ports.ledger.append(HANDED_ON, self.dataset, None, {"day": day}, actor=actor, key=key)
        context["outlet_events"][defaults.asset(self.dataset, "ingested")].add_partitions(days)
        self.log.info("%s: %d day(s) are handed on again: %s", self.dataset, len(days), ", ".join(days))
        return list(days)

    def _judge(self, ports: Ports, context: Context) -> BacklogDecision:
        own = run_context.action_key(context, "")  # of an earlier try, whose event was not sent if it was killed
        lines = [line for line in ports.ledger.entries(self.dataset) if not (line.key or "").startswith(own)]
        days = days_not_audited(lines, ports.clock())
        task, dag_id = context["ti"], f"{self.dataset}__validate"
        if not days:
            return judge_backlog(days, paused=False, unfinished=0, limit=MAX_DAYS)
        return judge_backlog(
            days,
            paused=task.get_dag(dag_id).is_paused,
            unfinished=task.get_dr_count(dag_id=dag_id, states=defaults.UNFINISHED_STATES),
            limit=MAX_DAYS,
        )
