"""Every feature equals what a patient person would find by hand, and nothing later than ``t`` can change it."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal, assert_series_equal

from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import FeatureView
from pipelines.steps.features.compute import compute_features
from pipelines.steps.features.source_days import days_read, first_day_read
from pipelines.steps.labels.row_labels import label_times
from pipelines.tables.entity_id import entity_id
from tests.declared import feature_view, view_fields
from tests.steps.flights_by_hand import DATASET, NEW_YORK, VIEW, by_hand, flight, observation, random_days, tables, utc

SPRING_FORWARD, FALL_BACK = date(2013, 3, 10), date(2013, 11, 3)
MEAN_3H, MEAN_24H, LAST_24H = (
    "origin_departure_delay_mean_3h",
    "carrier_departure_delay_mean_24h",
    "tail_last_departure_delay_24h",
)


def compute(frames: dict[str, pl.DataFrame], days: list[date] | None = None, view: FeatureView = VIEW) -> pl.DataFrame:
    return compute_features(view, frames, days or sorted(set(frames["flights"]["day"])), DATASET)


def features_of(frames: dict[str, pl.DataFrame], number: int) -> dict[str, Any]:
    return compute(frames).row(by_predicate=pl.col("flight") == number, named=True)


@pytest.mark.parametrize("first", [date(2013, 6, 3), SPRING_FORWARD - timedelta(1), FALL_BACK - timedelta(1)])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_engine_agrees_with_a_search_through_all_rows_by_hand(seed: int, first: date) -> None:
    frames = random_days(seed, first, days=4, per_day=75)
    computed = {row["flight"]: row for row in compute(frames).iter_rows(named=True)}
    assert len(computed) == 300
    for row in frames["flights"].iter_rows(named=True):
        for name, value in by_hand(frames, row).items():
            found = computed[row["flight"]][name]
            expected = pytest.approx(value, abs=1e-9) if isinstance(value, float) else value
            assert found == expected, f"{name} of flight {row['flight']}"


def test_the_table_has_exactly_the_declared_columns_and_types() -> None:
    table = compute(tables([flight("2013-03-01 15:00", 1)]))
    beside = ["time_hour", "carrier", "flight", "prediction_time", "late", "day"]
    assert sorted(table.columns) == sorted({*beside, *VIEW.features})
    for name, feature in VIEW.features.items():
        assert table.schema[name] == (pl.String if feature.type == "categorical" else pl.Float64)
    assert table.schema["late"] == pl.Boolean
    assert table.schema["prediction_time"] == pl.Datetime("us", "UTC")


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), number=st.integers(0, 59))
def test_facts_known_after_the_prediction_time_change_nothing(seed: int, number: int) -> None:
    frames = random_days(seed, date(2013, 6, 3), days=3, per_day=20)
    row = frames["flights"].row(by_predicate=pl.col("flight") == number, named=True)
    t = row["time_hour"] + timedelta(minutes=row["minute"]) - timedelta(hours=2)
    before = features_of(frames, number)
    after = features_of(with_another_future(frames, t), number)
    assert {name: after[name] for name in VIEW.features} == {name: before[name] for name in VIEW.features}


def with_another_future(frames: dict[str, pl.DataFrame], t: datetime) -> dict[str, pl.DataFrame]:
    """The same past as known at ``t``; every delay, arrival and observation known later is another one."""
    scheduled = pl.col("time_hour") + pl.duration(minutes="minute")
    later = (scheduled + pl.duration(minutes=pl.col("dep_delay").fill_null(0)) > t) & (
        scheduled > t - timedelta(days=9)
    )
    still_later = (pl.lit(t) - scheduled).dt.total_minutes().clip(lower_bound=0) + 777
    flights = frames["flights"].with_columns(
        dep_delay=pl.when(later).then(still_later).otherwise("dep_delay"),
        arr_delay=pl.when(later).then(pl.lit(-999)).otherwise("arr_delay"),
    )
    values = [pl.when(pl.col("time_hour") > t).then(-1e6).otherwise(name).alias(name) for name in ("temp", "humid")]
    return frames | {"flights": flights, "weather": frames["weather"].with_columns(values)}


def test_a_late_departure_is_invisible_until_it_has_happened() -> None:
    late = flight("2013-03-01 12:00", 1, delay=150)
    asks = [flight("2013-03-01 16:29", 2), flight("2013-03-01 16:30", 3)]
    frames = tables([late, *asks])
    assert features_of(frames, 2)[MEAN_3H] is None
    assert features_of(frames, 3)[MEAN_3H] == 150


def test_a_window_is_open_at_its_start_and_closed_at_its_end() -> None:
    at_the_start, just_inside = flight("2013-03-01 10:00", 1, delay=0), flight("2013-03-01 10:00", 2, delay=1)
    at_the_end, just_after = flight("2013-03-01 12:50", 3, delay=10), flight("2013-03-01 12:50", 4, delay=11)
    frames = tables([at_the_start, just_inside, at_the_end, just_after, flight("2013-03-01 15:00", 5)])
    assert features_of(frames, 5)[MEAN_3H] == (1 + 10) / 2


def test_a_flight_never_sees_itself_however_early_it_left() -> None:
    for delay in (-119, -120, -500):
        found = features_of(tables([flight("2013-03-01 15:00", 1, delay=delay)]), 1)
        assert (found[MEAN_3H], found[MEAN_24H], found[LAST_24H]) == (None, None, None)


def test_a_cancelled_flight_contributes_nothing() -> None:
    frames = tables([flight("2013-03-01 10:00", 1, delay=None), flight("2013-03-01 13:00", 2)])
    assert features_of(frames, 2)[MEAN_24H] is None


def test_a_delay_beyond_the_declared_maximum_contributes_nothing() -> None:
    frames = tables(
        [flight("2013-03-01 10:00", 1, delay=1320), flight("2013-03-01 10:00", 2, delay=1321)]
        + [flight("2013-03-02 12:00", 3)]
    )
    assert features_of(frames, 3)[MEAN_24H] == 1320


def test_a_missing_tail_number_has_no_last_delay_although_others_miss_theirs_too() -> None:
    frames = tables([flight("2013-03-01 10:00", 1, tailnum=None), flight("2013-03-01 15:00", 2, tailnum=None)])
    assert features_of(frames, 2)[LAST_24H] is None
    assert features_of(frames, 2)["plane_seats"] is None


def test_of_two_departures_at_one_moment_the_last_by_key_counts_whatever_their_order() -> None:
    rows = [
        flight("2013-03-01 10:00", 7, delay=30),
        flight("2013-03-01 10:10", 8, delay=20),
        flight("2013-03-01 15:00", 9),
    ]
    assert features_of(tables(rows), 9)[LAST_24H] == 20
    assert features_of(tables(rows[::-1]), 9)[LAST_24H] == 20


def test_an_observation_of_exactly_six_hours_counts_and_an_older_one_does_not() -> None:
    seen = [observation("2013-03-01 06:00", temp=40.0)]
    rows = [flight("2013-03-01 14:00", 1), flight("2013-03-01 14:01", 2)]
    assert features_of(tables(rows, seen), 1)["temp"] == 40
    assert features_of(tables(rows, seen), 2)["temp"] is None


def test_the_latest_observation_counts_even_where_it_left_a_value_empty() -> None:
    seen = [observation("2013-03-01 09:00", temp=40.0, humid=50.0), observation("2013-03-01 10:00", temp=None)]
    found = features_of(tables([flight("2013-03-01 12:30", 1)], seen), 1)
    assert (found["temp"], found["humid"]) == (None, 1.0)


def test_the_newest_copy_of_a_reference_that_was_known_is_looked_up() -> None:
    copies = [
        {"day": date(2013, 3, day), "tailnum": "N1", "year": 2000, "seats": seats}
        for day, seats in ((2, 100), (4, 200))
    ]
    rows = [flight(f"2013-03-0{day} 15:00", day) for day in (1, 2, 3, 4, 5)]
    table = compute(tables(rows, planes=copies))
    assert table.sort("flight")["plane_seats"].to_list() == [None, 100, 100, 200, 200]


@pytest.mark.parametrize(
    ("known", "seats"),
    [
        ({}, {"2013-03-03 11:00": 0, "2013-03-04 10:59": 0, "2013-03-04 11:00": 1}),
        ({"known": "partition_start"}, {"2013-03-03 04:59": 0, "2013-03-03 05:00": 1, "2013-03-03 11:00": 1}),
    ],
    ids=["by default when its partition is due", "from the start of its partition"],
)
def test_a_copy_is_seen_once_it_was_known_and_not_from_its_day_on(known: dict[str, str], seats: dict[str, int]) -> None:
    fields = DATASET.model_dump(mode="json", by_alias=True, exclude_unset=True)
    del fields["sources"]["planes"]["known"]
    fields["sources"]["planes"] |= known
    dataset = DatasetSpec.model_validate(fields)
    view = feature_view(view_fields() | {"rows": {"per": "flights", "lead": 0}}, dataset)
    copies = [{"day": date(2013, 3, day), "tailnum": "N1", "year": 2000, "seats": day - 2} for day in (2, 3)]
    frames = tables([flight(moment, number) for number, moment in enumerate(seats)], planes=copies)
    days = sorted(set(frames["flights"]["day"]))
    table = compute_features(view, frames, days, dataset).sort("flight")
    assert table["plane_seats"].to_list() == list(seats.values())
    for day in days:
        read = days_read(view, "planes", day, set(frames["planes"]["day"]), dataset)
        alone = frames | {"planes": frames["planes"].filter(pl.col("day").is_in(read))}
        assert_frame_equal(compute_features(view, alone, [day], dataset), table.filter(day=day), check_row_order=False)


@pytest.mark.parametrize(
    ("moment", "hour", "weekday"),
    [("2013-03-10 06:59", 1, 7), ("2013-03-10 07:00", 3, 7), ("2013-11-03 05:30", 1, 7), ("2013-11-03 06:30", 1, 7)],
)
def test_the_local_hour_follows_the_change_of_the_clocks(moment: str, hour: int, weekday: int) -> None:
    found = features_of(tables([flight(moment, 1)]), 1)
    assert (found["sched_hour_local"], found["day_of_week"]) == (hour, weekday)


def test_a_flight_that_never_arrived_has_no_label() -> None:
    rows = [
        flight("2013-03-01 15:00", 1, arr_delay=14),
        flight("2013-03-01 15:00", 2, arr_delay=15),
        flight("2013-03-01 15:00", 3, arr_delay=None),
    ]
    assert compute(tables(rows)).sort("flight")["late"].to_list() == [False, True, None]


@pytest.mark.parametrize("first", [date(2013, 6, 3), SPRING_FORWARD - timedelta(2), FALL_BACK - timedelta(2)])
def test_a_day_alone_with_the_days_it_reaches_gives_the_same_as_all_days_together(first: date) -> None:
    frames = random_days(5, first, days=6, per_day=60)
    whole = compute(frames)
    for day in sorted(set(frames["flights"]["day"])):
        reached = {
            source: frame.filter(pl.col("day").is_in(days_read(VIEW, source, day, set(frame["day"]), DATASET)))
            for source, frame in frames.items()
        }
        assert_frame_equal(compute(reached, [day]), whole.filter(day=day), check_exact=True)


def test_a_day_reaches_two_days_back_and_a_day_more_where_the_clocks_lost_an_hour() -> None:
    assert first_day_read(VIEW, "flights", date(2013, 6, 10), NEW_YORK) == date(2013, 6, 8)
    assert first_day_read(VIEW, "flights", date(2013, 3, 11), NEW_YORK) == date(2013, 3, 8)
    assert first_day_read(VIEW, "weather", date(2013, 6, 10), NEW_YORK) == date(2013, 6, 9)
    assert first_day_read(VIEW, "planes", date(2013, 6, 10), NEW_YORK) is None


def test_the_order_of_the_rows_given_does_not_matter() -> None:
    frames = random_days(9, date(2013, 6, 3), days=3, per_day=60)
    shuffled = {source: frame.sample(fraction=1, shuffle=True, seed=4) for source, frame in frames.items()}
    assert_frame_equal(compute(shuffled), compute(frames), check_exact=True)


def mean_distance(frames: dict[str, pl.DataFrame], distance: pl.Expr, days: list[date]) -> pl.Series:
    """Mean distance of the origin's departures of 3 hours, a column that is no integer."""
    feature = VIEW.features[MEAN_3H]
    how = feature.transformation.model_copy(update={"column": "distance", "clock": "event", "max_delay": None})
    changed = feature.model_copy(update={"transformation": how})
    view = VIEW.model_copy(update={"features": {"origin_distance_mean_3h": changed}})
    return compute(frames | {"flights": frames["flights"].with_columns(distance=distance)}, days, view).to_series(4)


