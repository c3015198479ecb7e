"""Waiting for a day and watching for late ones costs a look at the landing folder now and then, and no worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import date, datetime
from typing import Any

from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent

from pipelines.errors import AirworthyError
from pipelines.spec import DatasetSpec
from practices import _deliveries, _hooks, _receipts

RECHECK_SECONDS = 60.0
"""How often days that were dealt with are looked at again, in case the source delivered them anew."""
REMIND_SECONDS = 300.0
"""How long an announced day may stay untouched before it is announced again."""
log = logging.getLogger(__name__)


class ArrivalTrigger(BaseTrigger):
    """Fires when one day has landed completely, or when its time is up: ``{"arrived": bool}``."""

    def __init__(self, dataset: str, day: str, until: str, poll_seconds: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dataset, self.day, self.until, self.poll_seconds = dataset, day, until, poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        names = ("dataset", "day", "until", "poll_seconds")
        return f"{__name__}.ArrivalTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        ports, until = _hooks.open_ports(), datetime.fromisoformat(self.until)
        while True:
            arrived = await asyncio.to_thread(self._arrived)
            if arrived or ports.clock() >= until:
                break
            await asyncio.sleep(self.poll_seconds)
        yield TriggerEvent({"arrived": arrived})  # type: ignore[no-untyped-call]

    def _arrived(self) -> bool:
        ports = _hooks.open_ports()
        try:
            return date.fromisoformat(self.day) in _deliveries.complete(
                ports.store, ports.catalog.dataset(self.dataset)
            )
        except AirworthyError as error:
            log.warning("cannot look for %s of %s, looking again: %s", self.dataset, self.day, error)
            return False


class LateArrivals(BaseEventTrigger):
    """Fires once for each set of days that landed after their scheduled wait, or were delivered anew.

    The payload is ``{"days": [...]}``. What was dealt with is known from the receipts in the store, so a restart
    of the triggerer forgets nothing and repeats nothing; a refused delivery is quiet until it changes.
    """

    def __init__(self, dataset: str, poll_seconds: float = 5.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dataset, self.poll_seconds = dataset, poll_seconds
        self._spec: DatasetSpec
        self._settled: set[date]

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.LateArrivals", {"dataset": self.dataset, "poll_seconds": self.poll_seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        announced: dict[tuple[date, str], float] = {}
        now, looked_at_all = asyncio.get_running_loop().time, float("-inf")
        while True:
            if again := now() - looked_at_all >= RECHECK_SECONDS:
                looked_at_all = now()
            waiting = await asyncio.to_thread(self._look, again)
            fresh = {item: now() for item in waiting if now() - announced.get(item, float("-inf")) >= REMIND_SECONDS}
            announced = {item: announced[item] for item in waiting if item in announced} | fresh
            if fresh:
                yield TriggerEvent({"days": [f"{day}" for day, _ in fresh]})  # type: ignore[no-untyped-call]
            await asyncio.sleep(self.poll_seconds)

    def _look(self, again: bool) -> list[tuple[date, str]]:
        """Days that wait to be taken up, each with the digest of what lies there; ``again``: all days are looked at.

        The digest tells a delivery that was announced already from one that was put right a moment later.
        """
        ports = _hooks.open_ports()
        try:
            if again:
                self._spec, self._settled = _hooks.load_catalog().dataset(self.dataset), set()
            late = _deliveries.late(ports.store, self._spec, ports.clock()) - self._settled
            days = _receipts.untried(ports.store, self._spec, late)
            waiting = [(day, _deliveries.delivery(ports.store, self._spec, day, whole=True)) for day in days]
        except AirworthyError as error:
            log.warning("cannot look for late days of %s, looking again: %s", self.dataset, error)
            return []
        self._settled |= late - set(days)
        return waiting
