"""Arrival is complete or it names what is missing."""

from __future__ import annotations

from datetime import date

import pytest

from pipelines.messages.delivery import DeliveryManifest, LandedFile
from pipelines.rules.partition_arrival import judge_arrival
from pipelines.verdict import Outcome

DAY = date(2013, 1, 5)


def manifest(source: str) -> DeliveryManifest:
    return DeliveryManifest(
        source=source, partition=f"{DAY}", files=[LandedFile(name=f"{source}.csv", rows=3, sha256="0" * 64)]
    )


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
    verdict = judge_arrival(expected, {source: manifest(source) for source in arrived})
    assert verdict.outcome is outcome
    assert [reason.split(":")[0] for reason in verdict.reasons] == missing


def test_the_facts_count_the_rows_of_what_arrived() -> None:
    assert judge_arrival(["flights"], {"flights": manifest("flights")}).facts == {"arrived": {"flights": 3}}
