"""A comparison that runs for days holds no worker, keeps its rollout alive, and hears at once when it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from pipelines.errors import AirworthyError
from practices import _hooks

POLL_SECONDS = 5.0
log = logging.getLogger(__name__)


class NextLook(BaseTrigger):
    """Fires when the next look is due, or the rollout is not in ``phase`` any more; until then it renews the lease."""

    def __init__(self, model: str, rollout_id: str, phase: str, until: str, lease: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model, self.rollout_id, self.phase, self.until, self.lease = model, rollout_id, phase, until, lease

    def serialize(self) -> tuple[str, dict[str, Any]]:
        names = ("model", "rollout_id", "phase", "until", "lease")
        return f"{__name__}.NextLook", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        until = datetime.fromisoformat(self.until)
        while True:
            changed = await asyncio.to_thread(self._changed)
            left = (until - _hooks.open_ports().clock()).total_seconds()
            if changed or left <= 0:
                break
            await asyncio.sleep(max(0.1, min(POLL_SECONDS, left)))
        yield TriggerEvent({"changed": changed})  # type: ignore[no-untyped-call]

    def _changed(self) -> bool:
        """Whether the rollout has moved on; a target that does not answer is asked again."""
        try:
            ports = _hooks.open_ports()
            target, now = ports.target(self.model), ports.clock()
            state = target.rollout(self.model)
            if (state.rollout_id, state.phase) != (self.rollout_id, self.phase):
                return True
            if state.lease_until is None or (state.lease_until - now).total_seconds() < self.lease * 2 / 3:
                key = f"{self.rollout_id}/lease/{now.timestamp():.0f}"
                target.renew_lease(self.model, self.rollout_id, self.lease, expect=state.generation, key=key)
        except AirworthyError as error:
            log.warning("cannot look at the rollout of %s, looking again: %s", self.model, error)
        return False
