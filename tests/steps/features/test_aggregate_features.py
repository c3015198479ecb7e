"""A declared aggregate counts what was known at the prediction time, of the entities' own source and of others."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal, assert_series_equal

from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import FeatureView
from pipelines.steps.features.compute import compute_features
from pipelines.steps.features.source_days import days_read
from tests.steps.flights_by_hand import DATASET, NEW_YORK, VIEW, flight, observation, random_days, tables

KNOWN = {"dep_delay": {"after": "dep_delay"}, "arr_delay, air_time": {"after": "dep_delay + air_time + 60"}}


def dataset() -> DatasetSpec:
    """The flights by hand: a schedule is known a day ahead, a delay when the plane has left, weather at once."""
    fields = DATASET.model_dump(by_alias=True, mode="json", exclude_unset=True)
    flights, weather = fields["sources"]["flights"], fields["sources"]["weather"]
    flights |= {"event_time": "time_hour + minute", "known": {"before": "1d"}, "known_columns": KNOWN}
    flights["columns"]["minute"] = "integer"
    weather |= {"known": {"after": "0m"}}
    return DatasetSpec.model_validate(fields)


def view_with(**transformations: dict[str, Any]) -> FeatureView:
    fields = VIEW.model_dump(by_alias=True)
    feature = {"version": 1, "description": "A feature of a test", "source_columns": ["flights.dep_delay"]}
    for name, how in transformations.items():
        kind = "categorical" if how.get("column") == "carrier" and how["function"] == "last" else "numeric"
        fields["features"][name] = feature | {"type": kind, "transformation": {"type": "aggregate"} | how}
    return FeatureView.model_validate(fields)


def of_flight(frames: dict[str, pl.DataFrame], number: int, how: dict[str, Any], name: str = "asked_3h") -> Any:
    view = view_with(**{name: how})
    days = sorted(set(frames["flights"]["day"]))
    return compute_features(view, frames, days, dataset()).row(by_predicate=pl.col("flight") == number, named=True)[
        name
    ]


def test_means_and_last_values_by_known_time_equal_the_window_features() -> None:
    frames = random_days(3, date(2013, 6, 3), days=4, per_day=60)
    view = view_with(
        origin_mean_3h={"function": "mean", "column": "dep_delay", "by": ["origin"], "window": "3h", "clock": "known"},
        tail_last_24h={"function": "last", "column": "dep_delay", "by": ["tailnum"], "window": "24h", "clock": "known"},
    )
    table = compute_features(view, frames, sorted(set(frames["flights"]["day"])), dataset())
    for name, other in (
        ("origin_mean_3h", "origin_departure_delay_mean_3h"),
        ("tail_last_24h", "tail_last_departure_delay_24h"),
    ):
        assert_series_equal(table[name], table[other], check_names=False, check_exact=True)


def test_an_outcome_in_a_condition_counts_only_once_it_is_known() -> None:
    how = {"function": "count", "by": ["origin"], "window": "3h", "where": "arr_delay >= 15"}
    late = flight("2013-03-01 11:00", 1, delay=20, arr_delay=40, air_time=30)  # known at 12:50
    frames = tables([late, flight("2013-03-01 14:49", 2), flight("2013-03-01 14:50", 3, arr_delay=0)])
    assert (of_flight(frames, 2, how), of_flight(frames, 3, how)) == (0, 1)
    assert of_flight(frames, 3, how | {"where": "distance > 0"}) == 1
    assert of_flight(frames, 3, how | {"where": "arr_delay < 15"}) == 0


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"function": "max", "column": "temp"}, 40.0),
        ({"function": "share", "where": "temp > 25"}, 0.5),
        ({"function": "exists", "where": "temp < 0"}, 0.0),
        ({"function": "since_last", "unit": "minutes"}, 30.0),
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
    fields = dataset().model_dump(by_alias=True, mode="json", exclude_unset=True)
    del fields["sources"]["weather"]["known"]
    view = view_with(
        warmest_2d={"function": "max", "of": "weather", "column": "temp", "by": ["origin"], "window": "2d"}
    )
    flights = [flight("2013-03-02 12:59", 1), flight("2013-03-02 13:00", 2)]  # two hours after 06:00 in New York
    frames = tables(flights, [observation("2013-03-01 12:00", temp=40.0)])
    days = sorted(set(frames["flights"]["day"]))
    table = compute_features(view, frames, days, DatasetSpec.model_validate(fields))
    assert table.sort("flight")["warmest_2d"].to_list() == [None, 40.0]


def test_expressions_are_computed_after_what_they_read_and_are_null_where_not_finite() -> None:
    fields = VIEW.model_dump(by_alias=True)
    feature = {
        "version": 1,
        "description": "A feature of a test",
        "type": "numeric",
        "source_columns": ["flights.distance"],
    }
    for name, text in {
        "a_ratio": "a_sum / (temp - 40)",
        "a_sum": "distance + plane_seats",
        "is_far": "distance > 100",
    }.items():
        fields["features"][name] = feature | {"transformation": {"type": "expression", "expression": text}}
    view = FeatureView.model_validate(fields)
    planes = [{"day": date(2013, 3, 1), "tailnum": "N1", "year": 2000, "seats": 100}]
    flights = [
        flight("2013-03-01 14:00", 1),
        flight("2013-03-01 18:00", 2),
        flight("2013-03-01 18:00", 3, tailnum="N7"),
    ]
    frames = tables(
        flights, [observation("2013-03-01 12:00", temp=42.0), observation("2013-03-01 16:00", temp=40.0)], planes
    )
    table = compute_features(view, frames, [date(2013, 3, 1)], dataset()).sort("flight")
    assert table["a_sum"].to_list() == [300.0, 300.0, None]
    assert table["a_ratio"].to_list() == [150.0, None, None]
    assert table["is_far"].to_list() == [1.0, 1.0, 1.0]


def test_a_day_alone_with_the_days_it_reads_gives_the_same_as_all_days_together() -> None:
    frames = random_days(5, date(2013, 6, 3), days=6, per_day=40)
    view = view_with(
        origin_far_30h={"function": "std", "column": "distance", "by": ["origin"], "window": "30h"},
        tail_delay_26h={"function": "sum", "column": "dep_delay", "by": ["tailnum"], "window": "26h", "clock": "known"},
        last_carrier_5h={"function": "last", "column": "carrier", "by": [], "window": "5h"},
        windy_50h={
            "function": "count_distinct",
            "of": "weather",
            "column": "wind_speed",
            "by": ["origin"],
            "window": "50h",
        },
    )
    days = sorted(set(frames["flights"]["day"]))
    whole = compute_features(view, frames, days, dataset())
    assert whole["windy_50h"].max() > 1
    for day in days:
        reached = {
            source: frame.filter(pl.col("day").is_in(days_read(view, source, day, set(frame["day"]), NEW_YORK)))
            for source, frame in frames.items()
        }
        alone = compute_features(view, reached, [day], dataset())
        assert_frame_equal(alone, whole.filter(day=day), check_exact=True)
    assert days_read(view, "flights", days[5], days, NEW_YORK) == days[2:]
