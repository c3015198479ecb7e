"""Watches the ledger, in the triggerer, for ingested partitions that nobody audits."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from pipelines.errors import AirworthyError
from pipelines.rules.validation_backlog import partitions_not_audited
from practices._connections import installation
from practices._operators import defaults

REPEAT_SECONDS = 120.0
"""After how long the same partitions are announced again: a run finds out whether validation is still paused."""
log = logging.getLogger(__name__)


class UnauditedDays(BaseEventTrigger):
    """Fires for the partitions that were ingested and not audited, while no run of their validation is unfinished.

    The payload is ``{"partitions": [...]}``. Whether validation is paused a trigger cannot know; the task that it
    starts can.
    """

    def __init__(self, dataset: str, poll_seconds: float = 15.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dataset, self.poll_seconds = dataset, poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.UnauditedDays", {"dataset": self.dataset, "poll_seconds": self.poll_seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        announced = float("-inf")
        while True:
            is_due = time.monotonic() - announced >= REPEAT_SECONDS
            if is_due and (keys := await asyncio.to_thread(self._find_partitions)):
                announced = time.monotonic()
                yield TriggerEvent({"partitions": keys})  # type: ignore[no-untyped-call]
            await asyncio.sleep(self.poll_seconds)

    def _find_partitions(self) -> list[str]:
        ports = installation.open_ports()
        try:
            keys = partitions_not_audited(ports.ledger.entries(self.dataset), ports.clock())
        except AirworthyError as error:
            log.warning("cannot read which partitions of %s were audited, trying again: %s", self.dataset, error)
            return []
        return keys if keys and not self._unfinished_runs() else []

    def _unfinished_runs(self) -> int:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        return RuntimeTaskInstance.get_dr_count(dag_id=f"{self.dataset}__validate", states=defaults.UNFINISHED_STATES)
