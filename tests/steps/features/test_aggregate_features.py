"""A declared aggregate counts what was known at the prediction time, of the entities' own source and of others."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import FeatureView
from pipelines.steps.features.compute import compute_features
from pipelines.steps.features.source_days import days_read
from tests.declared import feature_view, view_fields
from tests.steps.flights_by_hand import DATASET, flight, observation, random_days, tables


def view_with(dataset: DatasetSpec = DATASET, **features: Any) -> FeatureView:
    fields = view_fields()
    return feature_view(fields | {"features": fields["features"] | features}, dataset)


def of_flight(frames: dict[str, pl.DataFrame], number: int, how: dict[str, Any], name: str = "asked_3h") -> Any:
    view = view_with(**{name: how})
    days = sorted(set(frames["flights"]["day"]))
    return compute_features(view, frames, days, DATASET).row(by_predicate=pl.col("flight") == number, named=True)[name]


def test_an_outcome_in_a_condition_counts_only_once_it_is_known() -> None:
    how = {"aggregate": "count", "by": "origin", "window": "3h", "where": "arr_delay >= 15"}
    late = flight("2013-03-01 11:00", 1, delay=20, arr_delay=40, air_time=30)  # known at 12:50
    frames = tables([late, flight("2013-03-01 14:49", 2), flight("2013-03-01 14:50", 3, arr_delay=0)])
    assert (of_flight(frames, 2, how), of_flight(frames, 3, how)) == (0, 1)
    assert of_flight(frames, 3, how | {"where": "distance > 0"}) == 1
    assert of_flight(frames, 3, how | {"where": "arr_delay < 15"}) == 0


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"aggregate": "max(temp)"}, 40.0),
        ({"aggregate": "share", "where": "temp > 25"}, 0.5),
        ({"aggregate": "exists", "where": "temp < 0"}, 0.0),
        ({"aggregate": "since_last", "unit": "minutes"}, 30.0),
    ],
)
def test_another_source_is_aggregated_by_its_own_times(how: dict[str, Any], expected: float) -> None:
    seen = [
        observation(f"2013-03-01 {hour}", temp=temp)
        for hour, temp in (("09:00", 99.0), ("10:00", 20.0), ("12:00", 40.0))
    ]
    frames = tables([flight("2013-03-01 14:30", 1)], [*seen, observation("2013-03-01 12:30", "JFK", temp=77.0)])
    assert of_flight(frames, 1, {"of": "weather", "by": ["origin"], "window": "3h"} | how) == expected


def test_a_source_that_declares_no_known_time_is_known_when_its_partition_is_due() -> None:
    fields = DATASET.model_dump(by_alias=True, mode="json", exclude_unset=True)
    del fields["sources"]["weather"]["known"]
    dataset = DatasetSpec.model_validate(fields)
    view = view_with(dataset, warmest_2d={"aggregate": "max(temp)", "of": "weather", "by": "origin", "window": "2d"})
    flights = [flight("2013-03-02 12:59", 1), flight("2013-03-02 13:00", 2)]  # two hours after 06:00 in New York
    frames = tables(flights, [observation("2013-03-01 12:00", temp=40.0)])
    days = sorted(set(frames["flights"]["day"]))
    table = compute_features(view, frames, days, dataset)
    assert table.sort("flight")["warmest_2d"].to_list() == [None, 40.0]


def test_expressions_are_computed_after_what_they_read_and_are_null_where_not_finite() -> None:
    texts = {"a_ratio": "a_sum / (temp - 40)", "a_sum": "distance + plane_seats", "is_far": "distance > 100"}
    view = view_with(**texts)
    planes = [{"day": date(2013, 3, 1), "tailnum": "N1", "year": 2000, "seats": 100}]
    flights = [
        flight("2013-03-01 14:00", 1),
        flight("2013-03-01 18:00", 2),
        flight("2013-03-01 18:00", 3, tailnum="N7"),
    ]
    frames = tables(
        flights, [observation("2013-03-01 12:00", temp=42.0), observation("2013-03-01 16:00", temp=40.0)], planes
    )
    table = compute_features(view, frames, [date(2013, 3, 1)], DATASET).sort("flight")
    assert table["a_sum"].to_list() == [300.0, 300.0, None]
    assert table["a_ratio"].to_list() == [150.0, None, None]
    assert table["is_far"].to_list() == [1.0, 1.0, 1.0]


def test_a_day_alone_with_the_days_it_reads_gives_the_same_as_all_days_together() -> None:
    frames = random_days(5, date(2013, 6, 3), days=6, per_day=40)
    view = view_with(
        origin_far_30h={"aggregate": "std(distance)", "by": "origin", "window": "30h"},
        tail_delay_26h={"aggregate": "sum(dep_delay)", "by": "tailnum", "window": "26h"}
        | {"clock": "known", "max_delay": "22h"},
        last_carrier_5h={"aggregate": "last(carrier)", "by": [], "window": "5h"},
        windy_50h={"aggregate": "count_distinct(wind_speed)", "of": "weather", "by": "origin", "window": "50h"},
    )
    days = sorted(set(frames["flights"]["day"]))
    whole = compute_features(view, frames, days, DATASET)
    assert whole["windy_50h"].max() > 1
    for day in days:
        reached = {
            source: frame.filter(pl.col("day").is_in(days_read(view, source, day, set(frame["day"]), DATASET)))
            for source, frame in frames.items()
        }
        alone = compute_features(view, reached, [day], DATASET)
        assert_frame_equal(alone, whole.filter(day=day), check_exact=True)
    assert days_read(view, "flights", days[5], days, DATASET) == days[2:]
