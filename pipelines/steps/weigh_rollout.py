"""Weighs the counts of a rollout's stages; ``rollout_analysis`` decides on the evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipelines.messages.rollout import ArmCounts
from pipelines.ports import Ports
from pipelines.rollout.analysis import ArmEvents, RolloutEvidence, StageCounts, WeighRequest
from pipelines.rollout.evidence import compute_evidence
from pipelines.rollout.from_spec import BAD_EVENT, slow_event
from pipelines.spec.strategy import FULL_SHARE

CANDIDATE, CHAMPION = ("candidate", "variant"), ("champion", "control")


def run(request: WeighRequest, ports: Ports) -> RolloutEvidence:  # noqa: ARG001 - every step is handed its ports
    """Weigh all stages in which both versions answered callers; ``measure_shadow`` weighs shadow counts."""
    stages = read_stages(request.arms, keys=request.plan.unit == "key")
    return compute_evidence(request.plan, list(stages.values()), newest=max(stages, default=None))


def read_stages(arms: Sequence[ArmCounts], *, keys: bool) -> dict[int, StageCounts]:
    """By number each stage with a share between 0 and 100 %; an arm without requests counts 0."""
    shares = {arm.step: arm.share for arm in arms if arm.role != "shadow" and 0 < arm.share < FULL_SHARE}
    events = {slow_event(float(limit)) for arm in arms for limit in arm.slow} | {BAD_EVENT}
    return {
        number: StageCounts(
            weight=share / FULL_SHARE,
            candidate=_sum_arm_events(
                [arm for arm in arms if arm.step == number and arm.role in CANDIDATE], events, keys=keys
            ),
            champion=_sum_arm_events(
                [arm for arm in arms if arm.step == number and arm.role in CHAMPION], events, keys=keys
            ),
        )
        for number, share in sorted(shares.items())
    }


def _sum_arm_events(arms: Sequence[ArmCounts], events: set[str], *, keys: bool) -> ArmEvents:
    requests = sum(arm.requests for arm in arms)
    request_events = _sum_events([(arm.failed, arm.slow) for arm in arms], events)
    if not keys:
        return ArmEvents(units=requests, events=request_events)
    unit_events = _sum_events([(arm.bad_units, arm.slow_units) for arm in arms], events)
    units = sum(arm.units for arm in arms)
    return ArmEvents(units=units, events=unit_events, requests=requests, request_events=request_events)


def _sum_events(counts: Sequence[tuple[int, Mapping[str, int]]], events: set[str]) -> dict[str, int]:
    """Bad events, and slow ones by limit."""
    sums: dict[str, int] = dict.fromkeys(events, 0)
    for bad, by_limit in counts:
        sums[BAD_EVENT] += bad
        for limit, number in by_limit.items():
            sums[slow_event(float(limit))] = sums.get(slow_event(float(limit)), 0) + number
    return sums
