"""Judges whether a candidate is shown to break an absolute limit, and what becomes of a rollout whose lease is over."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec

from pipelines.rollout.transitions import RolloutRecord
from pipelines.serving.traffic.counters import ArmTally

GuardAction = Literal["nothing", "rollback", "hold", "stop_mirror"]
GUARDED = ("candidate", "variant", "shadow")


class GuardDecision(msgspec.Struct, frozen=True):
    """What to do and why."""

    action: GuardAction = "nothing"
    reason: str = ""


def threshold(alpha: float, tests: int, step: int) -> float:
    """What the log of the evidence must reach in one of ``tests`` tests of the ``step``-th step, counted from 1.

    The steps get ``6 / (pi step)^2`` of alpha each, which sums to alpha however many steps there are: every step
    begins with fresh counts, and good earlier steps cannot hide what a later one shows. A shadow, step 0, gets as much
    as the first, so with one the sum is up to 1.6 alpha.
    """
    return math.log(tests * (math.pi * max(1, step)) ** 2 / (6 * alpha))


def judge(record: RolloutRecord, tallies: Mapping[tuple[str, str], ArmTally]) -> GuardDecision:
    """Whether the evidence says that an absolute limit is broken; ``tallies`` by version and role since the step began.

    Units of evidence are requests: the limits are about requests. Requests that were not tried do not count.
    """
    from pipelines.statistics.e_values import log_e_value

    guard = record.plan.guard
    error_tests = [("failed", guard.max_error_rate, None)] if guard.max_error_rate is not None else []
    tests = [
        *error_tests,
        *((f"slower than {limit.over_ms:g} ms", limit.max_share, f"{limit.over_ms:g}") for limit in guard.latency),
    ]
    arms = [(version, role, tally) for (version, role), tally in tallies.items() if role in GUARDED and tally.requests]
    needed = threshold(guard.alpha, max(1, len(tests) * len(arms)), record.step)
    reasons = []
    for version, role, tally in arms:
        for what, limit, slow in tests:
            bad = tally.failed if slow is None else tally.slow.get(slow, 0)
            evidence = log_e_value(bad, tally.requests, float(limit or 0))
            if evidence >= needed:
                reasons.append(
                    f"{role} version {version}: {bad} of {tally.requests} {what}, the limit is {limit:g}"
                    f" (log evidence {evidence:.1f}, {needed:.1f} needed)"
                )
    return GuardDecision("rollback", "; ".join(reasons)) if reasons else GuardDecision()


def expired(record: RolloutRecord, now: datetime, *, mirrored: bool) -> GuardDecision:
    """What becomes of a rollout whose lease is over; one on hold stays on hold."""
    if not record.active or now < record.lease_until:
        return GuardDecision()
    reason = f"its lease ended at {record.lease_until.isoformat()}"
    action = record.plan.expiry
    if action == "stop_mirror" and not mirrored and record.phase == "PAUSED":
        return GuardDecision()
    if action == "hold" and record.phase == "PAUSED":
        return GuardDecision()
    return GuardDecision(action, reason)
