"""Fits any declared estimator by one call, to native bytes, curves and a function that predicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import xgboost as xgb

from pipelines.errors import Refused
from pipelines.spec.model import Training
from pipelines.steps.training.boosting import BoostingResult, OnRound, boost, matrix
from pipelines.steps.training.boosting_plan import BoostingPlan, plan_boosting
from pipelines.steps.training.checkpoints import Checkpoints
from pipelines.steps.training.device import Device
from pipelines.tables.encoding import FeatureInput, Matrix

Target = npt.NDArray[np.float64]
NATIVE_MODEL_FILES = {"xgboost": "model.ubj", "sklearn": "model.skops"}


@dataclass(frozen=True)
class EncodedPart:
    """Encoded rows and their targets, in order of prediction time."""

    rows: Matrix
    target: Target

    def take_rows(self, places: npt.NDArray[np.int64]) -> EncodedPart:
        return EncodedPart(self.rows[places], self.target[places])


@dataclass(frozen=True)
class FittedModel:
    """``rounds`` were done, the model holds those up to ``best_round`` (from 0; None: all of them).

    ``importance``: total gain per feature name; empty where the estimator has none.
    """

    native: bytes
    rounds: int
    best_round: int | None
    resumed_from_round: int | None
    predict: Callable[[Matrix], Target]
    curves: dict[str, list[float]] = field(default_factory=dict)
    learning_rates: list[float] = field(default_factory=list)
    importance: dict[str, float] = field(default_factory=dict)
    watched_metric: str | None = None
    """The curve that early stopping watched."""


def fit(
    training: Training,
    problem: str,
    seed: int,
    features: list[FeatureInput],
    train: EncodedPart,
    validation: EncodedPart | None,
    *,
    device: Device = "cpu",
    checkpoints: Checkpoints | None = None,
    on_round: OnRound | None = None,
    rates: Sequence[float] | None = None,
) -> FittedModel:
    """Fit the declared estimator on ``train``, watching ``validation``.

    ``rates``: the learning rates of a fit whose rounds are repeated; an estimator of sklearn has none.
    """
    if training.estimator.kind == "sklearn":
        return _fit_sklearn(training, problem, seed, features, train)
    plan = plan_boosting(training, problem, seed, device, rates)
    try:
        quantised = matrix(plan, train.rows, train.target)
        reference = quantised if plan.quantile else None
        held_out = None if validation is None else matrix(plan, validation.rows, validation.target, reference)
        done = boost(plan, quantised, held_out, checkpoints=checkpoints, on_round=on_round)
    except xgb.core.XGBoostError as error:
        raise Refused("XGBoost does not accept the declared training", [str(error).partition("Stack")[0]]) from error
    return to_fitted_model(done, plan, features)


def to_fitted_model(done: BoostingResult, plan: BoostingPlan, features: list[FeatureInput]) -> FittedModel:
    """The fitted model of a boosting, wherever it ran; it predicts on this machine."""
    done.booster.set_param({"device": "cpu"})  # rows to predict are in main memory
    gains = done.booster.get_score(importance_type="total_gain")
    return FittedModel(
        native=bytes(done.booster.save_raw("ubj")),
        rounds=done.rounds,
        best_round=done.best_round,
        resumed_from_round=done.resumed_from_round,
        predict=lambda rows: np.asarray(done.booster.inplace_predict(rows), dtype=np.float64),
        curves=done.curves,
        learning_rates=done.learning_rates,
        importance={feature.name: float(np.sum(gains.get(f"f{place}", 0.0))) for place, feature in enumerate(features)},
        watched_metric=f"validation/{plan.metric}",
    )


def _fit_sklearn(
    training: Training, problem: str, seed: int, features: list[FeatureInput], train: EncodedPart
) -> FittedModel:
    from pipelines.steps.training import sklearn_estimator, skops_file  # over a second of CPU, which boosting saves

    estimator = sklearn_estimator.build(training.estimator, problem, seed, features)
    fitted = sklearn_estimator.fit(estimator, problem, train.rows, train.target)
    gains = getattr(fitted, "feature_importances_", None)
    names = [feature.name for feature in features]
    return FittedModel(
        native=skops_file.dump(fitted),
        rounds=int(getattr(fitted, "n_iter_", 1)) if np.isscalar(getattr(fitted, "n_iter_", 1)) else 1,
        best_round=None,
        resumed_from_round=None,
        predict=lambda rows: sklearn_estimator.predict(fitted, problem, rows),
        importance={} if gains is None else {name: float(value) for name, value in zip(names, gains, strict=True)},
    )
