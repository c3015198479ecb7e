"""A day counts by itself if it has rows enough to be measured; thinner days are taken together."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest

from pipelines.spec.model import ModelSpec
from pipelines.steps.monitoring.day_values import day_values
from tests.steps.small_training import spec

FIRST = date(2013, 3, 1)
REGRESSION: ModelSpec = spec("regression")


def answers(*days: tuple[int, int]) -> pl.DataFrame:
    """``days``: rows labelled 1 and 0 of each day; rows labelled 1 score higher."""
    rows = [
        (FIRST + timedelta(days=number), label, 0.2 + 0.5 * label)
        for number, (positive, negative) in enumerate(days)
        for label in [1.0] * positive + [0.0] * negative
    ]
    return pl.DataFrame(rows, schema={"day": pl.Date, "label": pl.Float64, "prediction": pl.Float64}, orient="row")


@pytest.mark.parametrize(
    ("days", "groups"),
    [
        ([(5, 5), (9, 30)], [(0, 0, 10), (1, 1, 39)]),
        ([(4, 50), (1, 50), (5, 5)], [(0, 1, 105), (2, 2, 10)]),
        ([(0, 50), (0, 50), (5, 5)], [(0, 2, 110)]),
        ([(5, 5), (4, 40)], [(0, 0, 10)]),
        ([(4, 4)], []),
        ([], []),
    ],
)
def test_days_with_fewer_than_five_of_a_class_are_taken_together_with_those_after_them(
    days: list[tuple[int, int]], groups: list[tuple[int, int, int]]
) -> None:
    values = day_values(answers(*days), spec())
    assert [((value.first - FIRST).days, (value.day - FIRST).days, value.rows) for value in values] == groups
    assert all(value.metrics["roc_auc"] == 1.0 for value in values)


def test_rows_without_a_label_or_an_answer_do_not_count() -> None:
    frame = answers((6, 6)).with_columns(
        label=pl.when(pl.int_range(pl.len()) == 0).then(None).otherwise("label"),
        prediction=pl.when(pl.int_range(pl.len()) == 11).then(float("nan")).otherwise("prediction"),
    )
    assert [value.rows for value in day_values(frame, spec())] == [10]


def test_a_day_of_a_regression_needs_ten_rows() -> None:
    values = day_values(answers((4, 5), (5, 5), (10, 0)), REGRESSION)
    assert [value.rows for value in values] == [19, 10]
    assert values[0].metrics["mae"] == pytest.approx((9 * 0.3 + 10 * 0.2) / 19)
