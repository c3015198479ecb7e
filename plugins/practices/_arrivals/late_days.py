"""Lists the late days of a run when it runs: a day dealt with since it was announced is left out."""

from __future__ import annotations

from datetime import date
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from practices._arrivals import deliveries, receipts
from practices._connections import installation

MAX_DAYS = 366
"""Days of one run; what is left is announced again."""


class LateDays(BaseOperator):
    """List the landed days that no scheduled run waits for any more and that have no receipt, oldest first.

    Looks at the days that the triggerer announced; in a run started by hand at all. At most 366 are listed.
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
            raise AirflowSkipException(f"no late delivery of {self.dataset} waits to be taken up")
        return [f"{day}" for day in days[:MAX_DAYS]]


def _announced_days(context: Context) -> set[date]:
    """Days that the events behind this run name; empty for a run that no event started."""
    events = [event for heard in context["triggering_asset_events"].values() for event in heard]
    named = [(event.extra or {}).get("payload", {}).get("days", []) for event in events]
    return {date.fromisoformat(day) for days in named for day in days}
