"""Ninety days of a shop, validated in any order, end with the same weeks, each built a bounded number of times."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from airflow.sdk.exceptions import AirflowSkipException

from pipelines import store_paths
from pipelines.messages.features import FeaturesRequest, FeaturesResult
from pipelines.steps import build_features, publish_features
from practices._operators.defaults import asset
from practices.point_in_time_features import PointInTimeFeatures
from tests.practices.practice_harness import PracticeHarness
from tests.steps.panel.shop import START, VIEW, WEEKLY, all_days, catalog, hold, purchases

DAY = timedelta(days=1)
DAYS, ROWS = all_days()[:90], purchases(6)
MONDAYS = [START + number * 7 * DAY for number in range(1, 13)]
WINDOWS = {"customer_purchase_count_{window}": {"aggregate": "count", "of": "purchases", "windows": ["7d", "14d"]}}
FEATURES = ["customer_purchase_count_7d", "customer_purchase_count_14d"]
VIEW_OF_TWO_WEEKS = {**WEEKLY, "features": WINDOWS, "rows": {**WEEKLY["rows"], "active_within": "14d"}}


class Shop:
    """The practice that builds the view, with its real steps, started for one day after the other."""

    def __init__(self, harness: PracticeHarness, folder: Path) -> None:
        known = catalog(folder, view=VIEW_OF_TWO_WEEKS)
        harness.catalog.datasets.update(known.datasets)
        harness.catalog.views.update(known.views)
        self.harness, self.builds, self.handed_on = harness, Counter[date](), Counter[str]()
        harness.answers["build_features"] = self._build
        harness.answers["publish_features"] = lambda request: publish_features.run(request, harness)  # type: ignore[arg-type]

    def _build(self, request: FeaturesRequest) -> FeaturesResult:
        result = build_features.run(request, self.harness)  # type: ignore[arg-type]
        self.builds.update(partition.day for partition in result.partitions)
        return result

    def validate(self, days: Sequence[date], rows: pl.DataFrame = ROWS) -> None:
        for day in days:
            hold(self.harness, rows, [day])  # type: ignore[arg-type]
            details = {"check": "quarantine", "day": f"{day}", "outcome": "pass", "reasons": []}
            self.harness.ledger.append("data_verdict", "shop", None, details, actor="test")
            context = self.harness.context("validate", "build_features", partition_key=f"{day}")
            try:
                PointInTimeFeatures(task_id="build_features", view=VIEW).execute(context)
            except AirflowSkipException:
                continue
            self.handed_on.update(context["outlet_events"][asset(VIEW, "features")].partition_keys)

    def table(self) -> pl.DataFrame:
        rows = self.harness.store.read(store_paths.features(VIEW)).sort("period", "customer_id")
        return rows.select("customer_id", "period", *FEATURES)


@pytest.mark.parametrize("order", ["forwards", "backwards", "shuffled"])
def test_every_order_of_ninety_days_ends_with_the_same_weeks(
    harness: PracticeHarness, tmp_path: Path, order: str
) -> None:
    shuffled = random.Random(7).sample(DAYS, len(DAYS))
    shop = Shop(harness, tmp_path)
    shop.validate({"forwards": DAYS, "backwards": DAYS[::-1], "shuffled": shuffled}[order])
    assert sorted(shop.table()["period"].unique()) == MONDAYS
    assert shop.table().equals(_by_brute_force())
    # Each week is handed on at least once, with the day that completes it, and again if it had no rows until later.
    assert set(shop.handed_on) == {f"{week}" for week in MONDAYS}
    # A week reads fourteen days: in life it is built once, else once for each of them at the most.
    assert max(shop.builds.values()) <= (1 if order == "forwards" else 14)


def test_a_delivery_that_comes_again_builds_its_weeks_anew_and_ends_as_if_it_had_come_at_once(
    harness: PracticeHarness, tmp_path: Path
) -> None:
    shop, late = Shop(harness, tmp_path), DAYS[:28]
    shop.validate(late, ROWS.filter(pl.col("customer_id") != "c01"))
    shop.validate(random.Random(3).sample(late, len(late)))
    assert shop.table().equals(_by_brute_force().filter(pl.col("period") <= MONDAYS[3]))


def _by_brute_force() -> pl.DataFrame:
    """Customers and counts, one week after the other: at six on a Monday the days before it are known, and no other."""
    weeks = []
    for week in MONDAYS:
        of_7, of_14 = (
            ROWS.filter(pl.col("date").is_between(week - days * DAY, week - DAY)).group_by("customer_id").len()
            for days in (7, 14)
        )
        counts = of_14.join(of_7, on="customer_id", how="left", suffix="_of_7").fill_null(0)
        weeks.append(
            counts.select(
                "customer_id",
                period=pl.lit(week),
                customer_purchase_count_7d=pl.col("len_of_7").cast(pl.Float64),
                customer_purchase_count_14d=pl.col("len").cast(pl.Float64),
            )
        )
    return pl.concat(weeks).sort("period", "customer_id")
