"""Tells until when the scheduled run of a partition waits for its files, and whether it waits just now."""

from __future__ import annotations

from datetime import datetime

from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.partitions import Partition


def wait_end(spec: DatasetSpec, partition: Partition) -> datetime:
    """When the scheduled run of a partition stops waiting: ``due`` and ``wait`` after the partition is over.

    A table without dates has no scheduled run: the wait for it is over with its calendar's first instant.
    """
    calendar = spec.partition_calendar
    if calendar.every == "once":
        return partition.begin
    return (partition.end + spec.partition.due + spec.partition.wait).astimezone(calendar.zone)


def awaits_its_run(spec: DatasetSpec, partition: Partition, now: datetime) -> bool:
    """Whether the scheduled run of a partition waits for its files just now, so that nobody else need take them."""
    begin = spec.partition_calendar.run_time(partition)
    return begin is not None and begin <= now <= wait_end(spec, partition)
