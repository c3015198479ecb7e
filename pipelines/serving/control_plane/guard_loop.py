"""Checks limits and leases of rollouts every second, and promoted versions; it acts with no other service needed."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from pipelines.errors import AirworthyError
from pipelines.rollout.transitions import RolloutRecord
from pipelines.serving.control_plane.counts import RolloutCounts
from pipelines.serving.control_plane.guard import GuardDecision, judge_lease, judge_limits
from pipelines.serving.control_plane.releases import Releases
from pipelines.serving.control_plane.rollouts import Rollouts

log = logging.getLogger("airworthy.gateway")

INTERVAL_SECONDS = 1.0


class GuardLoop:
    """Watches the rollouts of one gateway. ``collect_counts`` makes every process report its counts."""

    def __init__(
        self,
        releases: Releases,
        rollouts: Rollouts,
        counts: RolloutCounts,
        collect_counts: Callable[[], Awaitable[None]],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._releases, self._rollouts, self._counts, self._now = releases, rollouts, counts, now
        self._collect_counts = collect_counts

    async def run(self) -> None:
        """Check for ever; a failed check is logged and repeated."""
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            try:
                await self._releases.unload_expired()
                await self.check_rollouts()
            except Exception:  # the loop must not end
                log.exception("the check of the rollouts failed; it is repeated in %g s", INTERVAL_SECONDS)

    async def check_rollouts(self) -> None:
        """Check every active rollout, and every promoted version that is watched, once."""
        guarded = [
            (model, route.rollout, route.mirror is not None)
            for model, route in self._releases.table.routes.items()
            if route.rollout is not None and self._is_guarded(route.rollout)
        ]
        if not guarded:
            return
        # The import takes a while; it must not block the loop that answers the admin listener.
        await asyncio.to_thread(importlib.import_module, "pipelines.statistics.e_values")
        await self._collect_counts()
        for model, record, mirrored in guarded:
            decision = judge_limits(record, self._counts.stage_tallies(model, record.rollout_id, record.step))
            if decision.action == "nothing":
                decision = judge_lease(self._latest_record(model, record), self._now(), mirrored=mirrored)
            await self._apply_decision(model, record, decision)

    def _is_guarded(self, record: RolloutRecord) -> bool:
        return record.active or (record.watched_until is not None and self._now() < record.watched_until)

    def _latest_record(self, model: str, record: RolloutRecord) -> RolloutRecord:
        """The current record: its lease may have been renewed while the counts were collected."""
        route = self._releases.table.routes.get(model)
        return route.rollout if route is not None and route.rollout is not None else record

    async def _apply_decision(self, model: str, record: RolloutRecord, decision: GuardDecision) -> None:
        try:
            if decision.action == "rollback":
                await self._rollouts.roll_back_automatically(model, record, decision.reason)
            elif decision.action != "nothing":
                stop_mirror = decision.action == "stop_mirror"
                await self._rollouts.pause_automatically(model, record, decision.reason, stop_mirror=stop_mirror)
        except AirworthyError as error:
            log.warning("rollout %s of %s: %s", record.rollout_id, model, error)
