"""Values that are not allowed are counted, and what a feature reads has an age at the moment of each row."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.messages.features import FeatureFacts
from pipelines.spec.features import Constraints
from pipelines.testing.ports import FakePorts, MemoryStore
from tests.steps.built_features import build_view
from tests.steps.flights_by_hand import catalog, flight, limited, observation, tables
from tests.steps.test_build_features import publish

DAY = date(2013, 6, 5)
MEAN = "origin_departure_delay_mean_3h"


def built(
    tmp_path: Path, limits: dict[str, Constraints], frames: dict[str, pl.DataFrame]
) -> tuple[dict[str, FeatureFacts], tuple[str, ...]]:
    """The facts of each feature of the day, and why it was refused."""
    ports = FakePorts.make(tmp_path, catalog=catalog(view=limited(**limits)), store=MemoryStore())
    for day in sorted({day for frame in frames.values() for day in frame["day"].to_list()}):
        publish(ports.store, frames, day)
    result = build_view(ports, "flight_delay", DAY)
    assert (DAY in ports.store.days("features/flight_delay")) == result.verdicts[DAY].passed
    return {facts.name: facts for facts in result.partitions[DAY].features}, result.verdicts[DAY].reasons


FLIGHTS = [flight("2013-06-05 14:00", 1), flight("2013-06-05 20:30", 2, carrier="XX", distance=7)]
"""Asked about at 12:00 and at 18:30."""


@pytest.mark.parametrize(
    ("limits", "other", "reasons"),
    [
        ({"carrier": Constraints(allowed=["UA", "XX"])}, {}, []),
        ({"carrier": Constraints(allowed=["UA"])}, {"XX": 1}, ["carrier: 'XX' in 1 rows"]),
        ({"distance": Constraints(allowed=[200])}, {"7": 1}, ["distance: '7' in 1 rows"]),
        ({"plane_seats": Constraints(allowed=[2])}, {}, []),
    ],
)  # fmt: skip
def test_a_value_that_is_not_allowed_refuses_the_day_and_a_missing_one_does_not(
    tmp_path: Path, limits: dict[str, Constraints], other: dict[str, int], reasons: list[str]
) -> None:
    facts, refused = built(tmp_path, limits, tables(FLIGHTS, [observation("2013-06-05 11:00")]))
    [name] = limits
    texts = [reason.replace(": ", ": has values that are not allowed: ", 1) for reason in reasons]
    assert (facts[name].other_values, [*refused]) == (other, texts)
    assert facts["dest"].other_values is None


@pytest.mark.parametrize(
    ("observed", "limit", "stale", "oldest"),
    [
        (["2013-06-05 11:00", "2013-06-05 18:30"], 1, 0, None),
        (["2013-06-05 11:00"], 1, 1, timedelta(hours=7, minutes=30)),
        (["2013-06-05 11:00", "2013-06-05 18:31"], 1, 1, timedelta(hours=7, minutes=30)),
        (["2013-06-05 11:00"], 8, 0, None),
        (["2013-06-05 12:01"], 8, 1, None),
        (["2013-06-03 17:00"], 60, 0, None),
        ([], 1, 2, None),
    ],
)
def test_an_observation_is_as_old_as_the_newest_of_any_place_that_was_known(
    tmp_path: Path, observed: list[str], limit: int, stale: int, oldest: timedelta | None
) -> None:
    weather = [observation(moment, "JFK") for moment in observed]
    limits = {"temp": Constraints(freshness=timedelta(hours=limit))}
    facts, refused = built(tmp_path, limits, tables(FLIGHTS, weather))
    assert (facts["temp"].stale_rows, facts["temp"].oldest, bool(refused)) == (stale, oldest, bool(stale))
    assert facts["humid"].stale_rows is None


@pytest.mark.parametrize(("limit", "stale"), [("6h", 1), ("7h", 0)])
def test_a_row_is_no_news_of_its_own_source(tmp_path: Path, limit: str, stale: int) -> None:
    """At 12:00 the flight of 10:00 left two hours ago, at 18:30 that of 12:00, which is six and a half hours."""
    flights = [flight("2013-06-05 10:00", 7), flight("2013-06-05 12:00", 8), *FLIGHTS[1:]]
    early = flight("2013-06-05 06:00", 9)
    facts, _ = built(tmp_path, {MEAN: Constraints(freshness=limit)}, tables([early, *flights]))
    assert facts[MEAN].stale_rows == stale + 1, "at 04:00 no flight had left"


def test_a_copy_is_as_old_as_the_time_since_it_was_known(tmp_path: Path) -> None:
    planes: list[dict[str, Any]] = [{"day": date(2013, 6, 3), "tailnum": "N1", "year": 2000, "seats": 2}]
    limits = {"plane_seats": Constraints(freshness=timedelta(days=2))}
    facts, refused = built(tmp_path, limits, tables(FLIGHTS, planes=planes))
    assert facts["plane_seats"].stale_rows == 2, "known at 04:00 of 3 June, and asked about at 12:00 of 5 June"
    assert refused == ("plane_seats: 2 of 2 rows read what is older than 2d (freshness), up to 2d14h30m",)
