"""Training out of core beside training in memory, on rows drawn by a seed: prints JSON lines with memory and rates.

``python -m tests.bench.bench_out_of_core [--rows N] [--whole-rows N] [--rounds N] [--full]`` writes day partitions of a
feature table and its truth into a store, then takes the snapshot, trains and evaluates by the steps themselves, each in
a process of its own, which says its peak memory (``VmHWM``) at its end. Both ways are compared on ``--whole-rows``; out
of core goes on to ``--rows``. ``--full`` takes thirty million rows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipelines.adapters.store.delta import DeltaStore
from pipelines.messages.training import SnapshotRequest, TrainRequest
from pipelines.settings import REPOSITORY, Settings
from pipelines.spec.catalog import Catalog
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.model import ModelSpec
from pipelines.testing.ports import FakePorts
from tests.declared import feature_view
from tests.steps.registered_models import digests

ROWS, WHOLE_ROWS, FULL_ROWS, FULL_WHOLE_ROWS, ROUNDS, SEED = 1_000_000, 500_000, 30_000_000, 5_000_000, 10, 5
DAYS, FIRST = 30, date(2013, 1, 1)
NUMERIC = [f"measure_{letter}" for letter in "abcdefghij"]
BATCH_ROWS = 1_000_000
TARGET_MEGABYTES = 2048
"""Peak memory of every step out of core, however many rows there are."""
TARGET_DIFFERENCE = 0.005
"""Between the ROC-AUC of both ways on the same rows."""


def drawn(day: date, number: int, rows: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One day: features (two categorical, ten numeric, a tenth of two of these missing) and truth."""
    draw = np.random.default_rng([SEED, number])
    start = datetime.combine(day, datetime.min.time(), UTC)
    seconds = np.sort(draw.integers(0, 86_400, rows))
    hour = pl.Series(seconds // 3600 * 3_600_000_000).cast(pl.Duration("us")) + start
    key = {"time_hour": hour, "carrier": draw.integers(0, 20, rows), "flight": np.arange(rows)}
    values = {name: draw.standard_normal(rows, dtype=np.float32) for name in NUMERIC}
    score = values["measure_a"] + values["measure_b"] * values["measure_c"] + 0.1 * key["carrier"] - 1.5
    score = score + draw.standard_normal(rows)
    for name in NUMERIC[:2]:
        values[name][draw.random(rows) < 0.1] = np.nan
    frame = pl.DataFrame({**key, **values, "origin": draw.integers(0, 200, rows)}).with_columns(
        pl.col("time_hour").cast(pl.Datetime("us", "UTC")),
        pl.col("carrier", "origin").cast(pl.String),
        pl.col(NUMERIC).fill_nan(None),
    )
    at = pl.Series("seconds", seconds * 1_000_000).cast(pl.Duration("us"))
    features = frame.with_columns(prediction_time=(at + start).cast(pl.Datetime("us", "UTC")))
    truth = frame.select("time_hour", "carrier", "flight").with_columns(
        minute=pl.lit(0), arr_delay=pl.Series(np.where(score > 0, 30.0, 0.0))
    )
    return features, truth


def catalog(out_of_core: bool, rounds: int) -> Catalog:
    columns = {"carrier": "string", "origin": "string", **dict.fromkeys(NUMERIC, "number or null")}
    source = {
        "files": "{source}/{partition}/drawn.csv",
        "key": ["time_hour", "carrier", "flight"],
        "known": {"before": "1d"},
        "known_columns": {"arr_delay": {"after": "4h"}},
        "columns": {"time_hour": "timestamp", "flight": "integer", "arr_delay": "number or null", **columns},
    }
    dataset = {
        "schema": 2,
        "dataset": "drawn",
        "partition": {"every": "day", "start": f"{FIRST}"},
        "sources": {"drawn": source},
    }
    view = {
        "schema": 2,
        "view": "drawn",
        "entity": ["time_hour", "carrier", "flight"],
        "rows": {"per": "drawn", "lead": "2h"},
        "features": {", ".join(columns): "own"},
    }
    model = {
        "model": "drawn_late",
        "description": "whether it is late",
        "owner": "bench",
        "view": "drawn",
        "problem": "classification",
        "target": {"expression": "arr_delay >= 15"},
        "training": {
            "estimator": {"rounds": rounds, "parameters": {"max_depth": 6}},
            "checkpointing": {"frequency": 5},
            **({"out_of_core": {"batch_rows": BATCH_ROWS}} if out_of_core else {}),
        },
        "evaluation": {"minimum_metrics": {"roc_auc": {"min": 0.5}}, "comparison": {"metric": "roc_auc"}},
        "monitoring": {"performance": {"metric": "roc_auc", "max_drop": 0.1}},
    }
    declared = DatasetSpec.model_validate(dataset)
    return Catalog(
        datasets={"drawn": declared},
        views={"drawn": feature_view(view, declared)},
        models={"drawn_late": ModelSpec.model_validate(model)},
    )


def stage(name: str, home: Path, rows: int, rounds: int, out_of_core: bool, snapshot: str) -> dict[str, Any]:
    """One step, in this process."""
    from pipelines.adapters.mlflow_registry import MlflowRegistry

    store, tracking = DeltaStore(str(home / "store")), f"sqlite:///{home / 'mlflow.db'}"
    settings = Settings.from_environment({"AIRWORTHY_HOME": str(home), "MLFLOW_TRACKING_URI": tracking})
    registry = MlflowRegistry(tracking)
    ports = FakePorts(settings=settings, catalog=catalog(out_of_core, rounds), store=store, registry=registry)
    ports.clock = lambda: datetime.now(UTC)
    if name == "write":
        for number in range(DAYS):
            day = FIRST + timedelta(days=number)
            features, truth = drawn(day, number, rows // DAYS)
            store.replace_partition("features/drawn", day, features)
            store.replace_partition("validated/drawn.drawn", day, truth)
        return {}
    if name == "snapshot":
        from pipelines.steps import take_snapshot

        request = SnapshotRequest(model="drawn_late", as_of=datetime(2014, 1, 1, tzinfo=UTC))
        result = take_snapshot.run(request, ports)
        return {"digest": result.digest, "rows": result.rows}
    if name == "evaluate":
        from pipelines.messages.evaluation import EvaluateRequest
        from pipelines.steps import evaluate_model

        version = registry.versions("drawn_late")[0].version
        trained = {version: digests(ports, "drawn_late", version)}
        done = evaluate_model.run(EvaluateRequest(model="drawn_late", version=version, digests=trained), ports)
        return {"roc_auc": done.metrics["roc_auc"], "notes": done.notes}
    from pipelines.steps import train_model

    registry.versions("drawn_late")  # creates MLflow's tables
    trained = train_model.run(
        TrainRequest(model="drawn_late", snapshot=snapshot, run_key=f"bench/{out_of_core}"), ports
    )
    return {"roc_auc": trained.metrics["validation_roc_auc"], "digest": trained.model_digest, "notes": trained.notes}


def in_a_process(name: str, home: Path, rows: int, rounds: int, *, out_of_core: bool = True, snapshot: str = "") -> Any:
    command = [sys.executable, "-W", "ignore", "-m", "tests.bench.bench_out_of_core", "--stage", name]
    command += ["--home", str(home), "--rows", str(rows), "--rounds", str(rounds), "--snapshot", snapshot]
    command += [] if out_of_core else ["--in-memory"]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY).stdout
    return json.loads(said.splitlines()[-1])


def peak_megabytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) // 1024


