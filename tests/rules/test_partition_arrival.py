"""Arrival is complete or it names what is missing."""

from __future__ import annotations

import pytest

from pipelines.rules.partition_arrival import judge_arrival
from pipelines.verdict import Outcome


@pytest.mark.parametrize(
    ("expected", "arrived", "outcome", "missing"),
    [
        (["flights"], ["flights"], Outcome.PASS, []),
        (["flights", "weather"], ["flights", "weather", "planes"], Outcome.PASS, []),
        (["flights", "weather"], ["flights"], Outcome.UNKNOWN, ["weather"]),
        (["flights", "weather"], [], Outcome.UNKNOWN, ["flights", "weather"]),
    ],
)
def test_a_day_is_complete_only_with_every_manifest(
    expected: list[str], arrived: list[str], outcome: Outcome, missing: list[str]
) -> None:
    lacking = {source: "no manifest has been delivered" for source in expected if source not in arrived}
    verdict = judge_arrival(expected, dict.fromkeys(arrived, 3), lacking)
    assert verdict.outcome is outcome
    assert [reason.split(":")[0] for reason in verdict.reasons] == missing


def test_the_facts_count_the_rows_of_what_arrived_where_somebody_counted_them() -> None:
    assert judge_arrival(["flights"], {"flights": 3, "log": None}, {}).facts == {"arrived": {"flights": 3, "log": None}}
