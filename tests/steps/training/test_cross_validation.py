"""A fold that cannot be learnt from is refused by its number before any is fitted, and is never retried."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.errors import Refused
from pipelines.steps.training.cross_validation import cross_validate
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
