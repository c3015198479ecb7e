"""Looks every second at the limits and leases of all active rollouts and acts on them, whatever else is down."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from pipelines.errors import AirworthyError
from pipelines.rollout.transitions import RolloutRecord
from pipelines.serving.control_plane.counts import RolloutCounts
from pipelines.serving.control_plane.guard import GuardDecision, expired, judge
from pipelines.serving.control_plane.releases import Releases
from pipelines.serving.control_plane.rollouts import Rollouts

log = logging.getLogger("airworthy.gateway")

SECONDS = 1.0


class GuardLoop:
    """Watches the rollouts of one gateway. ``gather`` has every process report what it counted."""

    def __init__(
        self,
        releases: Releases,
        rollouts: Rollouts,
        counts: RolloutCounts,
        gather: Callable[[], Awaitable[None]],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._releases, self._rollouts, self._counts, self._gather, self._now = releases, rollouts, counts, gather, now

    async def watch(self) -> None:
        """Look for ever; one failed look does not end it."""
        while True:
            await asyncio.sleep(SECONDS)
            try:
                await self.look()
            except Exception:  # a watch that ends by an error would be no watch
                log.exception("a look at the rollouts failed; looking again")

    async def look(self) -> None:
        """One look at every active rollout."""
        active = [
            (model, route.rollout, route.mirror is not None)
            for model, route in self._releases.table.routes.items()
            if route.rollout is not None and route.rollout.active
        ]
        if not active:
            return
        # It loads a library; not on the loop that answers the admin listener.
        await asyncio.to_thread(importlib.import_module, "pipelines.statistics.e_values")
        await self._gather()
        for model, record, mirrored in active:
            decision = judge(record, self._counts.of(model, record.rollout_id, record.step))
            if decision.action == "nothing":
                decision = expired(self._newest(model, record), self._now(), mirrored=mirrored)
            await self._act(model, record, decision)

    def _newest(self, model: str, record: RolloutRecord) -> RolloutRecord:
        """The record as it is after the wait for the counts: its lease may have been renewed."""
        route = self._releases.table.routes.get(model)
        return route.rollout if route is not None and route.rollout is not None else record

    async def _act(self, model: str, record: RolloutRecord, decision: GuardDecision) -> None:
        try:
            if decision.action == "rollback":
                await self._rollouts.give_up(model, record, decision.reason)
            elif decision.action != "nothing":
                await self._rollouts.hold(model, record, decision.reason, stop_mirror=decision.action == "stop_mirror")
        except AirworthyError as error:
            log.warning("rollout %s of %s: %s", record.rollout_id, model, error)
