"""Defers until every source has delivered the partition; ``Unavailable`` after the declared wait."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import BaseOperator, Context

from pipelines.errors import Unavailable
from pipelines.ports import Store
from pipelines.rules.partition_arrival import judge_arrival
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.partitions import Partition
from practices._arrivals import deliveries
from practices._arrivals.scheduled_wait import wait_end
from practices._arrivals.trigger import ArrivalTrigger
from practices._connections import installation
from practices._operators.partition import partition_of
from practices._operators.record_verdict import push_verdict

OUTAGE = timedelta(minutes=15)


class PartitionArrival(BaseOperator):
    """Wait until each source has delivered the partition completely, and each database has its rows.

    Defers, without a worker, until ``partition.wait`` after the time at which the files are due, also while the
    store does not answer; then (at once for a past partition) raises ``Unavailable`` with the missing sources.
    ``Refused`` if a manifest cannot be read. Returns the rows by source, from the manifests; None where none counts.
    """

    template_fields = ("dataset", "partition")
    ui_color = "#cfe2f3"

    def __init__(
        self, *, dataset: str, partition: str | None = None, poll_seconds: float = 5, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self.dataset, self.partition, self.poll_seconds = dataset, partition, poll_seconds

    def execute(self, context: Context) -> dict[str, int | None]:
        return self.check_arrival(context, outage=OUTAGE)

    def resume(self, context: Context, event: dict[str, Any]) -> dict[str, int | None]:  # noqa: ARG002
        """Called when the trigger has fired; the store is checked again, whatever the event holds."""
        return self.check_arrival(context)

    def check_arrival(self, context: Context, outage: timedelta = timedelta(0)) -> dict[str, int | None]:
        """Return the delivered rows by source, defer, or raise ``Unavailable``.

        ``outage``: how long a store that does not answer is waited for at least, also when its files are overdue.
        """
        ports = installation.open_ports()
        spec = ports.catalog.dataset(self.dataset)
        partition = partition_of(self.partition, spec, context)
        until: datetime = wait_end(spec, partition)
        try:
            arrived, lacking = self.list_deliveries(ports.store, spec, partition, ports.clock())
        except Unavailable as error:
            until = max(until, ports.clock() + outage)
            if ports.clock() >= until:
                raise
            self.log.warning("the store is asked again until %s: %s", until, error)
            arrived, lacking = {}, {}
        verdict = judge_arrival(deliveries.awaited_sources(spec, partition, ports.clock()), arrived, lacking)
        if verdict.passed:
            return arrived
        if ports.clock() < until:
            trigger = ArrivalTrigger(self.dataset, partition.key, until.isoformat(), self.poll_seconds)
            self.defer(trigger=trigger, method_name="resume")
        push_verdict(verdict, context)
        missing = "".join(f"\n  - {reason}" for reason in verdict.reasons)
        raise Unavailable(
            f"{self.dataset} of {partition} is not complete and its wait ended {until:%Y-%m-%d %H:%M %Z}; "
            f"{self.dataset}__arrive ingests it when it lands{missing}"
        )

    @staticmethod
    def list_deliveries(
        store: Store, spec: DatasetSpec, partition: Partition, now: datetime
    ) -> tuple[dict[str, int | None], dict[str, str]]:
        """Rows by source of what has arrived, and what the other deliveries lack."""
        arrived = deliveries.delivered_rows(store, spec, partition.key, now)
        awaited = deliveries.awaited_sources(spec, partition, now)
        parts = {source: deliveries.lacking_part(store, spec, source, partition.key, now) for source in awaited}
        return arrived, {source: part for source, part in parts.items() if part and source not in arrived}