def one_way(home: Path, rows: int, rounds: int, out_of_core: bool) -> dict[str, Any]:
    """Snapshot, training and evaluation of what lies in the store."""
    taken = in_a_process("snapshot", home, rows, rounds, out_of_core=out_of_core)
    trained = in_a_process("train", home, rows, rounds, out_of_core=out_of_core, snapshot=taken["digest"])
    measured = in_a_process("evaluate", home, rows, rounds, out_of_core=out_of_core)
    steps = {"snapshot": taken, "train": trained, "evaluate": measured}
    return {
        "bench": "out_of_core" if out_of_core else "in_memory",
        "rows": taken["rows"],
        "features": len(NUMERIC) + 2,
        "rounds": rounds,
        **{f"{step}_peak_mb": facts["peak_mb"] for step, facts in steps.items()},
        **{f"{step}_seconds": facts["seconds"] for step, facts in steps.items()},
        **{f"{step}_rows_per_second": round(taken["rows"] / facts["seconds"]) for step, facts in steps.items()},
        "validation_roc_auc": round(trained["roc_auc"], 5),
        "test_roc_auc": round(measured["roc_auc"], 5),
        "model_digest": trained["digest"],
        "notes": [*trained["notes"], *measured["notes"]],
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--whole-rows", type=int)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--stage", choices=["write", "snapshot", "train", "evaluate"], help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--snapshot", default="", help=argparse.SUPPRESS)
    parser.add_argument("--in-memory", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    rows = options.rows or (FULL_ROWS if options.full else ROWS)
    if options.stage:
        started = time.perf_counter()
        facts = stage(options.stage, options.home, rows, options.rounds, not options.in_memory, options.snapshot)
        seconds = round(time.perf_counter() - started, 2)
        print(json.dumps({**facts, "seconds": seconds, "peak_mb": peak_megabytes()}))
        return 0
    both = min(rows, options.whole_rows or (FULL_WHOLE_ROWS if options.full else WHOLE_ROWS))
    lines = []
    for count, ways in ((both, (True, False)), (rows, (True,))):
        with tempfile.TemporaryDirectory(prefix="airworthy-bench-") as folder:
            in_a_process("write", Path(folder), count, options.rounds)
            for out_of_core in ways:
                lines.append(one_way(Path(folder), count, options.rounds, out_of_core))
                print(json.dumps(lines[-1]), flush=True)
    batched, whole, large = lines
    difference = abs(batched["validation_roc_auc"] - whole["validation_roc_auc"])
    peak = max(large[f"{step}_peak_mb"] for step in ("snapshot", "train", "evaluate"))
    held = peak <= TARGET_MEGABYTES and difference <= TARGET_DIFFERENCE
    summary = {
        "bench": "out_of_core_summary",
        "peak_mb": peak,
        "target_mb": TARGET_MEGABYTES,
        "train_memory_over_in_memory": round(batched["train_peak_mb"] / whole["train_peak_mb"], 3),
        "train_seconds_over_in_memory": round(batched["train_seconds"] / whole["train_seconds"], 3),
        "roc_auc_difference": round(difference, 6),
        "held": held,
    }
    print(json.dumps(summary), flush=True)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
