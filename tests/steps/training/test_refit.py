"""The second fit repeats the rounds that the judged model kept, on all rows, and is measured beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from pipelines.steps.training.fitting import EncodedPart, FittedModel, fit
from pipelines.steps.training.refit import check_refit, kept_rates
from pipelines.steps.training.snapshot import encode_part
from pipelines.tables.encoding import FeatureInput, learn_inputs
from tests.steps.small_training import FEATURES, rows, spec, view

TYPES: Any = {name: view().features[name].type for name in FEATURES}
STOPPED = {"enabled": True, "metric": "logloss", "patience": 5}


def parts(*names: str) -> tuple[list[FeatureInput], EncodedPart]:
    frame = rows().filter(pl.col("part").is_in(names))
    inputs = learn_inputs(frame, TYPES)
    return inputs, encode_part(frame, inputs)


def judged(**training: Any) -> FittedModel:
    inputs, train = parts("train")
    validation = encode_part(rows().filter(pl.col("part") == "validation"), inputs)
    return fit(spec(**training).training, "classification", 7, inputs, train, validation)


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_as_many_rounds_are_repeated_as_the_judged_model_kept_at_the_same_rates(schedule: str) -> None:
    """Nothing is left to validate on, so a plateau or an early stop could not be found again."""
    training = {
        "early_stopping": STOPPED,
        "learning_rate": {"schedule": schedule, "initial": 0.6, "minimum": 0.01, "patience": 2},
    }
    first = judged(**training)
    assert first.best_round is not None
    assert first.best_round + 1 < first.rounds < 40
    rates = kept_rates(first)
    assert rates == first.learning_rates[: first.best_round + 1]
    inputs, every = parts("train", "validation", "test")
    again = fit(spec(**training).training, "classification", 7, inputs, every, None, rates=rates)
    assert (again.rounds, again.best_round, again.learning_rates) == (len(rates), None, rates)


def test_without_early_stopping_every_round_is_kept() -> None:
    assert len(kept_rates(judged())) == 40


def answering(answers: Any) -> FittedModel:
    return FittedModel(native=b"", rounds=1, best_round=None, resumed_from_round=None, predict=lambda _: answers)


def checked(before: Any, after: Any, frame: pl.DataFrame) -> Any:
    inputs = learn_inputs(frame, TYPES)
    models = (answering(np.asarray(before)), inputs), (answering(np.asarray(after)), inputs)
    return check_refit(frame, *models, problem="classification", metric="roc_auc", threshold=0.5)


def test_both_models_are_measured_on_the_newest_rows_and_answers_that_are_no_numbers_are_counted() -> None:
    frame = rows().head(4).with_columns(target=pl.Series([0.0, 1.0, 0.0, 1.0]))
    check = checked([0.4, 0.3, 0.2, 0.9], [0.1, np.nan, 0.2, 0.8], frame)
    assert (check.rows, check.not_finite, check.judged, check.refitted) == (4, 1, 1.0, 1.0)
    assert (check.target_mean, check.target_spread) == (0.5, 0.5)
    assert check.judged_mean == pytest.approx(0.45)
    assert check.refitted_mean == pytest.approx(1.1 / 3)
    assert checked([0.1] * 4, [np.inf] * 4, frame).refitted is None


def test_without_newest_rows_there_is_nothing_to_measure() -> None:
    assert checked([], [], rows().head(0)) is None
