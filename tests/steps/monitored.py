"""A model under watch in memory: its declarations, a store, a registry and an endpoint written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl

from pipelines import store_paths
from pipelines.errors import Refused, Unavailable
from pipelines.ports import VersionInfo
from pipelines.spec.catalog import Catalog
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.model import ModelSpec
from tests.declared import feature_view, shipped_model

MODELS = Path(__file__).parents[2] / "include" / "models"
DAY = date(2013, 3, 7)
MODEL = "flight_delay"
NUMERIC = ("temp", "distance")
CATEGORICAL = ("carrier", "origin")


class MemoryStore:
    """A ``Store`` of frames and bytes."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[date, pl.DataFrame]] = {}
        self.files: dict[str, bytes] = {}

    def read(self, table: str, *, days: Any = None, columns: Any = None, version: int | None = None) -> pl.DataFrame:
        parts = self.tables[table]
        frames = [parts[on].with_columns(day=pl.lit(on)) for on in (parts if days is None else days)]
        whole = pl.concat(frames)
        return whole.select(*columns, "day") if columns else whole

    def replace_partition(self, table: str, day: date, frame: pl.DataFrame) -> int:
        self.tables.setdefault(table, {})[day] = frame
        return len(self.tables[table])

    def days(self, table: str) -> list[date]:
        return sorted(self.tables.get(table, {}))

    def put(self, path: str, content: bytes) -> str:
        self.files[path] = content
        return f"memory:{path}"

    def get(self, path: str) -> bytes:
        if path not in self.files:
            raise Refused(f"{path} does not exist")
        return self.files[path]

    def exists(self, path: str) -> bool:
        return path in self.files

    def list(self, prefix: str) -> list[str]:
        return sorted(path for path in self.files if path.startswith(prefix))

    def uri(self, path: str) -> str:
        return f"memory:{path}"


class Versions:
    """A registry of given versions, one of which may be champion."""

    def __init__(self, champion: str | None = "3", **metrics: dict[str, float]) -> None:
        self.champion = champion
        self.metrics = {"3": {"test_roc_auc": 0.70, "test_log_loss": 0.45, "rounds": 80.0}, **metrics}

    def get(self, model: str, version: str) -> VersionInfo:
        if version not in self.metrics:
            raise Refused(f"{model} has no version {version}")
        tags = {"airworthy.snapshot": "abc"}
        metrics = self.metrics[version]
        return VersionInfo(model=model, version=version, run_id="r", source="s", tags=tags, metrics=metrics)

    def by_alias(self, model: str, alias: str) -> VersionInfo | None:
        return self.get(model, self.champion) if self.champion and alias == "champion" else None


class Flushed:
    """An endpoint that writes its log when asked, or does not answer."""

    def __init__(self, answers: bool = True) -> None:
        self.answers = answers
        self.flushed: list[str] = []

    def flush_log(self, model: str) -> None:
        if not self.answers:
            raise Unavailable("the gateway at http://127.0.0.1:8901 does not answer")
        self.flushed.append(model)


def catalog(**monitoring: Any) -> Catalog:
    """The shipped model over a small view; ``monitoring`` replaces fields of its blocks (``drift={...}``)."""
    spec = shipped_model(MODEL)
    content = spec.model_dump(by_alias=True)
    for block, fields in monitoring.items():
        content["monitoring"][block].update(fields)
    columns = {**dict.fromkeys(CATEGORICAL, "string"), **dict.fromkeys(NUMERIC, "number or null")}
    source = {
        "files": "{source}/{partition}/flights.csv",
        "key": ["time_hour", "carrier", "flight"],
        "event_time": "time_hour",
        "known": {"before": "1d"},
        "known_columns": {"arr_delay": {"after": "4h"}},
        "columns": {"time_hour": "timestamp", "flight": "integer", "arr_delay": "number or null", **columns},
    }
    dataset = DatasetSpec.model_validate(
        {
            "schema": 2,
            "dataset": "flights",
            "partition": {"every": "day", "start": "2013-01-01", "timezone": "America/New_York"},
            "sources": {"flights": source},
        }
    )
    fields = {
        "schema": 2,
        "view": MODEL,
        "entity": ["time_hour", "carrier", "flight"],
        "rows": {"per": "flights", "lead": "2h"},
        "label": {"late": "arr_delay >= 15"},
        "features": {", ".join((*CATEGORICAL, *NUMERIC)): "own"},
    }
    view = feature_view(fields, dataset)
    model = ModelSpec.model_validate(content)
    return Catalog(datasets={"flights": dataset}, views={MODEL: view}, models={MODEL: model})


def ports(catalog_: Catalog, **parts: Any) -> Any:
    defaults = {"store": MemoryStore(), "registry": Versions(), "endpoint": Flushed(), "catalog": catalog_}
    return SimpleNamespace(**{**defaults, **parts})


def flights(on: date, count: int, *, local_hour: int = 12) -> pl.DataFrame:
    """``count`` flights scheduled at one New York hour (UTC - 5) of a day; every third one is late."""
    time_hour = datetime(on.year, on.month, on.day, tzinfo=UTC) + timedelta(hours=local_hour + 5)
    return pl.DataFrame(
        {
            "time_hour": pl.Series([time_hour] * count, dtype=pl.Datetime("us", "UTC")),
            "carrier": ["UA"] * count,
            "flight": list(range(count)),
            "arr_delay": [30.0 if number % 3 == 0 else -5.0 for number in range(count)],
        }
    )


def log(
    store: MemoryStore,
    about: pl.DataFrame,
    predictions: list[float],
    *,
    version: str = "3",
    part: str = "a",
    logged_after: timedelta = timedelta(),
    key: Sequence[str] = ("time_hour", "carrier", "flight"),
) -> None:
    """Write answers about these flights as the gateway would: asked two hours ahead, in files by UTC date."""
    asked = about["time_hour"] - timedelta(hours=2)
    hours = about.with_columns(pl.col("time_hour").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    ids = hours.select(pl.concat_str(key, separator="|")).to_series().to_list()
    frame = pl.DataFrame(
        {
            "prediction_time": asked,
            "logged_at": asked + logged_after,
            "request_id": ["q"] * len(ids),
            "row": list(range(len(ids))),
            "entity_id": ids,
            "model": [MODEL] * len(ids),
            "version": [version] * len(ids),
            "f_temp": [1.0] * len(ids),
            "prediction": predictions,
            "correlation_id": [f"c-{number}" for number in range(len(ids))],
        }
    )
    for (on,), rows in frame.group_by(pl.col("prediction_time").dt.date()):
        buffer = BytesIO()
        rows.write_parquet(buffer)
        store.put(f"{store_paths.predictions(MODEL)}date={on}/part-{version}-{part}.parquet", buffer.getvalue())
