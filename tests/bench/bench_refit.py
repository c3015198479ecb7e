"""What the refit is worth: the deployed model beside the judged one over the four weeks after several training days.

``python -m tests.bench.bench_refit [--every DAYS]`` trains both flagship models as of every 42nd day from the end of
March 2013 on, each on all rows whose label was known then, and compares both models of each training on the 28 days
after it. Prints one JSON object per training and one per model, with the mean gain and its standard error over the
trainings. Those share rows, so the error is of these trainings, not of all possible years.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.messages.training import SnapshotResult, SplitPart, TrainRequest
from pipelines.spec.catalog import Catalog
from pipelines.spec.model import LOWER_IS_BETTER
from pipelines.steps.evaluation.metrics import measure
from pipelines.steps.features.compute import compute_features
from pipelines.steps.labels.row_labels import label_times, row_labels
from pipelines.steps.snapshot.split import assign_parts
from pipelines.steps.training.plan import execute_plan, plan_training
from pipelines.steps.training.snapshot import Snapshot
from pipelines.tables.encoding import encode
from pipelines.tables.entity_id import entity_id
from pipelines.testing.ports import FakePorts
from tests.bench.bench_features import INCLUDE, year

MODELS = ("flight_delay", "arrival_delay_minutes")
FIRST, LAST = date(2013, 3, 31), date(2013, 12, 3)
AFTER = timedelta(days=28)


def labelled(model: str, catalog: Catalog, frames: dict[str, pl.DataFrame], features: pl.DataFrame) -> pl.DataFrame:
    """One row per flight with a label: key, times, features and ``target``, in order of prediction time."""
    view, target = catalog.view_of(model), catalog.model(model).target
    flights, dataset = frames["flights"], catalog.dataset_of(model)
    truth = flights.select(
        *view.key,
        "day",
        label_times(flights, target.expression, view, dataset),
        row_labels(flights, target.expression, dataset).alias("target"),
    )
    rows = features.join(truth.drop_nulls(["label_time", "target"]), on=[*view.key, "day"], how="inner")
    return rows.sort("prediction_time", *view.key).with_columns(entity_id(view))


def compare(model: str, rows: pl.DataFrame, as_of: datetime, ports: FakePorts) -> dict[str, Any]:
    """Train as of this moment, and measure the judged and the deployed model on the four weeks after it."""
    spec, view = ports.catalog.model(model), ports.catalog.view_of(model)
    known = rows.filter(pl.col("label_time") <= as_of)
    part = assign_parts(
        known, spec.training.split, seed=spec.training.seed, classification=spec.problem != "regression"
    )
    known = known.with_columns(part)
    record = SnapshotResult(
        model=model,
        as_of=as_of,
        digest=f"{as_of:%Y%m%d}".ljust(64, "0"),
        uri="memory",
        rows=known.height,
        parts={name: SplitPart(rows=group.height) for (name,), group in known.group_by(["part"])},
        features=list(view.features),
        table_versions={},
    )
    request = TrainRequest(model=model, snapshot=record.digest, run_key="bench")
    plan = plan_training(request, record.features, ports)
    started = time.process_time()
    trained = execute_plan(plan, Snapshot(record, known))
    seconds = time.process_time() - started
    later = rows.filter((pl.col("prediction_time") > as_of) & (pl.col("prediction_time") <= as_of + AFTER))
    target = later["target"].to_numpy()
    metric = spec.evaluation.comparison.metric
    models = {"judged": (trained.fitted, trained.features), "deployed": (trained.deployed, trained.deployed_features)}
    values = {
        name: measure(spec.problem, target, fitted.predict(encode(later, features)), spec.evaluation.threshold)[metric]
        for name, (fitted, features) in models.items()
    }
    assert values["judged"] is not None
    assert values["deployed"] is not None
    gain = values["deployed"] - values["judged"]
    return {
        "bench": f"refit of {model}",
        "as_of": f"{as_of:%Y-%m-%d}",
        "rows": known.height,
        "metric": metric,
        **{name: round(value, 4) for name, value in values.items() if value is not None},
        "gain": round(-gain if metric in LOWER_IS_BETTER else gain, 4),
        "cpu_seconds": round(seconds, 1),
    }


def run(every: int) -> Iterator[dict[str, Any]]:
    catalog = Catalog.read(INCLUDE)
    ports = FakePorts.make(Path("/nonexistent"), catalog=catalog)
    frames = year()
    days = frames["flights"]["day"].unique().sort().to_list()
    features = compute_features(catalog.view_of(MODELS[0]), frames, days, catalog.dataset_of(MODELS[0]))
    ends = [FIRST + timedelta(days=every * number) for number in range((LAST - FIRST).days // every + 1)]
    rows = {model: labelled(model, catalog, frames, features) for model in MODELS}
    measured: dict[str, list[float]] = {model: [] for model in MODELS}
    for end in ends:
        for model in MODELS:
            line = compare(model, rows[model], datetime(end.year, end.month, end.day, 5, tzinfo=UTC), ports)
            measured[model].append(line["gain"])
            yield line
    for model, gains in measured.items():
        yield {
            "bench": f"gain of the refit of {model} over the next four weeks",
            "trainings": len(gains),
            "metric": catalog.model(model).evaluation.comparison.metric,
            "mean": round(statistics.fmean(gains), 4),
            "standard_error": round(statistics.stdev(gains) / math.sqrt(len(gains)), 4) if len(gains) > 1 else None,
            "better": sum(gain > 0 for gain in gains),
        }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_refit", description=__doc__)
    parser.add_argument("--every", type=int, default=42, help="days between two trainings")
    for line in run(parser.parse_args().every):
        print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
