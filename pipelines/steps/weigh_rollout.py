"""The counts of a rollout become evidence; what is done about it is decided elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipelines.messages.rollout import ArmCounts
from pipelines.ports import Ports
from pipelines.rollout.analysis import Arm, StepCounts, WeighedRollout, WeighRequest
from pipelines.rollout.from_spec import BAD, slow
from pipelines.rollout.verdict import judge_rollout
from pipelines.spec.strategy import WHOLE

CANDIDATE, CHAMPION = ("candidate", "variant"), ("champion", "control")


def run(request: WeighRequest, ports: Ports) -> WeighedRollout:  # noqa: ARG001 - every step is handed its ports
    """Weigh all steps in which callers met both versions; shadow counts are weighed elsewhere."""
    steps = read_steps(request.arms, keys=request.plan.unit == "key")
    verdict = judge_rollout(request.plan, list(steps.values()))
    return WeighedRollout(verdict=verdict, steps=list(steps.values()), newest=max(steps, default=None))


def read_steps(arms: Sequence[ArmCounts], *, keys: bool) -> dict[int, StepCounts]:
    """By number each step with a share between nothing and everything; an arm that met nobody counts nothing."""
    shares = {arm.step: arm.share for arm in arms if arm.role != "shadow" and 0 < arm.share < WHOLE}
    events = {slow(float(limit)) for arm in arms for limit in arm.slow} | {BAD}
    return {
        step: StepCounts(
            weight=share / WHOLE,
            candidate=_arm([one for one in arms if one.step == step and one.role in CANDIDATE], events, keys=keys),
            champion=_arm([one for one in arms if one.step == step and one.role in CHAMPION], events, keys=keys),
        )
        for step, share in sorted(shares.items())
    }


def _arm(found: Sequence[ArmCounts], events: set[str], *, keys: bool) -> Arm:
    requests = sum(one.requests for one in found)
    asked = _sums([(one.failed, one.slow) for one in found], events)
    if not keys:
        return Arm(units=requests, events=asked)
    met = _sums([(one.bad_units, one.slow_units) for one in found], events)
    return Arm(units=sum(one.units for one in found), events=met, requests=requests, request_events=asked)


def _sums(found: Sequence[tuple[int, Mapping[str, int]]], events: set[str]) -> dict[str, int]:
    """Bad events, and slow ones by limit."""
    counted: dict[str, int] = dict.fromkeys(events, 0)
    for bad, by_limit in found:
        counted[BAD] += bad
        for limit, number in by_limit.items():
            counted[slow(float(limit))] = counted.get(slow(float(limit)), 0) + number
    return counted
