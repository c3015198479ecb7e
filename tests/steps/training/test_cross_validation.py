"""A fold that cannot be learnt from is refused by its number; none trains on what its scored rows' time told."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import Refused
from pipelines.spec.model import CrossValidation
from pipelines.steps.training.cross_validation import cross_validate, folds
from pipelines.steps.training.fitting import EncodedPart
from tests.steps.small_training import spec

ROWS = 600
TIMES = np.datetime64("2013-01-01T10:00", "us") + np.arange(ROWS) * np.timedelta64(10, "m")


@pytest.mark.parametrize(
    ("strategy", "positives_from", "reason"),
    [
        ("forward_chaining", 150, "fold 1 of 5 trains on 100 rows, 0 of them positive"),
        ("stratified", 596, "4 rows of the rarer class are too few for 5 stratified folds"),
        ("k_fold", 600, "fold 5 of 5 trains on 480 rows, 0 of them positive"),
    ],
)
def test_a_fold_that_would_learn_from_one_class_is_refused_by_its_number(
    strategy: str, positives_from: int, reason: str
) -> None:
    training = spec(cross_validation={"folds": 5, "strategy": strategy}).training
    part = EncodedPart(np.zeros((ROWS, 1), dtype=np.float32), (np.arange(ROWS) >= positives_from).astype(float))
    with pytest.raises(Refused) as refused:
        cross_validate(training, "classification", 7, [], part, TIMES, 5, 0.5)
    assert reason in str(refused.value)


@pytest.mark.parametrize("strategy", ["stratified", "k_fold"])
def test_fewer_rows_than_folds_are_refused(strategy: str) -> None:
    training = spec(cross_validation={"folds": 5, "strategy": strategy}).training
    part = EncodedPart(np.zeros((4, 1), dtype=np.float32), np.array([0.0, 1.0, 0.0, 1.0]))
    with pytest.raises(Refused, match="4 rows are too few for 5 folds"):
        cross_validate(training, "classification", 7, [], part, TIMES[:4], 5, 0.5)


THREE = CrossValidation(folds=3)


def times(weeks: list[int]) -> np.ndarray:
    return np.datetime64("2024-01-01", "us") + np.array(sorted(weeks)) * np.timedelta64(7, "D")


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 40), max_size=20), st.sampled_from([None, 1, 20, 30]))
def test_no_training_row_reaches_into_the_time_that_its_fold_scores(weeks: list[int], days: int | None) -> None:
    moments, gap = times([*weeks, *range(41), *range(41)]), timedelta(days=days) if days else None
    reach = np.timedelta64(gap or timedelta(microseconds=1))
    for train, scored in folds(THREE, moments, np.zeros(len(moments)), 1, gap):
        assert moments[train].max() + reach <= moments[scored].min()
        assert len(train) == (moments + reach <= moments[scored].min()).sum()


def test_a_fold_without_a_row_old_enough_is_refused() -> None:
    moments = times(list(range(8)))
    with pytest.raises(Refused, match="no row is 30d older"):
        list(folds(THREE, moments, np.zeros(8), 1, timedelta(days=30)))
