"""Weighs the counts of a rollout's stages; ``rollout_analysis`` decides on the evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipelines.messages.rollout import ArmCounts
from pipelines.ports import Ports
from pipelines.rollout.analysis import ArmEvents, RolloutEvidence, StageCounts, WeighRequest
from pipelines.rollout.evidence import compute_evidence
from pipelines.rollout.from_spec import BAD_EVENT, BEYOND_P99_EVENT, slow_event
from pipelines.spec.strategy import FULL_SHARE

CANDIDATE, CHAMPION = ("candidate", "variant"), ("champion", "control")


def run(request: WeighRequest, ports: Ports) -> RolloutEvidence:  # noqa: ARG001 - every step is handed its ports
    """Weigh all stages in which both versions answered callers; ``measure_shadow`` weighs shadow counts."""
    stages = read_stages(request.arms, keys=request.plan.unit == "key")
    return compute_evidence(request.plan, list(stages.values()), newest=max(stages, default=None))


def read_stages(arms: Sequence[ArmCounts], *, keys: bool) -> dict[int, StageCounts]:
    """By number each stage with a share between 0 and 100 %; an arm without requests counts 0."""
    shares = {arm.step: arm.share for arm in arms if arm.role != "shadow" and 0 < arm.share < FULL_SHARE}
    in_stages = [arm for arm in arms if arm.step in shares and arm.role != "shadow"]
    events = {slow_event(float(limit)) for arm in arms for limit in arm.slow} | {BAD_EVENT}
    if all(arm.beyond_p99 is not None for arm in in_stages):
        events |= {BEYOND_P99_EVENT}
    return {
        number: StageCounts(
            weight=share / FULL_SHARE,
            candidate=_sum_arm_events(
                [arm for arm in in_stages if arm.step == number and arm.role in CANDIDATE], events, keys=keys
            ),
            champion=_sum_arm_events(
                [arm for arm in in_stages if arm.step == number and arm.role in CHAMPION], events, keys=keys
            ),
        )
        for number, share in sorted(shares.items())
    }


def _sum_arm_events(arms: Sequence[ArmCounts], events: set[str], *, keys: bool) -> ArmEvents:
    if not keys:
        requests = [{"bad": arm.failed, "beyond_p99": arm.beyond_p99 or 0, **arm.slow} for arm in arms]
        return ArmEvents(units=sum(arm.requests for arm in arms), events=_sum_events(requests, events))
    firsts = [{"bad": arm.bad_units, "beyond_p99": arm.beyond_p99_units, **arm.slow_units} for arm in arms]
    in_stage = [first if arm.event_units is None else arm.event_units for arm, first in zip(arms, firsts, strict=True)]
    new_units = [arm.new_units for arm in arms if arm.new_units is not None]
    return ArmEvents(
        units=sum(arm.units for arm in arms),
        events=_sum_events(firsts, events),
        stage_events=_sum_events(in_stage, events),
        new_units=sum(new_units) if len(new_units) == len(arms) else None,
    )


def _sum_events(counts: Sequence[Mapping[str, int]], events: set[str]) -> dict[str, int]:
    """Sums by event of counts by ``bad``, ``beyond_p99`` and the limits in milliseconds."""
    sums: dict[str, int] = dict.fromkeys(events, 0)
    for count in counts:
        for name, number in count.items():
            event = name if name in (BAD_EVENT, BEYOND_P99_EVENT) else slow_event(float(name))
            if event in events:
                sums[event] += number
    return sums
