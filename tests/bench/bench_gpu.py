"""A GPU against the CPU of the same machine: prints a JSON line with the ratio of their seconds, or why there is none.

``python -m tests.bench.bench_gpu [--rows N] [--rounds N] [--repeats N] [--full]`` draws rows by a seed, quantises them
once, and trains the same plan alternately on both devices; the CPU gets every core. ``--full`` takes ten million rows.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from typing import Any

import numpy as np

from pipelines.spec.model import Training
from pipelines.steps.training.boosting import boost, matrix
from pipelines.steps.training.boosting_plan import plan_boosting
from pipelines.steps.training.device import DEVICES, Device, cuda_faults, xgboost_device

ROWS, FULL_ROWS, COLUMNS, ROUNDS, SEED = 1_000_000, 10_000_000, 24, 100, 5
HELD_OUT = 0.1
"""Share of the rows that validate."""


def drawn(rows: int) -> tuple[np.ndarray[Any, np.dtype[np.float32]], np.ndarray[Any, np.dtype[np.float64]]]:
    """``rows`` x 24 normal numbers, and a yes/no target that follows three of them."""
    draw = np.random.default_rng(SEED)
    values = draw.normal(size=(rows, COLUMNS)).astype(np.float32)
    lateness = values[:, 0] * values[:, 1] + values[:, 2] + draw.normal(size=rows)
    return values, (lateness > 0.5).astype(np.float64)


def compare(rows: int, rounds: int, repeats: int) -> dict[str, Any]:
    """Seconds of boosting alone, and with the making of the matrices, per device."""
    values, target = drawn(rows)
    cut = int(rows * (1 - HELD_OUT))
    seconds: dict[Device, list[float]] = {device: [] for device in DEVICES}
    whole: dict[Device, list[float]] = {device: [] for device in DEVICES}
    scores: dict[Device, float] = {}
    for _ in range(repeats):
        for device in DEVICES:
            plan = plan_boosting(_training(rounds), "classification", SEED, device)
            started = time.perf_counter()
            train = matrix(plan, values[:cut], target[:cut])
            held_out = matrix(plan, values[cut:], target[cut:], train)
            boosting = time.perf_counter()
            done = boost(plan, train, held_out)
            ended = time.perf_counter()
            seconds[device].append(ended - boosting)
            whole[device].append(ended - started)
            scores[device] = done.curves["validation/auc"][-1]
    return {
        "bench": "gpu_over_cpu",
        "rows": cut,
        "columns": COLUMNS,
        "rounds": rounds,
        "cpu_threads": _cores(),
        **{f"{device}_seconds": round(statistics.median(seconds[device]), 3) for device in DEVICES},
        "ratio": round(statistics.median(seconds["cpu"]) / statistics.median(seconds["cuda"]), 2),
        "ratio_with_matrices": round(statistics.median(whole["cpu"]) / statistics.median(whole["cuda"]), 2),
        **{f"{device}_validation_auc": round(scores[device], 5) for device in DEVICES},
    }


def _training(rounds: int) -> Training:
    return Training.model_validate(
        {
            "estimator": {"rounds": rounds, "parameters": {"max_depth": 8, "nthread": _cores()}},
            "early_stopping": {"enabled": False},
            "checkpointing": {"enabled": False},
        }
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args(arguments)
    if xgboost_device() != "cuda":
        print(json.dumps({"bench": "gpu_over_cpu", "skipped": "no CUDA device answers: " + cuda_faults()[0]}))
        return 0
    rows = options.rows or (FULL_ROWS if options.full else ROWS)
    print(json.dumps(compare(rows, options.rounds, options.repeats)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
