"""Two versions answer the same flights, or two groups of users, into a prediction log as the gateway writes it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import numpy as np
import polars as pl

from pipelines import store_paths
from pipelines.serving.prediction_log.conversion import FIXED_COLUMNS
from pipelines.spec.catalog import Catalog
from pipelines.spec.deployment import Deployment
from tests.steps.monitored import MODEL, MemoryStore, catalog

NOW = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)


def declared(deployment: Deployment, *, threshold: float = 0.5) -> Catalog:
    found = catalog()
    spec = found.models[MODEL]
    evaluation = spec.evaluation.model_copy(update={"threshold": threshold})
    found.models[MODEL] = spec.model_copy(update={"deployment": deployment, "evaluation": evaluation})
    return found


def answered(
    store: MemoryStore,
    predictions: Sequence[float] | np.ndarray,
    *,
    version: str,
    role: str | Sequence[str],
    rollout_id: str = "r1",
    part: str = "a",
    flights: pl.DataFrame | None = None,
    units: Sequence[str] | None = None,
    latency_ms: float | Sequence[float] | np.ndarray = 4.0,
    leave_out: Sequence[str] = (),
    **columns: Any,
) -> None:
    """Log one answer each, a second apart, about ``flights`` (else about nothing) by ``units`` (else by nobody)."""
    count = len(predictions)
    when = [NOW - timedelta(hours=1) + timedelta(seconds=number) for number in range(count)]
    ids: list[str | None] = [None] * count
    asked = when
    if flights is not None:
        key = flights.select("time_hour", "carrier", "flight")
        ids = [f"{hour:%Y-%m-%dT%H:%M:%SZ}|{carrier}|{flight}" for hour, carrier, flight in key.iter_rows()]
        asked = (flights["time_hour"] - timedelta(hours=2)).to_list()
    content: dict[str, Any] = {
        "prediction_time": asked,
        "logged_at": when,
        "request_id": [f"q{number}" for number in range(count)],
        "row": 0,
        "correlation_id": "c",
        "entity_id": ids,
        "model": MODEL,
        "version": version,
        "generation": 1,
        "prediction": np.asarray(predictions, dtype=np.float64),
        "latency_us": (np.asarray(latency_ms) * 1000 * np.ones(count)).astype(np.int64),
        "role": role if isinstance(role, str) else list(role),
        "rollout_id": rollout_id,
        "bucket": 7,
        "fallback": False,
        "cache_hit": False,
        "weight": 1.0,
        "unit": list(units) if units is not None else None,
        **columns,
    }
    named = {name: pl.lit(value) if isinstance(value, str) else value for name, value in content.items()}
    frame = pl.select(
        **{
            name: named[name] if isinstance(named[name], pl.Expr) else pl.lit(_series(named[name], count))
            for name in named
        }
    )
    frame = frame.cast({name: kind for name, kind in FIXED_COLUMNS.items() if name in frame.columns})  # type: ignore[arg-type]
    for (on,), rows in frame.drop(leave_out).group_by(pl.col("prediction_time").dt.date()):
        buffer = BytesIO()
        rows.write_parquet(buffer)
        store.put(f"{store_paths.predictions(MODEL)}date={on}/part-{version}-{part}.parquet", buffer.getvalue())


def _series(value: Any, count: int) -> pl.Series:
    return pl.Series(value) if isinstance(value, list | np.ndarray) else pl.Series([value] * count)
