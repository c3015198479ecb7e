"""A shop in a folder: a dataset of orders and items with its suite, view and model, and files of both."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipelines.spec.catalog import Catalog
from pipelines.testing.ports import FakePorts

DATASET = """\
schema: 2
dataset: shop
partition: {every: day, start: 2024-01-01, due: 6h}
max_quarantined_share: 0.2
sources:
  orders:
    files: "{source}/{partition}/*.csv"
    key: [id]
    known: {after: 0m}
    known_columns: {status: {after: 1d}}
    suite: orders
    columns: {id: integer, at: timestamp, item: string, amount: number, note: string or null, status: string}
  items:
    files: "{source}/{partition}/items.csv"
    cadence: reference
    known: partition_start
    key: [item]
    columns: {item: string, weight: {type: number, min: 0}}
"""
SUITE = """\
suite: orders
expectations:
  - type: expect_column_values_to_be_between
    kwargs: {column: amount, min_value: 0}
    reason: negative amount
"""
VIEW = """\
schema: 2
view: orders_rows
entity: [id]
rows: {per: orders, lead: 0m}
label: {returned: "status = 'returned'"}
features:
  amount, note: own
  weight: {lookup: items.weight, on: item}
"""
MODEL = """\
schema: 2
model: returned
view: orders_rows
target: returned
training: {minimum_rows: 100, estimator: {kind: xgboost, rounds: 20}}
"""
ITEMS = "item,weight\n" + "".join(f"i{number},{number}\n" for number in range(1, 6))


def orders(days: int = 30, per_day: int = 20, leak: bool = False) -> str:
    """Orders of which the dear ones come back more often; ``note`` says it where there is a ``leak``."""
    random, lines = np.random.default_rng(3), ["id,at,item,amount,note,status"]
    for number in range(days * per_day):
        amount = random.uniform(1, 100)
        returned = random.uniform(0, 100) < amount
        at = f"2024-01-{number // per_day + 1:02d}T{number % per_day:02d}:00:00Z"
        note = ("sorry" if returned else "") if leak else ""
        status = "returned" if returned else "kept"
        lines.append(f"{number},{at},i{number % 5 + 1},{amount:.2f},{note},{status}")
    return "\n".join(lines) + "\n"


def write_shop(folder: Path) -> None:
    for file, text in (
        ("datasets/shop", DATASET), ("expectations/orders", SUITE),
        ("features/orders_rows", VIEW), ("models/returned", MODEL),
    ):  # fmt: skip
        path = folder / "include" / f"{file}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    (folder / "orders.csv").write_text(orders())
    (folder / "items.csv").write_text(ITEMS)


def opened(home: Path) -> FakePorts:
    ports = FakePorts.make(home, catalog=Catalog.read(home / "include"))
    ports.settings = ports.settings.model_copy(update={"include": home / "include"})
    assert not ports.catalog.refused
    return ports
