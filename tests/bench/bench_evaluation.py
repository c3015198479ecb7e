"""What judging a candidate costs: the paired bootstrap beside scikit-learn in a loop, and a durable ledger line.

Prints one JSON object per line; ``seconds`` are wall time of this machine, ``ratio`` is the one to compare.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from pipelines.adapters.ledger.sql import SqlLedger
from pipelines.spec.model import ComparisonSpec
from pipelines.steps.evaluation.bootstrap import paired_bootstrap
from pipelines.steps.evaluation.metrics import Array

ROWS, RESAMPLES, LOOPED = 15_000, 1_000, 20


def seconds(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def looped(score: Callable[[Array, Array], float], target: Array, ours: Array, theirs: Array) -> None:
    """The plain way: draw rows, sort both models' answers again, as often as ``LOOPED``."""
    random = np.random.default_rng(0)
    for _ in range(LOOPED):
        drawn = random.integers(0, ROWS, ROWS)
        score(target[drawn], ours[drawn])
        score(target[drawn], theirs[drawn])


def bench_bootstrap() -> None:
    random = np.random.default_rng(0)
    target = (random.random(ROWS) < 0.2).astype(np.float64)
    ours, theirs = [np.clip(lift * target + 0.8 * random.random(ROWS), 0, 1) for lift in (0.2, 0.15)]
    for metric, score in (("roc_auc", roc_auc_score), ("pr_auc", average_precision_score)):
        declared = ComparisonSpec(metric=metric, resamples=RESAMPLES)
        taken = seconds(
            lambda declared=declared: paired_bootstrap(  # type: ignore[misc]
                "classification", declared, target, ours, theirs, threshold=0.5, seed=0
            )
        )
        plain = seconds(lambda score=score: looped(score, target, ours, theirs)) * RESAMPLES / LOOPED  # type: ignore[misc]
        print(
            json.dumps(
                {
                    "bench": f"paired bootstrap of {metric}",
                    "rows": ROWS,
                    "resamples": RESAMPLES,
                    "seconds": round(taken, 3),
                    "scikit_learn_loop_seconds": round(plain, 1),
                    "ratio": round(plain / taken, 1),
                }
            )
        )


def bench_ledger(lines: int = 500) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = SqlLedger(f"sqlite:///{Path(folder)}/ledger.db")
        taken = seconds(
            lambda: [ledger.append("gate", "m", "1", {"n": n}, actor="a", key=str(n)) for n in range(lines)]
        )
        checked = seconds(ledger.faults)
    print(
        json.dumps({"bench": "ledger append, durable", "lines": lines, "milliseconds": round(taken / lines * 1e3, 2)})
    )
    print(json.dumps({"bench": "ledger check of the chain", "lines": lines, "seconds": round(checked, 3)}))


if __name__ == "__main__":
    bench_bootstrap()
    bench_ledger()
