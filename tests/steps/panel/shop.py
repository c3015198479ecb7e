"""A small shop with a weekly panel: purchases of each day, its declarations, and the store that holds them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from pipelines import store_paths
from pipelines.spec.catalog import Catalog
from pipelines.steps.features.compute import compute_features
from pipelines.steps.features.inputs import ViewInputs
from pipelines.testing.ports import FakePorts

VIEW, MODEL, PURCHASES = "customer_week", "buys_again", "validated/shop.purchases"
START, END = date(2024, 1, 1), date(2024, 4, 28)  # a Monday, and a Sunday
DATASET: dict[str, Any] = {
    "schema": 2,
    "dataset": "shop",
    "partition": {"every": "day", "start": START, "end": END, "due": "6h"},
    "sources": {
        "purchases": {
            "files": "{source}/{partition}/purchases.csv",
            "key": "row",
            "event_time": "date",
            "empty": "allowed",
            "columns": {
                "customer_id": "string",
                "date": "date",
                "discs": "integer",
                "amount": {"type": "number", "min": 0},
            },
        }
    },
}
WEEKLY: dict[str, Any] = {
    "schema": 2,
    "view": VIEW,
    "entity": ["customer_id"],
    "rows": {"each": "purchases.customer_id", "every": "week", "active_within": "60d"},
    "label": {"buys_again": "count(purchases) >= 1", "within": "14d"},
    "features": {
        "customer_purchase_{aggregate}_{window}": {
            "aggregate": ["count", "sum(amount)"],
            "of": "purchases",
            "windows": ["7d", "28d"],
        },
        "customer_days_since_last_purchase": {"aggregate": "since_last", "of": "purchases"},
        "customer_big_basket_share_28d": {
            "aggregate": "share",
            "of": "purchases",
            "where": "discs >= 2",
            "window": "28d",
        },
        "customer_amount_7d_over_28d": "customer_purchase_sum_amount_7d / customer_purchase_sum_amount_28d",
        "week_of_year": {"calendar": "week"},
    },
}
RETURNS: dict[str, Any] = {
    "schema": 2,
    "model": MODEL,
    "view": VIEW,
    "target": "buys_again",
    "training": {"minimum_rows": 50, "estimator": {"kind": "xgboost", "rounds": 10}},
}


def catalog(folder: Path, dataset: Any = DATASET, view: Any = WEEKLY, model: Any = RETURNS) -> Catalog:
    """The declarations as they are read; see ``refused`` for faults."""
    declared = {"datasets/shop": dataset, f"features/{VIEW}": view, f"models/{MODEL}": model}
    for name, content in declared.items():
        path = folder / "include" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content, sort_keys=False))
    return Catalog.read(folder / "include")


def ports(folder: Path, **declared: Any) -> FakePorts:
    known = catalog(folder, **declared)
    assert known.refused == {}
    return FakePorts.make(folder, catalog=known)


def purchases(count: int = 14) -> pl.DataFrame:
    """Customer ``n`` buys every ``1 + n`` days until it stops, so that some buy again and some do not."""
    days = [START + timedelta(days=number) for number in range((END - START).days + 1)]
    rows = [
        (f"c{customer:02d}", day, 1 + (customer + number) % 3, 0.1 * (number % 7) + customer)
        for customer in range(count)
        for number, day in enumerate(days)
        if number % (1 + customer) == 0 and number < 60 + 11 * customer
    ]
    schema = {"customer_id": pl.String, "date": pl.Date, "discs": pl.Int64, "amount": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def hold(world: FakePorts, rows: pl.DataFrame, days: Iterable[date]) -> None:
    """Publish these days, as the steps before the features do; one without a row, too."""
    for day in days:
        of_day = rows.filter(date=day)
        if of_day.height:
            world.store.replace_partition(PURCHASES, day, of_day)
        world.store.put(store_paths.profile(PURCHASES, day), b"{}")


def build(world: FakePorts, periods: Iterable[date]) -> None:
    """Compute the rows of these periods from what is held, and keep them."""
    view, dataset = world.catalog.view(VIEW), world.catalog.dataset("shop")
    for period, frames in ViewInputs(world.store, view, dataset).frames(list(periods)):
        rows = compute_features(view, frames, [period], dataset)
        world.store.replace_partition(store_paths.features(VIEW), period, rows.drop("day"))


def all_days() -> list[date]:
    return [START + timedelta(days=number) for number in range((END - START).days + 1)]
