"""Whatever a source calls its columns, the rows and features are the same, or the name is refused when it is read."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from polars.testing import assert_frame_equal

import pipelines
from pipelines.errors import Refused
from pipelines.spec.catalog import Catalog
from pipelines.steps.features.compute import compute_features
from pipelines.steps.labels.read_labels import read_labels
from pipelines.testing.memory_store import MemoryStore

ROOT = Path(pipelines.__file__).parent
READ = (
    "steps/features",
    "steps/panel",
    "steps/labels",
    "spec/python_function.py",
    "tables/event_instants.py",
    "tables/known_instants.py",
)
"""Where frames with columns of a source are computed."""
DAY, START = timedelta(days=1), date(2024, 1, 1)
FUNCTION = """
import polars as pl

def most(rows, pairs):
    column = pairs.columns[-1]
    return rows.select("row_id").join(pairs.group_by("row_id").agg(value=pl.col(column).max()), on="row_id", how="left")
"""
DATASET: dict[str, Any] = {
    "schema": 2,
    "dataset": "garden",
    "partition": {"every": "day", "start": START, "due": "6h"},
    "sources": {
        "visits": {
            "files": "{source}/{partition}/visits.csv",
            "key": ["at", "visit"],
            "event_time": "at",
            "known": {"before": "1d"},
            "known_columns": {"hours": {"after": "2h"}},
            "columns": {
                "at": "timestamp",
                "visit": "integer",
                "gardener": "string",
                "bed": "integer",
                "hours": "number or null",
            },
        },
        "beds": {
            "files": "{source}/{partition}/beds.csv",
            "cadence": "reference",
            "known": "partition_start",
            "key": ["bed"],
            "columns": {"bed": "integer", "soil": "string"},
        },
    },
}
VIEWS: dict[str, dict[str, Any]] = {
    "visit_view": {
        "entity": ["at", "visit"],
        "rows": {"per": "visits", "lead": "1h"},
        "label": {"took_long": "hours > 2"},
        "features": {
            "who": {"own": "gardener"},
            "begins": {"calendar": "hour"},
            "ground": {"lookup": "beds.soil", "on": "bed"},
            "mean_48h": {"aggregate": "mean(hours)", "of": "visits", "by": "gardener", "window": "48h"},
            "long_share_48h": {
                "aggregate": "share", "of": "visits", "by": "bed", "where": "hours > 2", "window": "48h"
            },
            "before": {"latest": "visits.hours", "by": "bed", "max_age": "72h"},
            "most_48h": {
                "python": "visits:most", "of": "visits", "by": "gardener", "columns": ["hours"], "window": "48h"
            },
            "doubled": "bed * 2",
        },
    },
    "gardener_week": {
        "entity": ["gardener"],
        "rows": {"each": "visits.gardener", "every": "week", "active_within": "10d"},
        "label": {"comes_again": "count(visits) >= 1", "within": "3d"},
        "features": {
            "count_7d": {"aggregate": "count", "of": "visits", "window": "7d"},
            "sum_7d": {"aggregate": "sum(hours)", "of": "visits", "window": "7d"},
            "most_7d": {"python": "visits:most", "of": "visits", "columns": ["hours"], "window": "7d"},
        },
    },
}  # fmt: skip
ADDING = ("with_columns", "select", "agg")
KEYS = {"visit_view": ("at", "visit"), "gardener_week": ("gardener",)}
COLUMNS = ["at", "visit", "gardener", "bed", "hours", "soil"]


def words() -> list[str]:
    """Every text of the modules that could be a column's name, and those of columns that they add by a keyword."""
    files = [
        file for place in READ for file in ((ROOT / place).rglob("*.py") if (ROOT / place).is_dir() else [ROOT / place])
    ]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    names = [node.value for node in nodes if isinstance(node, ast.Constant)]
    calls = [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    names += [keyword.arg for call in calls if call.func.attr in ADDING for keyword in call.keywords]
    return sorted({name for name in names if isinstance(name, str) and re.fullmatch("[a-z][a-z_]*", name)} - {*COLUMNS})


def visits() -> pl.DataFrame:
    rows = [
        (
            datetime(2024, 1, 1, 6, tzinfo=UTC) + timedelta(hours=7 * number),
            number,
            "abc"[number % 3],
            number % 2,
            number / 8,
        )
        for number in range(60)
    ]
    schema = {
        "at": pl.Datetime("us", "UTC"),
        "visit": pl.Int64,
        "gardener": pl.String,
        "bed": pl.Int64,
        "hours": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(day=pl.col("at").dt.date())


def beds() -> pl.DataFrame:
    return pl.DataFrame(
        {"bed": [0, 1], "soil": ["loam", "sand"], "day": [START] * 2}, schema_overrides={"bed": pl.Int64}
    )


def renamed(content: Any, names: Mapping[str, str]) -> Any:
    """Declarations with other names of these columns, wherever they stand."""
    if isinstance(content, dict):
        return {renamed(key, names): renamed(value, names) for key, value in content.items()}
    if isinstance(content, list):
        return [renamed(value, names) for value in content]
    pattern = rf"\b({'|'.join(names)})\b"
    return re.sub(pattern, lambda match: names[match[0]], content) if names and isinstance(content, str) else content


def tables(folder: Path, names: Mapping[str, str]) -> Iterator[tuple[str, pl.DataFrame]]:
    """Each view's rows with their labels, from sources whose columns have these names; ``Refused`` with the faults."""
    include = folder / "include"
    for kind in ("datasets", "features", "python"):
        (include / kind).mkdir(parents=True, exist_ok=True)
    (include / "python" / "visits.py").write_text(FUNCTION)
    (include / "datasets" / "garden.yaml").write_text(yaml.safe_dump(renamed(DATASET, names), sort_keys=False))
    for name, fields in VIEWS.items():
        content = renamed({"schema": 2, "view": name, **fields}, names)
        (include / "features" / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    catalog = Catalog.read(include)
    for refused in catalog.refused.values():
        raise refused
    dataset, store = catalog.dataset("garden"), MemoryStore()
    frames = {"visits": visits(), "beds": beds()}
    frames = {name: frame.rename(dict(names), strict=False) for name, frame in frames.items()}
    for name, frame in frames.items():
        for (day,), rows in frame.partition_by("day", as_dict=True).items():
            store.replace_partition(f"validated/garden.{name}", day, rows.drop("day"))
    for name, view in catalog.views.items():
        days = (
            [START + number * DAY for number in range(17)]
            if view.panel is None
            else [START + 7 * DAY, START + 14 * DAY]
        )
        table = compute_features(view, frames, days, dataset)
        for (day,), rows in table.partition_by("day", as_dict=True).items():
            store.replace_partition(f"features/{name}", day, rows.drop("day"))
        assert view.label is not None
        labels = read_labels(store, view, dataset, view.label.name if view.panel else view.label.expression, None)
        joined = table.join(labels, on=["day", *view.key], how="left", maintain_order="left")
        back = {word: column for column, word in names.items() if column in KEYS[name]}
        yield name, joined.rename(back, strict=False)


def test_a_name_of_our_own_columns_changes_no_value_or_is_refused_when_read(tmp_path: Path) -> None:
    plain = dict(tables(tmp_path, {}))
    assert sum(table.height for table in plain.values()) > 60
    candidates, refused = words(), set[str]()
    for number in range(0, len(candidates), 3):
        some = candidates[number : number + 3]
        for roles in (("gardener", "hours", "bed"), ("hours", "bed", "gardener")):
            names = dict(zip(roles, some, strict=False))
            try:
                answers = [dict(tables(tmp_path, names))]
            except Refused:  # then each of the names alone
                answers = []
                for column, name in names.items():
                    try:
                        answers.append(dict(tables(tmp_path, {column: name})))
                    except Refused:
                        refused.add(name)
            for view, table in ((view, table) for answer in answers for view, table in answer.items()):
                assert_frame_equal(table, plain[view], check_exact=True, check_column_order=False)
    assert {"day", "event", "prediction_time", "row_id", "t"} <= refused
    assert len(refused) < len(candidates) / 4
