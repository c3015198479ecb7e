"""A weekly panel has a row per active customer, features as known on Monday, and labels of the weeks that follow."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipelines import store_paths
from pipelines.messages.training import SnapshotRequest
from pipelines.steps.features.source_days import days_read
from pipelines.steps.labels.read_labels import read_labels
from pipelines.steps.take_snapshot import read_snapshot
from pipelines.steps.take_snapshot import run as take_snapshot
from pipelines.testing.ports import FakePorts
from tests.steps.panel.shop import (
    DATASET,
    END,
    MODEL,
    PURCHASES,
    RETURNS,
    START,
    VIEW,
    WEEKLY,
    all_days,
    build,
    catalog,
    hold,
    ports,
    purchases,
)

DAY, DUE = timedelta(days=1), timedelta(hours=6)
ROWS = purchases()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> FakePorts:
    """All days are held, and the rows of all weeks are built."""
    made = ports(tmp_path_factory.mktemp("shop"))
    hold(made, ROWS, all_days())
    build(made, weeks(made))
    return made


def weeks(world: FakePorts) -> list[date]:
    panel = world.catalog.view(VIEW).panel
    assert panel is not None
    return panel.periods(START, END)


def by_hand(monday: date) -> dict[str, dict[str, Any]]:
    """Of each active customer, from the days before Monday: their purchases are known when their files are due."""
    rows = {}
    for (customer,), bought in ROWS.filter(pl.col("date") < monday).group_by("customer_id"):
        last = bought["date"].max()
        assert isinstance(last, date)
        if (monday - last).days > 60:  # a date is its last instant: sixty days before 06:00 lies on a day's morning
            continue
        near = {days: bought.filter(pl.col("date") >= monday - days * DAY) for days in (7, 28)}
        sums = {days: float(frame["amount"].sum()) for days, frame in near.items()}
        rows[str(customer)] = {
            **{f"customer_purchase_count_{days}d": frame.height for days, frame in near.items()},
            **{f"customer_purchase_sum_amount_{days}d": value for days, value in sums.items()},
            "customer_days_since_last_purchase": (monday - last).days - 1 + 0.25 + 1e-6 / 86_400,
            "customer_big_basket_share_28d": (near[28]["discs"] >= 2).mean(),
            "customer_amount_7d_over_28d": sums[7] / sums[28] if sums[28] else None,
            "week_of_year": monday.isocalendar().week,
        }
    return rows


def test_rows_and_features_are_those_by_hand(world: FakePorts) -> None:
    table = world.store.read(store_paths.features(VIEW))
    assert table.height > 120
    for monday in weeks(world):
        rows = table.filter(day=monday)
        expected = by_hand(monday)
        assert rows["customer_id"].to_list() == sorted(expected)
        assert (rows["period"] == monday).all()
        assert rows["prediction_time"].unique().to_list() in ([], [datetime(*monday.timetuple()[:3], 6, tzinfo=UTC)])
        features = rows.drop("customer_id", "period", "prediction_time", "day")
        counted = pl.DataFrame([expected[customer] for customer in rows["customer_id"]], schema=features.schema)
        assert_frame_equal(features, counted, rel_tol=1e-9)


def test_labels_tell_of_the_two_weeks_after_monday(world: FakePorts) -> None:
    labels = labels_of(world)
    for row in labels.iter_rows(named=True):
        first, last = row["period"], row["period"] + 13 * DAY  # the fourteenth day ends after 06:00
        bought = ROWS.filter((pl.col("customer_id") == row["customer_id"]) & pl.col("date").is_between(first, last))
        if row["period"] + 14 * DAY > END:
            assert (row["label"], row["label_time"]) == (None, None)
        else:
            assert row["label"] == float(bought.height > 0)
            assert row["label_time"].replace(tzinfo=UTC) == datetime(*(first + 15 * DAY).timetuple()[:3], 6, tzinfo=UTC)
    assert 0.1 < labels["label"].mean() < 0.95  # type: ignore[operator]


def labels_of(world: FakePorts) -> pl.DataFrame:
    view, dataset = world.catalog.view(VIEW), world.catalog.dataset("shop")
    return read_labels(world.store, view, dataset, "buys_again", None)


def test_a_label_is_null_and_not_0_until_every_day_of_its_window_is_held(tmp_path: Path) -> None:
    young, monday = ports(tmp_path), START + 7 * DAY
    hold(young, ROWS, [day for day in all_days() if day < monday + 14 * DAY])
    build(young, [monday])
    assert set(labels_of(young)["label"]) == {None}
    hold(young, ROWS, [monday + 14 * DAY])
    assert labels_of(young)["label"].null_count() == 0


def test_a_day_without_a_purchase_is_held_too(tmp_path: Path) -> None:
    quiet, monday = ports(tmp_path), START + 7 * DAY
    hold(quiet, ROWS.filter(pl.col("date") < monday), all_days())
    build(quiet, [monday])
    assert set(labels_of(quiet)["label"]) == {0.0}


def test_what_is_delivered_after_monday_changes_no_row_of_it(world: FakePorts, tmp_path: Path) -> None:
    monday = START + 35 * DAY
    life = ports(tmp_path)
    hold(life, ROWS, [day for day in all_days() if day < monday])
    build(life, [monday])
    table = store_paths.features(VIEW)
    assert life.store.read(table).equals(world.store.read(table, days=[monday]))


def test_a_week_reads_the_days_of_its_longest_window_up_to_sunday(world: FakePorts, tmp_path: Path) -> None:
    monday, dataset = START + 91 * DAY, world.catalog.dataset("shop")
    without = {name: how for name, how in WEEKLY["features"].items() if "since_last" not in str(how)}
    view = catalog(tmp_path, view={**WEEKLY, "features": without}).view(VIEW)
    assert days_read(view, "purchases", monday, all_days(), dataset) == [
        day for day in all_days() if monday - 60 * DAY <= day < monday
    ]


def test_a_snapshot_leaves_the_width_of_the_label_between_its_parts(world: FakePorts) -> None:
    as_of = datetime(2024, 4, 15, 6, tzinfo=UTC)
    taken = take_snapshot(SnapshotRequest(model=MODEL, as_of=as_of), world)
    frame = read_snapshot(world.store, MODEL, taken.digest)
    assert taken.latest_label_time is not None
    assert taken.latest_label_time <= as_of
    assert set(taken.table_versions) == {store_paths.features(VIEW), PURCHASES}
    ends = {part: frame.filter(part=part)["prediction_time"] for part in ("train", "validation", "test")}
    for earlier, later in (("train", "validation"), ("validation", "test")):
        assert ends[earlier].max() + timedelta(days=14) <= ends[later].min()  # type: ignore[operator]
    assert frame.select("customer_id", "period").is_duplicated().sum() == 0


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"label": {"buys_again": "count(purchases) >= 1"}}, "counts events; write within, too"),
        ({"label": {"buys_again": "amount > 1"}}, "a row of a period has no outcome of its own; write within"),
        ({"label": {"spend": "sum(purchases.customer_id)", "within": "30d"}}, "sum needs integer or number or decimal"),
        ({"label": {"spend": "sum(orders.amount)", "within": "30d"}}, "'orders' is not a source of shop"),
        ({"label": {"spend": "amount", "within": "30d"}}, "reads nothing of the time after t"),
        ({"label": {"spend": "sum(purchases)", "within": "30d"}}, "sum needs column"),
        ({"label": {"spend": "count(purchases) + discs", "within": "30d"}}, "'discs' is no aggregate"),
        ({"label": {"b": "count(purchases)", "within": "0m"}}, "within must be longer than nothing"),
        ({"entity": ["date"]}, "rows.each differ; name the same columns"),
        ({"rows": {**WEEKLY["rows"], "each": "purchases.buyer"}}, "'buyer'|differ; name the same columns"),
        ({"rows": {**WEEKLY["rows"], "each": "orders.customer_id"}}, "no dataset has a source 'orders'"),
        ({"rows": {**WEEKLY["rows"], "at": "7d"}}, "7d is not within a week"),
        ({"features": {"amount": "own"}}, "amount"),
        ({"features": {"period": {"calendar": "week"}}}, "'period' is a reserved name"),
        (
            {"features": {"share_28d": {"aggregate": "count", "by": "date", "window": "28d"}}},
            "a row has customer_id alone",
        ),
        (
            {"features": {"week_of_event": {"calendar": "week", "of": "event"}}},
            "a row of a period has no event; write t",
        ),
    ],
)
def test_a_panel_that_cannot_be_meant_is_refused_when_it_is_read(
    tmp_path: Path, change: dict[str, Any], fault: str
) -> None:
    refusal = catalog(tmp_path, view=WEEKLY | change).refused[f"features/{VIEW}.yaml"]
    assert any(part in " ".join(refusal.reasons) for part in fault.split("|")), refusal.reasons


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"target": "amount > 1"}, "'amount' is not the label buys_again"),
        ({"training": {"split": {"strategy": "random", "group": "discs"}}}, "'discs' is no column of the entity"),
        (
            {"monitoring": {"performance": {"metric": "roc_auc", "max_drop": 0.1, "window_days": 13}}},
            "declare 14 at least",
        ),
    ],
)
def test_a_model_that_does_not_suit_a_panel_is_refused(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    refusal = catalog(tmp_path, model=RETURNS | change).refused[f"models/{MODEL}.yaml"]
    assert fault in " ".join(refusal.reasons), refusal.reasons


def test_a_number_of_the_window_is_a_regression(tmp_path: Path) -> None:
    spend = {**WEEKLY, "label": {"spend": "sum(purchases.amount)", "within": "14d", "where": "discs >= 2"}}
    world = ports(tmp_path, view=spend, model=RETURNS | {"target": "spend"}, dataset=DATASET)
    assert world.catalog.model(MODEL).problem == "regression"
    monday = START + 14 * DAY
    hold(world, ROWS, [day for day in all_days() if day <= monday + 14 * DAY])
    build(world, [monday])
    labels = read_labels(world.store, world.catalog.view(VIEW), world.catalog.dataset("shop"), "spend", None)
    inside = ROWS.filter(pl.col("date").is_between(monday, monday + 13 * DAY) & (pl.col("discs") >= 2))
    spent = dict(inside.group_by("customer_id").agg(pl.col("amount").sum()).iter_rows())
    assert dict(labels.select("customer_id", "label").iter_rows()) == pytest.approx(
        {customer: spent.get(customer, 0.0) for customer in labels["customer_id"]}
    )
