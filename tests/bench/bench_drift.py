"""What a drift decision costs: on one day's window from saved profiles, and from rows beside Evidently's preset."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from datetime import date
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl

from pipelines.messages.monitoring import DriftResult
from pipelines.rules.drift_check import judge_drift
from pipelines.steps.drift.compare import compare
from pipelines.tables.profile import TableProfile, merge_profiles, profile_frame
from pipelines.verdict import Verdict
from tests.declared import shipped_model

SPEC = shipped_model()
DAY = date(2013, 3, 7)
NUMERIC = [f"number_{n:02d}" for n in range(20)]
CATEGORICAL = [f"category_{n}" for n in range(5)]
TARGET_RATIO = 20


def rows(count: int, seed: int, *, shift: float = 0.0) -> pl.DataFrame:
    """``count`` rows of 25 columns: continuous, rounded, skewed and partly null numbers, and categories."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {}
    for place, name in enumerate(NUMERIC):
        moved = shift if place < 10 else 0.0
        values = rng.exponential(1 + moved, count) if place % 4 == 3 else rng.normal(moved, 1, count)
        values = values.round(1) if place % 4 == 1 else values
        columns[name] = pl.Series(values)
        if place % 4 == 2:
            columns[name] = columns[name].set(pl.Series(rng.random(count) < 0.1), None)
    for place, name in enumerate(CATEGORICAL):
        columns[name] = pl.Series(rng.integers(0, 4 ** (place + 1), count)).cast(pl.String)
    return pl.DataFrame(columns)


def profile(frame: pl.DataFrame) -> TableProfile:
    return profile_frame(frame, categorical=CATEGORICAL, numeric=NUMERIC)


def decide(reference: TableProfile, current: TableProfile) -> Verdict:
    features = [compare(name, reference, current, 1) for name in (*CATEGORICAL, *NUMERIC)]
    measures = DriftResult(
        model=SPEC.model,
        day=DAY,
        window=[DAY],
        version="1",
        reference="",
        features=features,
        prediction=compare(NUMERIC[0], reference, current, 1),
    )
    return judge_drift(measures, SPEC)


def timed(work: Callable[[], Any], repeats: int = 1) -> tuple[float, Any]:
    """Best seconds of ``repeats`` runs, and the last answer."""
    best = float("inf")
    for _ in range(repeats):
        start = perf_counter()
        answer = work()
        best = min(best, perf_counter() - start)
    return best, answer


def day_decision() -> dict[str, Any]:
    """Seven saved daily profiles of 900 rows are read, merged, compared with the training profile, and judged."""
    reference = profile(rows(60_000, 1)).model_dump_json()
    daily = [profile(rows(900, seed)).model_dump_json() for seed in range(2, 9)]

    def work() -> Verdict:
        current = merge_profiles([TableProfile.model_validate_json(one) for one in daily])
        return decide(TableProfile.model_validate_json(reference), current)

    seconds, verdict = timed(work, repeats=5)
    return {"bench": "drift_decision_day", "columns": 25, "seconds": round(seconds, 4), "outcome": verdict.outcome}


def decision_beside_evidently(count: int) -> dict[str, Any]:
    """Profile both sides and decide, beside Evidently's preset on the same rows, already in pandas for it."""
    reference, current = rows(count, 1), rows(count, 2, shift=1.0)
    seconds, verdict = timed(lambda: decide(profile(reference), profile(current)))

    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=NUMERIC, categorical_columns=CATEGORICAL)
    sides = [Dataset.from_pandas(side.to_pandas(), definition) for side in (current, reference)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        preset_seconds, _ = timed(lambda: Report([DataDriftPreset()]).run(*sides).dict())
    ratio = preset_seconds / seconds
    return {
        "bench": "drift_decision_from_rows",
        "rows_per_side": count,
        "columns": 25,
        "seconds": round(seconds, 3),
        "evidently_seconds": round(preset_seconds, 2),
        "ratio": round(ratio, 1),
        "target_ratio": TARGET_RATIO,
        "met": ratio >= TARGET_RATIO,
        "outcome": verdict.outcome,
        "drifting": len(verdict.facts["drifting"]),
    }


def run(full: bool = False) -> Iterator[dict[str, Any]]:
    """One dict per measurement; ``full`` takes a million rows per side, which costs Evidently some minutes."""
    yield day_decision()
    yield decision_beside_evidently(1_000_000 if full else 50_000)


if __name__ == "__main__":
    for line in run(full="--full" in sys.argv[1:]):
        print(json.dumps(line), flush=True)
