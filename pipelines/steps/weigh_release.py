"""Weighs the answers of a promoted version against its limits; ``retirement`` decides on the evidence."""

from __future__ import annotations

from pipelines.messages.rollout import ArmCounts, WatchedShare, WatchEvidence, WatchLimit, WatchRequest
from pipelines.ports import Ports
from pipelines.spec.strategy import FULL_SHARE
from pipelines.statistics.e_values import log_e_value


def run(request: WatchRequest, ports: Ports) -> WatchEvidence:  # noqa: ARG001 - every step is handed its ports
    """The counts of the stage in which the version had all traffic, and the evidence on each limit."""
    arms = [arm for arm in request.arms if arm.share == FULL_SHARE and arm.version == request.version]
    requests = sum(arm.requests for arm in arms)
    shares = []
    for limit in request.limits:
        bad = sum(_count_bad(arm, limit) for arm in arms)
        evidence = log_e_value(bad, requests, limit.max_share)
        shares.append(WatchedShare(limit=limit, bad=bad, above_log_e=evidence))
    return WatchEvidence(requests=requests, shares=shares)


def _count_bad(arm: ArmCounts, limit: WatchLimit) -> int:
    return arm.failed if limit.over_ms is None else arm.slow.get(f"{limit.over_ms:g}", 0)
