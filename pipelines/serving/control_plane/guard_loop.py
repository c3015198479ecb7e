"""Checks limits and leases of rollouts every second, and promoted versions; it acts with no other service needed."""

from __future__ import annotations

import asyncio
import importlib
import logging
import time
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
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._releases, self._rollouts, self._counts, self._now = releases, rollouts, counts, now
        self._collect_counts, self._monotonic = collect_counts, monotonic
        self._lease_ends: dict[tuple[str, datetime], float] = {}
        """Rollout and end of its lease, to that end by the monotonic clock."""

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
                latest = self._latest_record(model, record)
                decision = judge_lease(latest, self._lease_moment(latest), mirrored=mirrored)
            await self._apply_decision(model, record, decision)

    def _is_guarded(self, record: RolloutRecord) -> bool:
        return record.active or (record.watched_until is not None and self._now() < record.watched_until)

    def _lease_moment(self, record: RolloutRecord) -> datetime:
        """Now; the end of the lease once its time has passed by a clock that nobody sets back."""
        now, passed, lease = self._now(), self._monotonic(), (record.rollout_id, record.lease_until)
        end = self._lease_ends.get(lease, passed + (record.lease_until - now).total_seconds())
        former = [known for known in self._lease_ends if known[0] == record.rollout_id and known != lease]
        for known in former:
            del self._lease_ends[known]
        self._lease_ends[lease] = end
        return max(now, record.lease_until) if passed >= end else now

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
