"""Decides whether a candidate breaks an absolute limit, and what to do with a rollout whose lease has expired."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from pipelines.rollout.transitions import RolloutRecord
from pipelines.serving.traffic.counters import ArmTally

GuardAction = Literal["nothing", "rollback", "hold", "stop_mirror"]
GUARDED_ROLES = ("candidate", "variant", "shadow")
CHAMPION_ROLES = ("champion", "control")
PROMOTED_ROLE = "champion"
"""Role of a promoted version while it is watched."""


class GuardDecision(msgspec.Struct, frozen=True):
    """The action to take and its reason."""

    action: GuardAction = "nothing"
    reason: str = ""


def evidence_threshold(alpha: float, tests: int, step: int) -> float:
    """Least log e-value at which one of ``tests`` tests rejects in the stage number ``step``, counted from 1.

    Stage n gets ``6 / (pi n)^2`` of alpha, which sums to alpha over any number of stages. Every stage has its
    own counts, so that good earlier stages cannot hide a bad one. Stage 0 has no traffic and no mirror.
    """
    return math.log(tests * (math.pi * max(1, step)) ** 2 / (6 * alpha))


def judge_limits(record: RolloutRecord, tallies: Mapping[tuple[str, str], ArmTally]) -> GuardDecision:
    """Roll back if an absolute limit is broken, and by more than the champion breaks it in the same stage.

    ``tallies`` by version and role since the stage began. What both meet, such as an outage of a service behind them,
    is no reason for a rollback: it takes as much evidence that the candidate is worse as that it is beyond the limit.
    Units are routing keys where the plan counts them, else requests; in the shadow and after the promotion, where no
    key is assigned, always requests. What the candidate did not get does not count. After the promotion the promoted
    version is judged by the limits of the watch, and by nothing else.
    """
    guard, promoted = record.plan.guard, record.phase == "FINALISING"
    max_error_rate = guard.max_error_rate
    if promoted and record.plan.watch.max_error_rate is not None:
        max_error_rate = record.plan.watch.max_error_rate
    tests = [_LimitTest("failed", max_error_rate)] if max_error_rate is not None else []
    tests += [
        _LimitTest(f"slower than {limit.over_ms:g} ms", limit.max_share, position, f"{limit.over_ms:g}")
        for position, limit in enumerate(guard.latency, start=1)
    ]
    roles = (PROMOTED_ROLE,) if promoted else GUARDED_ROLES
    arms = [(*arm, tally) for arm, tally in tallies.items() if arm[1] in roles and tally.requests]
    champions = [tally for (_, role), tally in tallies.items() if role in CHAMPION_ROLES and not promoted]
    threshold = evidence_threshold(guard.alpha, max(1, len(tests) * len(arms)), record.step)
    reasons = []
    for version, role, tally in arms:
        arm = f"{'promoted' if promoted else role} version {version}"
        by_key = record.plan.routing.counts_keys and not promoted and role != "shadow"
        for test in tests:
            reason = test.broken(tally, champions, threshold, by_key=by_key)
            reasons += [f"{arm}: {reason}"] if reason else []
    return GuardDecision("rollback", "; ".join(reasons)) if reasons else GuardDecision()


class _LimitTest(msgspec.Struct, frozen=True):
    """The test of a limit on the share of an ``event``; ``over_ms`` is the limit of latency at this ``position``."""

    event: str
    max_share: float
    position: int = 0
    over_ms: str = ""

    def broken(self, tally: ArmTally, champions: Sequence[ArmTally], threshold: float, *, by_key: bool) -> str:
        """Why the limit is broken, and not by the champion as well; empty if that is not shown."""
        from pipelines.statistics.e_values import log_e_value

        bad, total = self._counts(tally, by_key=by_key)
        evidence = log_e_value(min(bad, total), total, self.max_share) if total else 0.0
        if evidence < threshold:
            return ""
        champion_bad, champion_total = map(
            sum, zip((0, 0), *(self._counts(champion, by_key=by_key) for champion in champions), strict=True)
        )
        if champion_total and log_e_value(bad, bad + champion_bad, total / (total + champion_total)) < threshold:
            return ""
        unit = "keys " if by_key else ""
        return (
            f"{bad} of {total} {unit}{self.event}, the limit is {self.max_share:g}"
            f" (log evidence {evidence:.1f}, {threshold:.1f} needed)"
        )

    def _counts(self, tally: ArmTally, *, by_key: bool) -> tuple[int, int]:
        """Units with the event, and all units."""
        if by_key:
            return tally.event_units.get(str(self.position), 0), tally.distinct_units
        return tally.slow.get(self.over_ms, 0) if self.over_ms else tally.failed, tally.requests


def judge_lease(record: RolloutRecord, now: datetime, *, mirrored: bool) -> GuardDecision:
    """What to do with a rollout whose lease may have expired; a paused one stays paused."""
    if not record.active or now < record.lease_until:
        return GuardDecision()
    reason = f"its lease ended at {record.lease_until.isoformat()}"
    action = record.plan.expiry_action
    if action == "stop_mirror" and not mirrored and record.phase == "PAUSED":
        return GuardDecision()
    if action == "hold" and record.phase == "PAUSED":
        return GuardDecision()
    return GuardDecision(action, reason)
