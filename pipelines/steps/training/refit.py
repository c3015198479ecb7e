"""The second fit of a training: what is deployed has learnt from all rows, in the rounds that the judged model kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from pipelines.messages.training import RefitCheck
from pipelines.steps.evaluation.metrics import measure
from pipelines.steps.models.registered_model import Problem
from pipelines.steps.training.fitting import FittedModel
from pipelines.tables.encoding import FeatureInput, encode


@dataclass(frozen=True)
class Refitted:
    """``features``: the inputs with the vocabularies of all rows."""

    fitted: FittedModel
    features: list[FeatureInput]
    check: RefitCheck | None
    """None: there are no newest rows to hold it to the judged model on."""


def kept_rates(judged: FittedModel) -> list[float]:
    """The learning rates of the rounds that the judged model holds; empty for an estimator without rounds."""
    kept_rounds = judged.rounds if judged.best_round is None else judged.best_round + 1
    return judged.learning_rates[:kept_rounds]


def check_refit(
    rows: pl.DataFrame,
    judged: tuple[FittedModel, list[FeatureInput]],
    refitted: tuple[FittedModel, list[FeatureInput]],
    *,
    problem: Problem,
    metric: str,
    threshold: float,
) -> RefitCheck | None:
    """Both models on the newest rows; None where there are none."""
    if rows.is_empty():
        return None
    target = rows["target"].cast(pl.Float64).to_numpy()
    before, after = (model.predict(encode(rows, features)) for model, features in (judged, refitted))
    finite = np.isfinite(after)
    values = [
        measure(problem, target[finite], answers[finite], threshold)[metric] if finite.any() else None
        for answers in (before, after)
    ]
    return RefitCheck(
        rows=rows.height,
        metric=metric,
        judged=values[0],
        refitted=values[1],
        not_finite=int(np.sum(~finite)),
        target_mean=float(target.mean()),
        target_spread=float(target.std()),
        judged_mean=float(before.mean()),
        judged_spread=float(before.std()),
        refitted_mean=float(after[finite].mean()) if finite.any() else 0.0,
    )
