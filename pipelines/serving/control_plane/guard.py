"""Decides whether a candidate breaks an absolute limit, and what to do with a rollout whose lease has expired."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec

from pipelines.rollout.transitions import RolloutRecord
from pipelines.serving.traffic.counters import ArmTally

GuardAction = Literal["nothing", "rollback", "hold", "stop_mirror"]
GUARDED_ROLES = ("candidate", "variant", "shadow")
PROMOTED_ROLE = "champion"
"""Role of a promoted version while it is watched."""


class GuardDecision(msgspec.Struct, frozen=True):
    """The action to take and its reason."""

    action: GuardAction = "nothing"
    reason: str = ""


def evidence_threshold(alpha: float, tests: int, step: int) -> float:
    """Least log e-value at which one of ``tests`` tests rejects in the stage number ``step``, counted from 1.

    Stage n gets ``6 / (pi n)^2`` of alpha, which sums to alpha over any number of stages. Every stage has its
    own counts, so that good earlier stages cannot hide a bad one. A shadow, stage 0, gets as much as the first stage:
    then the sum is at most 1.6 alpha.
    """
    return math.log(tests * (math.pi * max(1, step)) ** 2 / (6 * alpha))


def judge_limits(record: RolloutRecord, tallies: Mapping[tuple[str, str], ArmTally]) -> GuardDecision:
    """Roll back if an absolute limit is broken; ``tallies`` by version and role since the stage began.

    Units are requests, as in the limits. Requests that the candidate did not get do not count. After the promotion the
    promoted version is judged by the limits of the watch.
    """
    from pipelines.statistics.e_values import log_e_value

    guard, promoted = record.plan.guard, record.phase == "FINALISING"
    max_error_rate = guard.max_error_rate
    if promoted and record.plan.watch.max_error_rate is not None:
        max_error_rate = record.plan.watch.max_error_rate
    error_tests = [("failed", max_error_rate, None)] if max_error_rate is not None else []
    tests = [
        *error_tests,
        *((f"slower than {limit.over_ms:g} ms", limit.max_share, f"{limit.over_ms:g}") for limit in guard.latency),
    ]
    roles = (PROMOTED_ROLE,) if promoted else GUARDED_ROLES
    arms = [(*arm, tally) for arm, tally in tallies.items() if arm[1] in roles and tally.requests]
    threshold = evidence_threshold(guard.alpha, max(1, len(tests) * len(arms)), record.step)
    reasons = []
    for version, role, tally in arms:
        arm = f"{'promoted' if promoted else role} version {version}"
        for event, max_share, over_ms in tests:
            events = tally.failed if over_ms is None else tally.slow.get(over_ms, 0)
            evidence = log_e_value(events, tally.requests, float(max_share or 0))
            if evidence >= threshold:
                reasons.append(
                    f"{arm}: {events} of {tally.requests} {event}, the limit is {max_share:g}"
                    f" (log evidence {evidence:.1f}, {threshold:.1f} needed)"
                )
    return GuardDecision("rollback", "; ".join(reasons)) if reasons else GuardDecision()


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
