"""Lists the late days that a run must ingest; a day with a valid receipt by then is left out."""

from __future__ import annotations

from datetime import date
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from practices._arrivals import deliveries, receipts
from practices._connections import installation

MAX_DAYS = 366
"""Days per run; the others are announced again."""


class LateDays(BaseOperator):
    """List the delivered days whose scheduled run has stopped waiting and that have no valid receipt, oldest first.

    A run started by an event considers the days that the event names, a manual run all days. Lists at most 366.
    """

    template_fields = ("dataset",)
    ui_color = "#cfe2f3"

    def __init__(self, *, dataset: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.dataset = dataset

    def execute(self, context: Context) -> list[str]:
        ports = installation.open_ports()
        spec, store = ports.catalog.dataset(self.dataset), ports.store
        late, announced = deliveries.late_days(store, spec, ports.clock()), _announced_days(context)
        days = receipts.days_without_receipt(store, spec, late.keys() & announced if announced else late)
        if not days:
            raise AirflowSkipException(f"{self.dataset} has no late delivery that is not ingested or refused")
        return [f"{day}" for day in days[:MAX_DAYS]]


def _announced_days(context: Context) -> set[date]:
    """Days named by the events that started this run; empty for a manual run."""
    events = [event for group in context["triggering_asset_events"].values() for event in group]
    day_lists = [(event.extra or {}).get("payload", {}).get("days", []) for event in events]
    return {date.fromisoformat(day) for days in day_lists for day in days}
