"""What a promoted version has answered is weighed from the stage in which it had all traffic, and from no other."""

from __future__ import annotations

from typing import Any, cast

import pytest

from pipelines.messages.rollout import ArmCounts, WatchLimit, WatchRequest
from pipelines.ports import Ports
from pipelines.statistics.e_values import log_e_value
from pipelines.steps.weigh_release import run

LIMITS = [WatchLimit(max_share=0.01), WatchLimit(max_share=0.05, over_ms=250)]


def arm(**changes: Any) -> ArmCounts:
    counted: dict[str, Any] = {"version": "5", "role": "champion", "share": 10_000, "requests": 200, "failed": 20}
    return ArmCounts(**(counted | {"slow": {"250": 7}} | changes))


@pytest.mark.parametrize(
    ("arms", "requests", "bad"),
    [
        ([], 0, [0, 0]),
        ([arm()], 200, [20, 7]),
        ([arm(), arm(requests=100, failed=1, slow={})], 300, [21, 7]),
        ([arm(role="candidate", share=5000), arm(version="4"), arm(requests=10, failed=0, slow={})], 10, [0, 0]),
    ],
)
def test_only_the_promoted_version_with_all_traffic_counts(
    arms: list[ArmCounts], requests: int, bad: list[int]
) -> None:
    evidence = run(WatchRequest(version="5", limits=LIMITS, arms=arms), cast(Ports, None))
    assert (evidence.requests, [share.bad for share in evidence.shares]) == (requests, bad)
    for share in evidence.shares:
        assert share.above_log_e == log_e_value(share.bad, requests, share.limit.max_share)