def test_the_mean_of_fractions_is_the_same_with_huge_values_before_the_window() -> None:
    frames = random_days(3, date(2013, 6, 3), days=4, per_day=60)
    fraction = 0.1 * pl.col("flight")
    huge = pl.when(pl.col("day") < date(2013, 6, 4)).then(1e9).otherwise(fraction)
    days = [date(2013, 6, 6)]
    one, other = mean_distance(frames, fraction, days), mean_distance(frames, huge, days)
    assert one.drop_nulls().len() > 10
    assert_series_equal(one, other, check_exact=True)


def test_values_beyond_any_fixed_point_are_averaged_exactly() -> None:
    frames = random_days(3, date(2013, 6, 3), days=4, per_day=60)
    days = [date(2013, 6, 6)]
    small, large = (mean_distance(frames, pl.lit(value), days).drop_nulls() for value in (4e-7, 1e15 + 0.125))
    assert small.len() > 10
    assert small.unique().to_list() == [4e-7]
    assert large.to_list() == [pytest.approx(1e15 + 0.125, rel=4e-16)] * large.len()


def test_an_entity_is_named_by_its_key_with_the_hour_in_utc() -> None:
    frame = tables([flight("2013-03-01 10:17", 1545)])["flights"]
    assert frame.select(entity_id(VIEW)).item() == "2013-03-01T10:00:00Z|UA|1545"


def test_entities_that_differ_by_a_fraction_of_a_second_have_ids_of_their_own() -> None:
    hour = pl.col("time_hour")
    frame = tables([flight("2013-03-01 10:17", 1545)])["flights"]
    later = [frame.with_columns(hour + timedelta(microseconds=number)) for number in (250_000, 1)]
    assert pl.concat([frame, *later]).select(entity_id(VIEW)).to_series().to_list() == [
        "2013-03-01T10:00:00Z|UA|1545",
        "2013-03-01T10:00:00.250Z|UA|1545",
        "2013-03-01T10:00:00.000001Z|UA|1545",
    ]


def test_a_label_is_known_after_the_delay_the_flight_and_an_hour_and_never_for_a_cancelled_flight() -> None:
    rows = [flight("2013-03-01 10:15", 1, delay=30, air_time=60), flight("2013-03-01 10:15", 2, delay=None)]
    known = label_times(tables(rows)["flights"], "arr_delay >= 15", VIEW, DATASET)
    assert known.to_list() == [utc("2013-03-01 12:45"), None]
