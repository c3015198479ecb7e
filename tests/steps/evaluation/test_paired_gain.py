"""The interval of a gain is by days or entities, and what the rows do not define has none."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn import metrics as sk

from pipelines.messages.evaluation import Interval
from pipelines.spec.model import LOWER_IS_BETTER, ComparisonSpec
from pipelines.steps.evaluation.paired_gain import MAX_BLOCKS, PairedAnswers, day_blocks, entity_blocks, paired_gain
from tests.steps.evaluation.test_metrics import THRESHOLD, problem_of, sample

DAYS = 30


def pair(metric: str, candidate: float, champion: float, rows: int = 1500) -> PairedAnswers:
    """Rows of thirty days, one after the other; larger numbers are better models."""
    target, ours = sample(metric, rows, candidate, seed=1)
    _, theirs = sample(metric, rows, champion, seed=2)
    return PairedAnswers(target, ours, theirs, np.arange(rows) * DAYS // rows)


def measured(metric: str, answers: PairedAnswers, attempt: int = 1, **declared: Any) -> Interval | None:
    comparison = ComparisonSpec(metric=metric, **declared)
    return paired_gain(problem_of(metric), comparison, answers, threshold=THRESHOLD, attempt=attempt)


@pytest.mark.parametrize("metric", ["roc_auc", "pr_auc", "log_loss", "f1", "mae", "rmse", "r2"])
def test_a_clearly_better_candidate_has_an_interval_above_zero_and_a_worse_one_below(metric: str) -> None:
    better, worse = measured(metric, pair(metric, 0.5, 0.2)), measured(metric, pair(metric, 0.2, 0.5))
    assert better is not None
    assert worse is not None
    assert 0 < better.low < better.gain < better.high  # type: ignore[operator]
    assert worse.low < worse.gain < worse.high < 0  # type: ignore[operator]
    assert (better.candidate < better.champion) is (metric in LOWER_IS_BETTER)
    assert (better.unit, better.units, better.rows) == ("day", DAYS, 1500)


def test_the_interval_is_the_delete_one_day_jackknife_with_students_t() -> None:
    answers = pair("roc_auc", 0.4, 0.3)
    found = measured("roc_auc", answers)
    without = []
    for day in range(DAYS):
        rows = answers.blocks != day
        scores = [
            sk.roc_auc_score(answers.target[rows], model[rows]) for model in (answers.candidate, answers.champion)
        ]
        without.append(scores[0] - scores[1])
    error = np.sqrt((DAYS - 1) / DAYS * np.sum((np.array(without) - np.mean(without)) ** 2))
    assert found is not None
    assert found.standard_error == pytest.approx(error)
    width = stats.t.ppf(0.975, DAYS - 1) * error
    assert (found.low, found.high) == (pytest.approx(found.gain - width), pytest.approx(found.gain + width))


def test_an_identical_candidate_has_no_gain_and_always_passes() -> None:
    target, answers = sample("roc_auc")
    found = measured("roc_auc", PairedAnswers(target, answers, answers, np.arange(400) % 20))
    assert found is not None
    assert (found.low, found.gain, found.high, found.equal_passes) == (0, 0, 0, 1)


def test_rows_of_one_class_have_no_gain() -> None:
    answers = np.linspace(0, 1, 50)
    assert measured("roc_auc", PairedAnswers(np.zeros(50), answers, answers, np.arange(50) % 25)) is None


@pytest.mark.parametrize(
    "blocks", [np.zeros(60, dtype=np.int64), np.r_[np.zeros(30, dtype=np.int64), np.arange(1, 31)]]
)
def test_one_day_or_a_day_without_which_a_class_is_missing_leaves_a_gain_without_an_interval(
    blocks: np.ndarray[Any, Any],
) -> None:
    target = np.r_[np.tile([0.0, 1.0], 15), np.zeros(30)]
    found = measured("roc_auc", PairedAnswers(target, np.linspace(0, 1, 60), np.linspace(1, 0, 60), blocks))
    assert found is not None
    assert (found.low, found.high, found.standard_error, found.equal_passes) == (None, None, None, None)


def test_each_further_attempt_has_a_wider_interval() -> None:
    answers = pair("roc_auc", 0.4, 0.3)
    first, second = measured("roc_auc", answers), measured("roc_auc", answers, attempt=2)
    assert first is not None
    assert second is not None
    assert second.low < first.low  # type: ignore[operator]
    assert (first.attempt, second.attempt) == (1, 2)
    assert second.confidence == ComparisonSpec(metric="roc_auc").level(2)


def test_the_chance_of_an_equal_candidate_grows_with_the_margin() -> None:
    answers = pair("roc_auc", 0.4, 0.4)
    chances = [measured("roc_auc", answers, margin=margin).equal_passes for margin in (0.0, 0.05, 0.5)]  # type: ignore[union-attr]
    assert chances[0] == pytest.approx(0.025, abs=0.001)
    assert chances[0] < chances[1] < chances[2]  # type: ignore[operator]


def test_days_and_entities_are_blocks_and_many_entities_share_one() -> None:
    assert day_blocks(pl.Series(["b", "a", "b"])).tolist() == [1, 0, 1]
    assert entity_blocks(pl.Series(["x", None, "x"])).tolist() == [1, 0, 1]
    many = entity_blocks(pl.Series([str(number % 3000) for number in range(6000)]))
    assert np.unique(many).tolist() == list(range(MAX_BLOCKS))
    assert (many[:3000] == many[3000:]).all()
    assert np.bincount(many).max() <= 2 * 8


def test_the_rows_of_a_slice_keep_their_days() -> None:
    answers = PairedAnswers(np.zeros(4), np.arange(4.0), np.zeros(4), np.array([0, 1, 2, 2]))
    part = answers.take(np.array([True, False, True, True]))
    assert (part.blocks.tolist(), part.units, part.candidate.tolist()) == ([0, 1, 1], 2, [0.0, 2.0, 3.0])
