"""Splits hold what they promise on every drawn table."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipelines.spec.split import SplitSpec
from pipelines.steps.snapshot.split import PARTS, assign_parts
from pipelines.steps.snapshot.spool import spool
from tests.steps.flights_by_hand import utc

START = utc("2013-03-01 10:00")


def rows(minutes: list[int], target: list[float] | None = None) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "prediction_time": [START + timedelta(minutes=minute) for minute in minutes],
            "target": target or [float(index % 4 == 0) for index in range(len(minutes))],
            "entity_id": [f"entity-{index}" for index in range(len(minutes))],
        },
        schema_overrides={"prediction_time": pl.Datetime("us", "UTC"), "target": pl.Float64},
    )


def counts(part: pl.Series) -> list[int]:
    return [part.to_list().count(name) for name in PARTS]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60))
def test_in_order_of_time_no_part_reaches_the_next_and_one_moment_stays_together(minutes: list[int]) -> None:
    frame = rows(minutes)
    parts = frame.with_columns(assign_parts(frame, SplitSpec(), seed=1, classification=True))
    assert parts.group_by("prediction_time").agg(pl.col("part").n_unique())["part"].max() == 1
    ends = [parts.filter(part=name)["prediction_time"] for name in PARTS]
    for earlier, later in ((0, 1), (1, 2), (0, 2)):
        if ends[earlier].len() and ends[later].len():
            assert ends[earlier].max() < ends[later].min()  # type: ignore[operator]


def test_without_ties_the_shares_are_those_declared() -> None:
    assert counts(assign_parts(rows(list(range(200))), SplitSpec(), seed=1, classification=True)) == [140, 30, 30]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=60), st.integers(1, 20))
def test_no_label_of_an_earlier_part_tells_of_the_time_of_a_later(minutes: list[int], gap: int) -> None:
    frame, width = rows(minutes), timedelta(minutes=gap)
    parts = frame.with_columns(assign_parts(frame, SplitSpec(gap=width), seed=1, classification=True))
    ends = [parts.filter(part=name)["prediction_time"] for name in PARTS]
    for earlier, later in ((0, 1), (1, 2), (0, 2)):
        if ends[earlier].len() and ends[later].len():
            assert ends[earlier].max() + width <= ends[later].min()  # type: ignore[operator]
    whole = frame.with_columns(assign_parts(frame, SplitSpec(), seed=1, classification=True))
    assert parts.filter(part="test")["prediction_time"].to_list() == (
        whole.filter(part="test")["prediction_time"].to_list()
    )


def test_a_gap_is_taken_from_train_and_no_wider_than_it_must_be() -> None:
    split = SplitSpec(gap=timedelta(minutes=10))
    part = assign_parts(rows(list(range(200))), split, seed=1, classification=True)
    names = part.to_list()
    assert (names.index("validation"), names.index("test")) == (131, 170)
    assert counts(part) == [122, 30, 30]
    assert [names[place] for place in (121, 122, 160, 161)] == ["train", None, "validation", None]


@pytest.mark.parametrize("strategy", ["random", "stratified"])
def test_a_drawn_split_has_the_declared_shares_and_depends_on_entity_and_seed_alone(strategy: str) -> None:
    frame, split = rows(list(range(400))), SplitSpec(strategy=strategy)
    part = assign_parts(frame, split, seed=1, classification=True)
    assert counts(part) == [280, 60, 60]
    backwards = assign_parts(frame.reverse(), split, seed=1, classification=True).reverse()
    assert backwards.to_list() == part.to_list()
    assert assign_parts(frame, split, seed=2, classification=True).to_list() != part.to_list()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=60))
def test_all_rows_of_a_group_are_in_one_part(groups: list[int]) -> None:
    frame = rows(list(range(len(groups)))).with_columns(customer=pl.Series(groups))
    split = SplitSpec(strategy="random", group="customer")
    parts = frame.with_columns(assign_parts(frame, split, seed=1, classification=True))
    assert parts.group_by("customer").agg(pl.col("part").n_unique())["part"].max() == 1


def test_groups_fill_the_declared_shares_of_rows() -> None:
    frame = rows(list(range(2000))).with_columns(customer=pl.int_range(2000) // 5)
    split = SplitSpec(strategy="random", group="customer")
    assert counts(assign_parts(frame, split, seed=1, classification=True)) == [1400, 300, 300]


def test_a_gap_or_a_group_that_a_split_cannot_have_is_refused() -> None:
    with pytest.raises(ValueError, match="gap is between parts in order of time"):
        SplitSpec(strategy="random", gap=timedelta(days=1))
    with pytest.raises(ValueError, match="group needs strategy random"):
        SplitSpec(group="customer")


def test_the_label_of_a_view_widens_the_gap_of_its_models() -> None:
    month = timedelta(days=30)
    assert SplitSpec().with_gap(None).gap is None
    assert SplitSpec().with_gap(month).gap == month
    assert SplitSpec(gap=timedelta(days=60)).with_gap(month).gap == timedelta(days=60)
    assert SplitSpec(gap=timedelta(days=1)).with_gap(month).gap == month
    assert SplitSpec(strategy="stratified").with_gap(month).gap is None


def test_a_stratified_split_keeps_the_share_of_positives_in_every_part() -> None:
    frame = rows(list(range(400)))
    parts = frame.with_columns(assign_parts(frame, SplitSpec(strategy="stratified"), seed=1, classification=True))
    assert [parts.filter(part=name)["target"].mean() for name in PARTS] == [0.25, 0.25, 0.25]


def test_a_stratified_split_of_a_regression_balances_low_and_high_targets() -> None:
    frame = rows(list(range(500)), [float(index) for index in range(500)])
    parts = frame.with_columns(assign_parts(frame, SplitSpec(strategy="stratified"), seed=1, classification=False))
    for name in PARTS:
        fifths = parts.filter(part=name).group_by(pl.col("target") // 100).len()["len"]
        assert fifths.len() == 5
        assert fifths.n_unique() == 1


@pytest.mark.parametrize("strategy", ["time_ordered", "random", "stratified"])
def test_an_empty_table_splits_into_nothing(strategy: str) -> None:
    part = assign_parts(rows([]), SplitSpec(strategy=strategy), seed=1, classification=True)
    assert counts(part) == [0, 0, 0]


@pytest.mark.parametrize("hours", [0, 9])
def test_a_table_written_day_by_day_has_the_parts_of_the_whole_table(tmp_path: Path, hours: int) -> None:
    split, frame = SplitSpec(gap=timedelta(hours=hours)), rows([40 * (number // 3) for number in range(600)])
    frame = frame.with_columns(label_time=pl.col("prediction_time") + timedelta(hours=9)).sort("prediction_time")
    days = frame.with_columns(day=pl.col("prediction_time").dt.date()).partition_by("day", include_key=False)
    made = spool(days, split, batch_rows=50, classification=True, folder=tmp_path)
    whole = frame.with_columns(assign_parts(frame, split, seed=1, classification=True))
    spooled = pl.concat([pl.read_parquet(tmp_path / file.name) for file in made.list.files])
    assert_frame_equal(spooled, whole.drop_nulls("part"))
