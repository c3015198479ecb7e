"""Watches the landing folder in the triggerer, without a worker: for one awaited partition, and for late ones."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent

from pipelines.errors import AirworthyError
from pipelines.spec.dataset import DatasetSpec
from practices._arrivals import deliveries, receipts
from practices._connections import installation

SPEC_REREAD_SECONDS = 60.0
"""How often the declaration of the dataset is read again."""
RECHECK_SECONDS = 3600.0
"""How often processed partitions are compared by content; in between only the stamps of their files are compared."""
REMOTE_POLL_SECONDS = 60.0
"""Minimum interval of listings of a remote store, which are paid for; a queue is faster and cheaper."""
REPEAT_EVENT_SECONDS = 300.0
"""After how long a partition that was announced and not ingested is announced again."""
log = logging.getLogger(__name__)


class ArrivalTrigger(BaseTrigger):
    """Fires when one partition has landed completely, or at ``until``: ``{"arrived": bool}``.

    Airflow's database holds the argument ``day``, so the key of each kind of partition has this name.
    """

    def __init__(self, dataset: str, day: str, until: str, poll_seconds: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dataset, self.day, self.until, self.poll_seconds = dataset, day, until, poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        names = ("dataset", "day", "until", "poll_seconds")
        return f"{__name__}.ArrivalTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        ports, until = installation.open_ports(), datetime.fromisoformat(self.until)
        clock = asyncio.get_running_loop().time
        due = clock() + (until - ports.clock()).total_seconds()  # the machine's clock may be set back meanwhile
        while True:
            arrived = await asyncio.to_thread(self._has_arrived)
            if arrived or ports.clock() >= until or clock() >= due:
                break
            await asyncio.sleep(self.poll_seconds)
        yield TriggerEvent({"arrived": arrived})  # type: ignore[no-untyped-call]

    def _has_arrived(self) -> bool:
        ports = installation.open_ports()
        try:
            spec = ports.catalog.dataset(self.dataset)
            return deliveries.has_landed(ports.store, spec, self.day, ports.clock())
        except AirworthyError as error:
            log.warning("cannot check the delivery of %s for %s, trying again: %s", self.dataset, self.day, error)
            return False


class LateArrivals(BaseEventTrigger):
    """Fires for each set of partitions that landed before or after their scheduled wait, or were delivered again.

    The payload is ``{"partitions": [...]}``. Receipts in the store name the processed ones, so a restart of the
    triggerer loses none. One that is not processed is announced again after five minutes or a restart; a refused
    delivery is announced again only when it changes.
    """

    def __init__(self, dataset: str, poll_seconds: float = 5.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dataset, self.poll_seconds = dataset, poll_seconds
        self._spec: DatasetSpec
        self._done_stamps: dict[str, str] = {}
        self._check_failed = False
        self._spec_read_at = self._checked_at = float("-inf")

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.LateArrivals", {"dataset": self.dataset, "poll_seconds": self.poll_seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        announced: dict[tuple[str, str], float] = {}
        now = asyncio.get_running_loop().time
        while True:
            late_deliveries = await asyncio.to_thread(self._find_partitions)
            due = {
                late: now()
                for late in late_deliveries
                if now() - announced.get(late, float("-inf")) >= REPEAT_EVENT_SECONDS
            }
            announced = {late: announced[late] for late in late_deliveries if late in announced} | due
            if due:
                yield TriggerEvent({"partitions": [key for key, _ in due]})  # type: ignore[no-untyped-call]
            await self._wait()

    async def _wait(self) -> None:
        """Sleep until the next listing."""
        remote = "://" in installation.open_ports().settings.store
        await asyncio.sleep(max(self.poll_seconds, REMOTE_POLL_SECONDS) if remote else self.poll_seconds)

    def _find_partitions(self) -> list[tuple[str, str]]:
        """Late partitions without a valid receipt, each with the stamp of its files.

        The stamp distinguishes an announced delivery from a later correction. The files of processed ones are read
        again only when their stamp has changed or after an hour.
        """
        ports, now = installation.open_ports(), time.monotonic()
        try:
            if now - self._spec_read_at >= SPEC_REREAD_SECONDS:
                self._spec, self._spec_read_at = installation.load_catalog().dataset(self.dataset), now
            if now - self._checked_at >= RECHECK_SECONDS:
                self._done_stamps, self._checked_at = {}, now
            late = deliveries.late_partitions(ports.store, self._spec, ports.clock())
            changed = [key for key in late if late[key] != self._done_stamps.get(key)]
            keys = receipts.partitions_without_receipt(ports.store, self._spec, changed)
        except AirworthyError as error:
            log.warning("cannot list the late partitions of %s, trying again: %s", self.dataset, error)
            self._check_failed = True
            return []
        self._check_failed, self._done_stamps = False, {key: stamp for key, stamp in late.items() if key not in keys}
        return [(key, late[key]) for key in keys]
