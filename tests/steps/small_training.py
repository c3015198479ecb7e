"""A small declared world to train in: a view, two models, and a snapshot whose target follows its features."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipelines import store_paths
from pipelines.adapters.mlflow_registry import MlflowRegistry
from pipelines.errors import Refused
from pipelines.messages.training import SnapshotResult, SplitPart, TrainRequest
from pipelines.settings import Settings
from pipelines.spec.catalog import Catalog
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import FeatureView
from pipelines.spec.model import ModelSpec
from pipelines.spec.partitioning import Partitioning
from pipelines.steps.snapshot.table_digest import table_digest
from pipelines.testing.ports import FakePorts, MemoryStore
from tests.declared import feature_view
from tests.mlflow_database import copy_empty_mlflow

START = datetime(2013, 1, 1, 10, tzinfo=UTC)
ROWS = 1200
FEATURES = ["carrier", "distance", "wind_speed"]
VIEW_FIELDS: dict[str, Any] = {
    "schema": 2,
    "view": "small",
    "description": "flights in small",
    "owner": "tests",
    "entity": ["time_hour", "carrier", "flight"],
    "rows": {"per": "flights", "lead": "2h"},
    "label": {"late": "arr_delay >= 15"},
    "features": {"carrier, distance, wind_speed": "own"},
}


@dataclass
class Dataset:
    """As much of a dataset as the steps after a training ask for: its days, and no declared sources."""

    partition: Partitioning = field(default_factory=lambda: Partitioning(every="day", start=START.date()))
    sources: dict[str, Any] = field(default_factory=dict)


class FolderStore(MemoryStore):
    """Files on disk, so that another process sees them."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root

    def put(self, path: str, content: bytes) -> str:
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + ".partial")
        partial.write_bytes(content)
        partial.replace(target)
        return str(target)

    def get(self, path: str) -> bytes:
        if not self.exists(path):
            raise Refused(f"there is no file {path}")
        return (self._root / path).read_bytes()

    def delete(self, path: str) -> None:
        (self._root / path).unlink(missing_ok=True)

    def exists(self, path: str) -> bool:
        return (self._root / path).is_file()

    def list(self, prefix: str) -> list[str]:
        found = (path.relative_to(self._root).as_posix() for path in self._root.rglob("*") if path.is_file())
        return sorted(path for path in found if path.startswith(prefix))


def view() -> FeatureView:
    columns = {"arr_delay": "number or null", "carrier": "string", "distance": "number", "wind_speed": "number or null"}
    source = {
        "files": "{source}/{partition}/flights.csv",
        "key": ["time_hour", "carrier", "flight"],
        "known": {"before": "1d"},
        "known_columns": {"arr_delay": {"after": "4h"}},
        "columns": {"time_hour": "timestamp", "flight": "integer", **columns},
    }
    declared = {
        "schema": 2,
        "dataset": "flights",
        "partition": {"every": "day", "start": START.date()},
        "sources": {"flights": source},
    }
    return feature_view(VIEW_FIELDS, DatasetSpec.model_validate(declared))


def spec(problem: str = "classification", **training: Any) -> ModelSpec:
    classifies = problem == "classification"
    metric = "roc_auc" if classifies else "mae"
    declared: dict[str, Any] = {
        "minimum_rows": 100,
        "seed": 7,
        "estimator": {
            "rounds": 40,
            "parameters": {"max_depth": 3, "subsample": 0.8, "colsample_bytree": 0.7, "nthread": 1},
        },
        "learning_rate": {"schedule": "cosine", "initial": 0.3, "minimum": 0.05},
        "early_stopping": {"enabled": False},
        "checkpointing": {"frequency": 10, "keep_best": 2},
    }
    return ModelSpec.model_validate(
        {
            "model": "small_delay",
            "description": "whether it is late",
            "owner": "tests",
            "view": "small",
            "problem": problem,
            "target": {"expression": "arr_delay >= 15" if classifies else "arr_delay"},
            "training": {**declared, **training},
            "evaluation": {"minimum_metrics": {metric: {"min": 0.0}}, "comparison": {"metric": metric}},
            "monitoring": {"performance": {"metric": metric, "max_drop": 0.1}},
        }
    )


def rows(problem: str = "classification", count: int = ROWS) -> pl.DataFrame:
    """``count`` labelled rows, ten minutes apart: 70 % train, 15 % validation, 15 % test."""
    draw = np.random.default_rng(5)
    carrier = draw.choice(["AA", "B6", "UA", "WN"], count)
    distance, wind = draw.uniform(100, 2500, count), draw.exponential(10, count)
    wind[draw.random(count) < 0.1] = np.nan
    lateness = 2 * (carrier == "B6") + np.nan_to_num(wind) / 10 - distance / 1500 + draw.normal(size=count)
    target = (lateness > 0.8).astype(float) if problem == "classification" else lateness * 10
    part = np.where(
        np.arange(count) < 0.7 * count, "train", np.where(np.arange(count) < 0.85 * count, "validation", "test")
    )
    times = [START + timedelta(minutes=10 * number) for number in range(count)]
    return pl.DataFrame(
        {
            "time_hour": [time.replace(minute=0) for time in times],
            "carrier": carrier,
            "flight": np.arange(count),
            "prediction_time": times,
            "label_time": [time + timedelta(hours=6) for time in times],
            "distance": distance,
            "wind_speed": pl.Series(wind).fill_nan(None),
            "target": target,
            "part": part,
        },
        schema_overrides={name: pl.Datetime("us", "UTC") for name in ("time_hour", "prediction_time", "label_time")},
    )


def keep_snapshot(store: MemoryStore, frame: pl.DataFrame) -> str:
    """Write a snapshot as ``take_snapshot`` does; returns its digest."""
    digest = table_digest(frame)
    content = BytesIO()
    frame.write_parquet(content)
    record = SnapshotResult(
        model="small_delay",
        as_of=START + timedelta(days=30),
        digest=digest,
        uri=store_paths.snapshot("small_delay", digest, "data.parquet"),
        rows=frame.height,
        parts={part: SplitPart(rows=group.height) for (part,), group in frame.group_by(["part"])},
        features=FEATURES,
        table_versions={"features/small": 1},
    )
    store.put(store_paths.snapshot("small_delay", digest, "data.parquet"), content.getvalue())
    place = store_paths.snapshot("small_delay", digest, "snapshot.json")
    store.put(place, record.model_dump_json(by_alias=True).encode())
    return digest


def request(snapshot: str, run_key: str = "small_delay__train/manual", **fields: Any) -> TrainRequest:
    return TrainRequest(model="small_delay", snapshot=snapshot, run_key=run_key, git_revision="abc123", **fields)


@cache
def _empty_mlflow(folder: Path) -> Path:
    copy_empty_mlflow(folder / "empty.db")
    return folder / "empty.db"


def ports(tmp_path: Path, shared: Path, model: ModelSpec | None = None, store: MemoryStore | None = None) -> FakePorts:
    """Fakes, but a real MLflow on SQLite below ``tmp_path``."""
    database = tmp_path / "mlflow.db"
    if not database.exists():
        shutil.copy(_empty_mlflow(shared), database)
    tracking = f"sqlite:///{database}"
    settings = Settings.from_environment({"AIRWORTHY_HOME": str(tmp_path), "MLFLOW_TRACKING_URI": tracking})
    declared = model or spec()
    datasets: Any = {"flights": Dataset()}
    catalog = Catalog(views={"small": view()}, models={declared.model: declared}, datasets=datasets)
    return FakePorts(
        settings=settings, catalog=catalog, store=store or MemoryStore(), registry=MlflowRegistry(tracking)
    )
