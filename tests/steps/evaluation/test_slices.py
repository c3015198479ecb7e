"""Each slice is measured alone, with how probable its loss is by chance; a small or missing one is named."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn import metrics as sk

from pipelines.spec.model import Slices
from pipelines.steps.evaluation.paired_gain import PairedAnswers
from pipelines.steps.evaluation.slices import compared_slices, slice_metrics
from tests.steps.evaluation.test_metrics import sample

DECLARED = Slices(columns=["origin"], metric="roc_auc", max_loss=0.05, min_rows=40)


def answers(champion: float = 0.2) -> PairedAnswers:
    target, ours = sample("roc_auc", 400, 0.5, seed=1)
    _, theirs = sample("roc_auc", 400, champion, seed=2)
    return PairedAnswers(target, ours, theirs, np.arange(400) % 10)


def test_each_slice_is_measured_alone_and_a_small_or_missing_one_is_named() -> None:
    origin = ["JFK"] * 200 + ["LGA"] * 150 + [None] * 40 + ["EWR"] * 10
    pair = answers()
    found = compared_slices("classification", DECLARED, pl.DataFrame({"origin": origin}), pair, 0.5)
    assert [(line.value, line.rows) for line in found] == [("JFK", 200), ("LGA", 150), ("(missing)", 40), ("EWR", 10)]
    jfk, _, _, ewr = found
    assert jfk.candidate == pytest.approx(sk.roc_auc_score(pair.target[:200], pair.candidate[:200]))
    assert jfk.gain == pytest.approx(jfk.candidate - sk.roc_auc_score(pair.target[:200], pair.champion[:200]))
    assert jfk.units == 10
    assert (ewr.candidate, ewr.champion, ewr.gain, ewr.loss_p) == (None, None, None, None)


def test_the_chance_of_a_loss_is_one_sided_by_students_t() -> None:
    pair = answers()
    [line] = compared_slices("classification", DECLARED, pl.DataFrame({"origin": ["JFK"] * 400}), pair, 0.5)
    assert line.gain is not None
    assert line.standard_error is not None
    assert line.loss_p == pytest.approx(stats.t.cdf(line.gain / line.standard_error, 9))
    swapped = PairedAnswers(pair.target, pair.champion, pair.candidate, pair.blocks)
    [losing] = compared_slices("classification", DECLARED, pl.DataFrame({"origin": ["JFK"] * 400}), swapped, 0.5)
    assert losing.loss_p == pytest.approx(1 - line.loss_p)


@pytest.mark.parametrize("lowered", [False, True])
def test_equal_answers_lose_nothing(lowered: bool) -> None:
    pair = answers()
    same = PairedAnswers(pair.target, pair.candidate, pair.candidate / (2 if lowered else 1), pair.blocks)
    [line] = compared_slices("classification", DECLARED, pl.DataFrame({"origin": ["JFK"] * 400}), same, 0.5)
    assert (line.gain, line.loss_p) == (0, 1)


def test_a_slice_of_one_day_has_a_gain_and_no_chance() -> None:
    pair = answers()
    day = PairedAnswers(pair.target, pair.candidate, pair.champion, np.zeros(400, dtype=np.int64))
    [line] = compared_slices("classification", DECLARED, pl.DataFrame({"origin": ["JFK"] * 400}), day, 0.5)
    assert line.gain is not None
    assert (line.units, line.standard_error, line.loss_p) == (1, None, None)


def test_without_a_champion_slices_have_no_gain() -> None:
    pair = answers()
    frame = pl.DataFrame({"origin": ["JFK"] * 400})
    [line] = slice_metrics("classification", DECLARED, frame, pair.target, pair.candidate, 0.5)
    assert line.candidate is not None
    assert (line.champion, line.gain) == (None, None)
