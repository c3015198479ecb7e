"""Five months of a small model in a memory store: its outcome follows two columns, with a daily mood of its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from pipelines.testing.ports import FakePorts
from tests.steps.monitored import MODEL, MemoryStore, catalog

FIRST, DAYS, ROWS = date(2013, 1, 1), 154, 90


def small_ports(folder: Path) -> FakePorts:
    """Ports whose store has features and labels of all days, and whose model trains in a moment."""
    declared = catalog(drift={"minimum_rows": 100}, performance={"minimum_labels": 100, "window_days": 7})
    spec = declared.model(MODEL)
    estimator = spec.training.estimator.model_copy(update={"rounds": 12, "parameters": {"max_depth": 3, "nthread": 1}})
    training = spec.training.model_copy(update={"estimator": estimator, "minimum_rows": 100})
    declared = replace(declared, models={MODEL: spec.model_copy(update={"training": training})})
    ports = FakePorts.make(folder, catalog=declared, store=MemoryStore())
    rng = np.random.default_rng(7)
    for number in range(DAYS):
        day = FIRST + timedelta(days=number)
        ports.store.replace_partition(f"features/{MODEL}", day, _rows(day, rng))
        ports.store.replace_partition("validated/flights.flights", day, ports.store.tables[f"features/{MODEL}"][day])
    return ports


def _rows(day: date, rng: np.random.Generator) -> pl.DataFrame:
    temperature = 50 + 20 * np.sin(day.toordinal() / 58) + rng.normal(0, 3) + rng.normal(0, 6, ROWS)
    distance, carrier = rng.gamma(4, 250, ROWS), rng.choice(["AA", "UA", "DL"], ROWS, p=[0.5, 0.3, 0.2])
    chance = 1 / (1 + np.exp(-(2.5 * (carrier == "UA") + (distance - 1000) / 300 - 1 + rng.normal(0, 0.2))))
    noon = datetime(day.year, day.month, day.day, 17, tzinfo=UTC)
    return pl.DataFrame(
        {
            "time_hour": [noon] * ROWS,
            "flight": np.arange(ROWS, dtype=np.int64),
            "carrier": carrier,
            "origin": rng.choice(["JFK", "EWR"], ROWS),
            "temp": temperature,
            "distance": distance,
            "prediction_time": [noon - timedelta(hours=2)] * ROWS,
            "arr_delay": np.where(rng.random(ROWS) < chance, 40.0, 0.0),
        },
        schema_overrides={"time_hour": pl.Datetime("us", "UTC"), "prediction_time": pl.Datetime("us", "UTC")},
    )
