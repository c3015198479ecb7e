"""Measures what monitoring will compare a version with: its fitted rows, its answers out of sample, its test days."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from pipelines.ports import Ports
from pipelines.spec.model import ModelSpec
from pipelines.steps.monitoring.day_values import day_values, with_local_day
from pipelines.steps.snapshot.split import PARTS
from pipelines.steps.training.snapshot import Snapshot
from pipelines.tables.profile import TrainingProfile, merge_profiles, profile_features, profile_frame

INFLUENCE_ROWS = 2000
PREDICTION = "prediction"

Predict = Callable[[pl.DataFrame], Any]


def measure_reference(
    features: Mapping[str, str], snapshot: Snapshot, ports: Ports, predict: Predict, seed: int, *, refitted: bool
) -> TrainingProfile:
    """Profile the features of the rows that the deployed model has learnt, and the judged one's answers about the test.

    A model knows the rows it was fitted on, and answers about them as it never will again; a random forest moves its
    answers by several tenths. So ``predict``, which answers feature rows with categories as text, is the judged model.
    ``refitted``: the deployed one has learnt the test rows, too.
    """
    spec = ports.catalog.model(snapshot.record.model)
    learnt = PARTS if refitted else ("train", "validation")
    fitted = merge_profiles([profile_features(rows, features) for rows in _batches(snapshot, *learnt)])
    unseen = "test" if snapshot.targets["test"].rows else "validation"
    answered = pl.concat([_answers(rows, predict) for rows in _batches(snapshot, unseen)])
    answers = profile_frame(answered, categorical=[], numeric=[PREDICTION])
    return TrainingProfile(
        version=fitted.version,
        rows=fitted.rows,
        numeric={**fitted.numeric, **answers.numeric},
        categorical=fitted.categorical,
        out_of_sample=True,
        influence=_influence(features, snapshot, unseen, predict, seed, spec),
        test_days=day_values(with_local_day(answered, spec.model, ports), spec) if unseen == "test" else [],
    )


def _batches(snapshot: Snapshot, *parts: str) -> Iterator[pl.DataFrame]:
    """Rows of these parts: all at once where they are one table, else a batch at a time."""
    if snapshot.files is None:
        yield snapshot.rows(*parts)
    else:
        yield from (batch for part in parts for batch in snapshot.batches(part))


def _answers(rows: pl.DataFrame, predict: Predict) -> pl.DataFrame:
    return rows.select(
        "prediction_time",
        pl.col("target").cast(pl.Float64).alias("label"),
        pl.Series(PREDICTION, predict(rows), dtype=pl.Float64),
    )


def _influence(
    features: Mapping[str, str], snapshot: Snapshot, part: str, predict: Predict, seed: int, spec: ModelSpec
) -> dict[str, float]:
    """By feature, how far the answers move if it is drawn from the fitted rows instead: on a sample of rows."""
    rows, donors = (_sample(snapshot, name, seed) for name in (part, "train"))
    drawn = donors.sample(rows.height, with_replacement=True, seed=seed)
    answers = np.asarray(predict(rows), dtype=np.float64)
    unit = 1.0 if spec.problem == "classification" else float(answers.std()) or 1.0
    return {
        name: float(np.abs(np.asarray(predict(rows.with_columns(drawn[name])), dtype=np.float64) - answers).mean())
        / unit
        for name in features
    }


def _sample(snapshot: Snapshot, part: str, seed: int) -> pl.DataFrame:
    """Rows of a part at random; of one in batches, of its first batch."""
    rows = next(_batches(snapshot, part))
    return rows.sample(min(INFLUENCE_ROWS, rows.height), seed=seed)
