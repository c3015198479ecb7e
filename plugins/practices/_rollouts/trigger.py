"""Watches a rollout in the triggerer and renews its lease until the next observation is due or its state changes.

The event only wakes the task, which reads the state of the rollout itself, so that an outdated event decides nothing.
When the triggerer stops or the task is killed, the lease is no longer renewed and expires.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from pipelines.errors import AirworthyError, Conflict
from pipelines.ports import Ports
from practices._connections import installation

POLL_SECONDS = 2.0
PROMOTION_POLL_SECONDS = 10.0
"""Interval of checks of a promotion, which has no lease to renew."""
log = logging.getLogger(__name__)


class RolloutWatch(BaseTrigger):
    """Fires at ``until``, or as soon as the model is at another generation than ``generation``: ``{"moved": bool}``.

    It changes when guard or lease roll back, or a run or person pauses, supersedes or promotes. ``lease``: its seconds,
    renewed three times within them; None renews nothing. While the target does not answer, the trigger tries again.
    """

    def __init__(self, model: str, rollout_id: str, generation: int, until: str, lease: float | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model, self.rollout_id, self.generation = model, rollout_id, generation
        self.until, self.lease = until, lease
        self._renewed = float("-inf")
        self._target: Any = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        names = ("model", "rollout_id", "generation", "until", "lease")
        return f"{__name__}.RolloutWatch", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        ports, until = installation.open_fresh_ports(), datetime.fromisoformat(self.until)
        clock = asyncio.get_running_loop().time
        due = clock() + (until - ports.clock()).total_seconds()  # the machine's clock may be set back meanwhile
        try:
            while True:
                moved = await asyncio.to_thread(self._has_changed, ports, clock())
                seconds_left = min((until - ports.clock()).total_seconds(), due - clock())
                if moved or seconds_left <= 0:
                    break
                await asyncio.sleep(min(self._poll_seconds(), seconds_left))
        finally:
            if hasattr(self._target, "close"):
                self._target.close()
        yield TriggerEvent({"moved": moved})  # type: ignore[no-untyped-call]

    def _poll_seconds(self) -> float:
        """Seconds between two checks: a thirtieth of the lease if there is one, and at least ``POLL_SECONDS``."""
        interval = self.lease / 30 if self.lease is not None else 0.0 if self.generation < 0 else PROMOTION_POLL_SECONDS
        return max(POLL_SECONDS, interval)

    def _has_changed(self, ports: Ports, clock: float) -> bool:
        """Whether the generation has changed; renews the lease when a third of it has passed."""
        try:
            self._target = self._target or ports.target(self.model)
            if self._target.rollout(self.model).generation != self.generation:
                return True
            if self.lease is not None and clock - self._renewed >= self.lease / 3:
                key = f"{self.rollout_id}/lease/{ports.clock().isoformat()}"
                self._target.renew_lease(self.model, self.rollout_id, self.lease, expect=self.generation, key=key)
                self._renewed = clock
        except Conflict:
            return True
        except AirworthyError as error:
            log.warning("rollout %s of %s cannot be watched now: %s", self.rollout_id, self.model, error)
        return False
