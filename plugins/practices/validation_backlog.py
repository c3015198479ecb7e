"""Hands ingested partitions on again whose event was lost because validation was paused."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.ports import Ports
from pipelines.rules.validation_backlog import HANDED_ON, BacklogDecision, judge_backlog, partitions_not_audited
from pipelines.spec.partitions import named_partition
from practices._connections import installation
from practices._operators import defaults, run_context
from practices._operators.record_verdict import push_verdict

MAX_PARTITIONS = 366
"""Partitions per run; the others are found again."""


class ValidationBacklog(BaseOperator):
    """Send the event of each ingested partition that was not audited since, oldest first: validation starts for it.

    Airflow drops the events of a DAG that is paused. The ledger names them: ingested, and not audited afterwards.
    Skipped while ``<dataset>__validate`` is paused or has unfinished runs, and if there is no such partition. A
    delivery is handed on once, so one whose audit cannot be made does not start for ever. Returns the keys.
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
        keys: Any = decision.verdict.facts["partitions"]
        actor = run_context.actor(context, ports.settings.actor)
        for key in keys:
            details, action = named_partition(key), run_context.action_key(context, key)
            ports.ledger.append(HANDED_ON, self.dataset, None, details, actor=actor, key=action)
        context["outlet_events"][defaults.asset(self.dataset, "ingested")].add_partitions(keys)
        self.log.info("%s: %d partition(s) are handed on again: %s", self.dataset, len(keys), ", ".join(keys))
        return list(keys)

    def _judge(self, ports: Ports, context: Context) -> BacklogDecision:
        own = run_context.action_key(context, "")  # of an earlier try, whose event was not sent if it was killed
        lines = [line for line in ports.ledger.entries(self.dataset) if not (line.key or "").startswith(own)]
        keys = partitions_not_audited(lines, ports.clock())
        task, dag_id = context["ti"], f"{self.dataset}__validate"
        if not keys:
            return judge_backlog(keys, paused=False, unfinished=0, limit=MAX_PARTITIONS)
        return judge_backlog(
            keys,
            paused=task.get_dag(dag_id).is_paused,
            unfinished=task.get_dr_count(dag_id=dag_id, states=defaults.UNFINISHED_STATES),
            limit=MAX_PARTITIONS,
        )
