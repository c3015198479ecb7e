"""Declarations of files that locked packages ship, as a person wrote them who had not seen a draft."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipelines.demo.nycflights import source_text as flights_text
from tests.declared import INCLUDE
from tests.other_sources import shipped

BEGIN = datetime(2024, 2, 12, tzinfo=UTC)


@dataclass(frozen=True)
class HandWritten:
    """``texts``: kind of a declaration to its file. ``files``: source to what it delivers. ``words``: of `adopt`."""

    texts: Mapping[str, str]
    files: Mapping[str, bytes]
    words: tuple[str, ...]


def written() -> dict[str, HandWritten]:
    """A static table, a weekly panel, a stream by the half hour, and both flagships, by name."""
    purchases = shipped("lifetimes", "lifetimes/datasets/CDNOW_sample.txt")
    visits = shipped("lifetimes", "lifetimes/datasets/example_transactions.csv")
    question = "COUNT(purchases.*, 0, 30d) > 0 FOR EACH purchases.customer_id"
    return {
        "static table": HandWritten(
            TABLE, {"fair.csv": shipped("statsmodels", "statsmodels/datasets/fair/fair.csv")},
            ("--predict", "affairs > 0"),
        ),
        "weekly panel": HandWritten(
            PANEL, {"visits.csv": visits}, ("--predict", "COUNT(visits.*, 0, 30d) > 0 FOR EACH visits.id")
        ),
        "half-hourly stream": HandWritten(STREAM, {"readings.jsonl": half_hours()}, ("--predict", "spots >= 50")),
        "customers": HandWritten(
            _included("shop", "customer_week", "buys_again"), {"purchases.txt": purchases},
            ("--name", "shop", "--columns", "customer_master,customer_id,date,cds,amount", "--predict", question),
        ),
        "flights": HandWritten(
            _included("flights", "flight_delay", "flight_delay"), _flights(),
            ("--lead", "2h", "--timezone", "America/New_York", "--predict", "arr_delay >= 15"),
        ),
    }  # fmt: skip


def half_hours() -> bytes:
    """Numbers of sunspots as readings of two meters, one for each half hour, as JSON lines."""
    _, *lines = shipped("statsmodels", "statsmodels/datasets/sunspots/sunspots.csv").decode().split()
    rows = []
    for number, line in enumerate(lines[:300]):
        at = BEGIN + number // 2 * timedelta(minutes=30)
        rows.append(f'{{"meter_id": {number % 2}, "at": "{at:%Y-%m-%dT%H:%M:%SZ}", "spots": {line.split(",")[1]}}}\n')
    return "".join(rows).encode()


def _flights() -> dict[str, bytes]:
    """The first three weeks of flights and weather, and the registers."""
    parts = {name: flights_text(name) for name in ("flights", "weather", "planes", "airports")}
    for name in ("flights", "weather"):
        parts[name] = parts[name].filter((parts[name]["month"] == "1") & (parts[name]["day"].str.len_chars() == 1))
    return {f"{name}.csv": rows.write_csv().encode() for name, rows in parts.items()}


def _included(dataset: str, view: str, model: str) -> dict[str, str]:
    files = {"datasets": dataset, "features": view, "models": model}
    return {kind: Path(INCLUDE / kind / f"{name}.yaml").read_text(encoding="utf-8") for kind, name in files.items()}


TABLE = {
    "datasets": """\
schema: 2
dataset: fair
partition: {every: once}
sources:
  fair:
    files: "{source}/{partition}/fair.csv"
    key: row
    columns:
      rate_marriage: {type: integer, min: 1, max: 5}
      age: {type: number, min: 0}
      yrs_married: {type: number, min: 0}
      children: {type: number, min: 0}
      religious: {type: integer, min: 1, max: 4}
      educ: {type: integer, min: 0}
      occupation: integer
      occupation_husb: integer
      affairs: {type: number, min: 0}
""",
    "features": """\
schema: 2
view: wife
rows: {table: fair}
label: {has_affair: "affairs > 0"}
features:
  "*": own
  age_at_marriage: age - yrs_married
""",
    "models": """\
schema: 2
model: has_affair
view: wife
target: has_affair
estimator: {kind: xgboost}
""",
}
PANEL = {
    "datasets": """\
schema: 2
dataset: visits
partition: {every: day, start: 2014-01-01, end: 2014-12-31, due: 6h}
sources:
  visits:
    files: "{source}/{partition}/visits.csv"
    key: row
    empty: allowed
    columns:
      date: {type: timestamp, timezone: UTC}
      id: integer
""",
    "features": """\
schema: 2
view: visitor_week
entity: [id]
rows: {each: visits.id, every: week, active_within: 180d}
label: {comes_again: "count(visits) > 0", within: 30d}
features:
  visits_{window}: {aggregate: count, of: visits, windows: [7d, 30d, 90d]}
  days_since_last_visit: {aggregate: since_last, of: visits}
  month: {calendar: month}
""",
    "models": """\
schema: 2
model: comes_again
view: visitor_week
target: comes_again
""",
}
STREAM = {
    "datasets": """\
schema: 2
dataset: readings
partition: {every: day, start: 2024-02-12, due: 6h}
sources:
  readings:
    files: "{source}/{partition}/*.jsonl"
    key: [meter_id, at]
    known: {after: 0m}
    known_columns: {spots: {after: 30m}}
    columns:
      meter_id: integer
      at: timestamp
      spots: {type: number, min: 0}
""",
    "features": """\
schema: 2
view: half_hour
entity: [meter_id, at]
rows: {per: readings, lead: 0m}
label: {many: "spots >= 50"}
features:
  hour, weekday: {calendar: [hour, weekday]}
  spots_{aggregate}_{window}: {aggregate: [mean(spots)], of: readings, by: meter_id, windows: [7d]}
  many_share_7d: {aggregate: share, where: "spots >= 50", of: readings, by: meter_id, window: 7d}
""",
    "models": """\
schema: 2
model: many
view: half_hour
target: many
training: {minimum_rows: 150}
""",
}
