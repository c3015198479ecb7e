"""The minimum metrics gate lists every metric beyond its bound and never passes one that was not measured."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pipelines.rules.minimum_metrics_gate import bound_text, judge_minimum_metrics
from pipelines.verdict import Outcome


@pytest.mark.parametrize(
    ("metrics", "outcome", "reasons"),
    [
        ({"roc_auc": 0.74, "log_loss": 0.5}, Outcome.PASS, ()),
        ({"roc_auc": 0.7, "log_loss": 0.6}, Outcome.PASS, ()),
        ({"roc_auc": 0.7 - 1e-15, "log_loss": 0.6 + 1e-15}, Outcome.PASS, ()),
        ({"roc_auc": 0.681, "log_loss": 0.5}, Outcome.FAIL, ("roc_auc 0.681 < 0.700",)),
        ({"roc_auc": 0.681, "log_loss": 0.7}, Outcome.FAIL, ("roc_auc 0.681 < 0.700", "log_loss 0.700 > 0.600")),
        ({"roc_auc": 0.699999, "log_loss": 0.5}, Outcome.FAIL, ("roc_auc 0.699999 < 0.700000",)),
        ({"roc_auc": None, "log_loss": 0.5}, Outcome.UNKNOWN, ("roc_auc not measured (5000 rows)",)),
        ({"roc_auc": math.nan, "log_loss": 0.5}, Outcome.UNKNOWN, ("roc_auc not measured (5000 rows)",)),
        ({"roc_auc": math.inf, "log_loss": 0.5}, Outcome.UNKNOWN, ("roc_auc not measured (5000 rows)",)),
        ({"log_loss": 0.5}, Outcome.UNKNOWN, ("roc_auc not measured (5000 rows)",)),
        ({"log_loss": 0.7}, Outcome.FAIL, ("log_loss 0.700 > 0.600", "roc_auc not measured (5000 rows)")),
    ],
)
def test_each_declared_metric_is_held_to_its_bound(
    spec: Any, result: Any, metrics: dict[str, float | None], outcome: Outcome, reasons: tuple[str, ...]
) -> None:
    verdict = judge_minimum_metrics(result(metrics=metrics), spec())
    assert verdict.outcome is outcome
    assert verdict.reasons == reasons


@pytest.mark.parametrize(
    ("value", "outcome"), [(0.1, Outcome.FAIL), (0.2, Outcome.PASS), (0.4, Outcome.PASS), (0.41, Outcome.FAIL)]
)
def test_a_metric_may_be_bounded_from_both_sides(spec: Any, result: Any, value: float, outcome: Outcome) -> None:
    declared = spec(minimum_metrics={"brier": {"min": 0.2, "max": 0.4}})
    assert judge_minimum_metrics(result(metrics={"brier": value}), declared).outcome is outcome


def test_the_verdict_carries_the_numbers_it_looked_at(spec: Any, result: Any) -> None:
    facts = judge_minimum_metrics(result(), spec()).facts
    assert facts == {"version": "4", "rows": 5000, "roc_auc": 0.74, "log_loss": 0.5}


def test_a_broken_bound_is_shown_with_as_many_decimals_as_it_takes() -> None:
    assert bound_text("r2", 0.6999999999, "<", 0.7) == "r2 0.6999999999 < 0.7000000000"


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        (0.2 - 1e-12, Outcome.PASS),
        (0.2 - 2e-12, Outcome.FAIL),
        (0.4 + 1e-12, Outcome.PASS),
        (0.4 + 2e-12, Outcome.FAIL),
    ],
)
def test_a_difference_of_up_to_1e_12_counts_as_rounding(spec: Any, result: Any, value: float, outcome: Outcome) -> None:
    declared = spec(minimum_metrics={"brier": {"min": 0.2, "max": 0.4}})
    assert judge_minimum_metrics(result(metrics={"brier": value}), declared).outcome is outcome


def test_a_bound_is_shown_with_3_to_15_decimals() -> None:
    assert bound_text("r2", 0.5, "<", 0.7) == "r2 0.500 < 0.700"
    assert bound_text("r2", 0.5, "<", 0.5) == "r2 0.500000000000000 < 0.500000000000000"
