"""Defers until every source has delivered the partition; ``Unavailable`` after the declared wait."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import BaseOperator, Context

from pipelines.errors import Unavailable
from pipelines.rules.partition_arrival import judge_arrival
from practices._arrivals import deliveries
from practices._arrivals.trigger import ArrivalTrigger
from practices._connections import installation
from practices._operators.partition import partition_of
from practices._operators.record_verdict import push_verdict

OUTAGE = timedelta(minutes=15)


class PartitionArrival(BaseOperator):
    """Wait until each source's manifest of the partition is in the landing folder, and each database has its rows.

    Defers, without a worker, until ``partition.wait`` after the time at which the files are due, also while the
    store does not answer; then (at once for a past partition) raises ``Unavailable`` with the missing sources.
    ``Refused`` if a manifest cannot be read. Returns the rows by source, from the manifests.
    """

    template_fields = ("dataset", "partition")
    ui_color = "#cfe2f3"

    def __init__(
        self, *, dataset: str, partition: str | None = None, poll_seconds: float = 5, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self.dataset, self.partition, self.poll_seconds = dataset, partition, poll_seconds

    def execute(self, context: Context) -> dict[str, int]:
        return self.check_arrival(context, outage=OUTAGE)

    def resume(self, context: Context, event: dict[str, Any]) -> dict[str, int]:  # noqa: ARG002
        """Called when the trigger has fired; the store is checked again, whatever the event holds."""
        return self.check_arrival(context)

    def check_arrival(self, context: Context, outage: timedelta = timedelta(0)) -> dict[str, int]:
        """Return the delivered rows by source, defer, or raise ``Unavailable``.

        ``outage``: how long a store that does not answer is waited for at least, also when its files are overdue.
        """
        ports = installation.open_ports()
        spec = ports.catalog.dataset(self.dataset)
        partition = partition_of(self.partition, spec, context)
        until: datetime = deliveries.wait_end(spec, partition)
        try:
            arrived = deliveries.delivered_manifests(ports.store, spec, partition.key)
        except Unavailable as error:
            until = max(until, ports.clock() + outage)
            if ports.clock() >= until:
                raise
            self.log.warning("the store is asked again until %s: %s", until, error)
            arrived = {}
        verdict = judge_arrival(deliveries.awaited_sources(spec, partition, ports.clock()), arrived)
        if verdict.passed:
            return {source: sum(file.rows for file in manifest.files) for source, manifest in arrived.items()}
        if ports.clock() < until:
            trigger = ArrivalTrigger(self.dataset, partition.key, until.isoformat(), self.poll_seconds)
            self.defer(trigger=trigger, method_name="resume")
        push_verdict(verdict, context)
        missing = "".join(f"\n  - {reason}" for reason in verdict.reasons)
        raise Unavailable(
            f"{self.dataset} of {partition} is not complete and its wait ended {until:%Y-%m-%d %H:%M %Z}; "
            f"{self.dataset}__arrive ingests it when it lands{missing}"
        )
