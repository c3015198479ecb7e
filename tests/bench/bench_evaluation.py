"""What judging a candidate costs: the interval of a gain beside scikit-learn in a loop, and a durable ledger line.

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
from pipelines.steps.evaluation.metrics import Array
from pipelines.steps.evaluation.paired_gain import PairedAnswers, paired_gain

ROWS, DAYS = 36_000, 40


def seconds(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def looped(score: Callable[[Array, Array], float], answers: PairedAnswers) -> None:
    """The plain way: leave out a day, sort both models' answers again."""
    for day in range(DAYS):
        rows = answers.blocks != day
        score(answers.target[rows], answers.candidate[rows])
        score(answers.target[rows], answers.champion[rows])


def bench_interval() -> None:
    random = np.random.default_rng(0)
    target = (random.random(ROWS) < 0.2).astype(np.float64)
    ours, theirs = [np.clip(lift * target + 0.8 * random.random(ROWS), 0, 1) for lift in (0.2, 0.15)]
    answers = PairedAnswers(target, ours, theirs, np.arange(ROWS) * DAYS // ROWS)
    for metric, score in (("roc_auc", roc_auc_score), ("pr_auc", average_precision_score)):
        declared = ComparisonSpec(metric=metric)
        taken = seconds(lambda declared=declared: paired_gain("classification", declared, answers, threshold=0.5))  # type: ignore[misc]
        plain = seconds(lambda score=score: looped(score, answers))  # type: ignore[misc]
        print(
            json.dumps(
                {
                    "bench": f"interval of a gain of {metric}",
                    "rows": ROWS,
                    "days": DAYS,
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
    bench_interval()
    bench_ledger()
