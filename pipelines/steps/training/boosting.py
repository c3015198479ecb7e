"""Fits by XGBoost: the same plan on the same rows gives the same bytes, also if it was killed and resumed.

XGBoost's updater keeps a random state of its own that no model file holds, so a booster loaded from a checkpoint
would sample other columns than one that was never stopped. Therefore the updater is rebuilt at every checkpoint
round, in an uninterrupted training as well as in one that resumes there; each round's other randomness is seeded
by its number (``seed_per_iteration``).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import xgboost as xgb

from pipelines.errors import Refused
from pipelines.steps.training.boosting_plan import BoostingPlan
from pipelines.steps.training.checkpoints import CheckpointIndex
from pipelines.steps.training.early_stopping import EarlyStopper
from pipelines.steps.training.learning_rate import LearningRateSchedule, RepeatedRates
from pipelines.tables.encoding import Matrix

OnRound = Callable[[int, Mapping[str, float], float], None]
"""Called after each round with its number from 0, its scores (``validation/auc``) and its learning rate."""
Target = npt.NDArray[np.float64]


class CheckpointStore(Protocol):
    """Loads the newest checkpoint and saves new ones: ``Checkpoints``, or a rank's access to them."""

    def newest(self) -> tuple[bytes, CheckpointIndex] | None: ...
    def save(
        self, content: bytes, curves: dict[str, list[float]], learning_rates: list[float], score: float
    ) -> None: ...


@dataclass(frozen=True)
class BoostingResult:
    """``booster`` holds the rounds up to the best one; ``rounds`` were done in all; rounds count from 0."""

    booster: xgb.Booster
    rounds: int
    best_round: int | None
    resumed_from_round: int | None
    curves: dict[str, list[float]]
    learning_rates: list[float]


def matrix(plan: BoostingPlan, rows: Matrix, target: Target, reference: xgb.DMatrix | None = None) -> xgb.DMatrix:
    """Rows as XGBoost holds them: quantised for ``hist``, with the training rows' quantiles for the others."""
    if not plan.quantile:
        return xgb.DMatrix(rows, target, nthread=plan.threads)
    bins = plan.parameters.get("max_bin")
    return xgb.QuantileDMatrix(rows, target, nthread=plan.threads, ref=reference, **({"max_bin": bins} if bins else {}))


def boost(
    plan: BoostingPlan,
    train: xgb.DMatrix,
    validation: xgb.DMatrix | None,
    *,
    checkpoints: CheckpointStore | None = None,
    on_round: OnRound | None = None,
) -> BoostingResult:
    """Fit. With ``checkpoints`` it resumes from the newest one. Raises ``Refused`` for what XGBoost does not accept.

    Without ``validation`` the scores of the training rows are kept, which stop nothing.
    """
    evals = [(train, "train"), *([] if validation is None else [(validation, "validation")])]
    booster = _create_booster(plan, evals)
    schedule: LearningRateSchedule | RepeatedRates = LearningRateSchedule(plan.learning_rate, plan.rounds, plan.mode)
    if plan.rates is not None:
        schedule = RepeatedRates(plan.rates)
    stopper = EarlyStopper(plan.early_stopping, plan.mode)
    watched_metric = f"{evals[-1][1]}/{plan.metric}"
    curves: dict[str, list[float]] = {}
    rates: list[float] = []
    checkpoint = checkpoints.newest() if checkpoints else None
    if checkpoint:
        content, index = checkpoint
        booster = xgb.Booster(plan.parameters, [data for data, _ in evals])  # the validated one loses its parameters
        booster.load_model(bytearray(content))
        curves, rates = {name: list(values) for name, values in index.curves.items()}, list(index.learning_rates)
        for score in curves[watched_metric]:
            schedule.observe(score)
            stopper.observe(score)
    start = len(rates)
    every = plan.checkpointing.frequency if plan.checkpointing.enabled else 0
    for number in range(start, plan.rounds):
        rate = schedule.rate(number)
        if not rates or rate != rates[-1] or number == start:
            booster.set_param("learning_rate", repr(rate))
        if every and number and number % every == 0:
            _rebuild_updater(booster, plan)
        booster.update(train, number)
        scores = _parse_scores(booster.eval_set(evals, number))
        for name, value in scores.items():
            curves.setdefault(name, []).append(value)
        rates.append(rate)
        if on_round:
            on_round(number, scores, rate)
        schedule.observe(scores[watched_metric])
        if stopper.observe(scores[watched_metric]):
            break
        if checkpoints and every and (number + 1) % every == 0 and number + 1 < plan.rounds:
            checkpoints.save(bytes(booster.save_raw("ubj")), curves, rates, scores[watched_metric])
    best = stopper.best_round if plan.early_stopping.enabled else None
    best_booster = booster[: best + 1] if best is not None else booster
    return BoostingResult(best_booster, len(rates), best, start if checkpoint else None, curves, rates)


def _create_booster(plan: BoostingPlan, evals: list[tuple[xgb.DMatrix, str]]) -> xgb.Booster:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            booster = xgb.Booster(plan.parameters, [data for data, _ in evals])
            booster.save_config()
        except (xgb.core.XGBoostError, ValueError, TypeError, AttributeError) as error:
            raise Refused(
                "XGBoost does not accept the declared training", [str(error).partition("Stack")[0]]
            ) from error
    text = " ".join(str(warning.message) for warning in caught)
    unknown = re.findall(r'"(\w+)"', (re.search(r"Parameters: \{(.*?)\} are not used", text) or ["", ""])[1])
    if unknown:
        reasons = [f"{name}: XGBoost knows no such parameter; remove it or correct the spelling" for name in unknown]
        raise Refused("training.estimator.parameters cannot be used", reasons)
    return booster


def _rebuild_updater(booster: xgb.Booster, plan: BoostingPlan) -> None:
    """Naming another tree method and back makes XGBoost rebuild its updater; ``save_config`` applies the first."""
    method = plan.parameters.get("tree_method", "hist")
    booster.set_param("tree_method", "approx" if method != "approx" else "hist")
    booster.save_config()
    booster.set_param("tree_method", method)


def _parse_scores(line: str) -> dict[str, float]:
    """``[7]\\ttrain-auc:0.71\\tvalidation-auc:0.69`` to ``{"train/auc": 0.71, "validation/auc": 0.69}``."""
    scores = {}
    for item in line.split("\t")[1:]:
        name, _, value = item.rpartition(":")
        part, _, metric = name.partition("-")
        scores[f"{part}/{metric}"] = float(value)
    return scores
