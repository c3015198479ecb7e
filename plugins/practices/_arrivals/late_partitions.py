"""Lists the late partitions that a run must ingest; one with a valid receipt by then is left out."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from practices._arrivals import deliveries, receipts
from practices._connections import installation

MAX_PARTITIONS = 366
"""Partitions per run; the others are announced again."""


class LatePartitions(BaseOperator):
    """List the delivered partitions for which no scheduled run waits and that have no valid receipt, oldest first.

    A run started by an event considers those that the event names, a manual run all. Lists at most 366.
    """

    template_fields = ("dataset",)
    ui_color = "#cfe2f3"

    def __init__(self, *, dataset: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.dataset = dataset

    def execute(self, context: Context) -> list[str]:
        ports = installation.open_ports()
        spec, store = ports.catalog.dataset(self.dataset), ports.store
        late, announced = deliveries.late_partitions(store, spec, ports.clock()), _announced_partitions(context)
        keys = receipts.partitions_without_receipt(store, spec, late.keys() & announced if announced else late)
        if not keys:
            raise AirflowSkipException(f"{self.dataset} has no late delivery that is not ingested or refused")
        return keys[:MAX_PARTITIONS]


def _announced_partitions(context: Context) -> set[str]:
    """Keys named by the events that started this run; empty for a manual run."""
    events = [event for group in context["triggering_asset_events"].values() for event in group]
    payloads = [(event.extra or {}).get("payload", {}) for event in events]
    return {key for payload in payloads for key in payload.get("partitions", [])}
