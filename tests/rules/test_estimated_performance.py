"""An estimate is fine or to watch where it can be trusted; else every reason is named, and nothing turns red."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from pipelines.messages.estimated_performance import EstimatedPerformanceResult
from pipelines.rules.estimated_performance import judge_estimate
from pipelines.rules.monitoring_gap import judge_gap
from pipelines.verdict import Outcome
from tests.declared import shipped_model

DAY = date(2013, 5, 7)
SPEC = shipped_model()
MAX_DROP = SPEC.monitoring.performance.max_drop


def result(**changes: Any) -> EstimatedPerformanceResult:
    usual = {
        "model": "flight_delay",
        "day": DAY,
        "window": [DAY - timedelta(days=n) for n in reversed(range(7))],
        "version": "3",
        "metric": "roc_auc",
        "estimate": 0.70,
        "reference": 0.70,
        "half_width": 0.03,
        "past_errors": 12,
        "calibration_days": 28,
        "answered_days": 7,
        "rows": 6000,
    }
    return EstimatedPerformanceResult.model_validate({**usual, **changes})


@pytest.mark.parametrize(
    ("metric", "reference", "estimate", "state"),
    [
        ("roc_auc", 0.70, 0.70, "fine"),
        ("roc_auc", 0.70, 0.70 - MAX_DROP - 0.029, "fine"),
        ("roc_auc", 0.70, 0.70 - MAX_DROP - 0.031, "watch"),
        ("roc_auc", 0.70, 0.90, "fine"),
        ("log_loss", 0.40, 0.40 + MAX_DROP + 0.031, "watch"),
        ("log_loss", 0.40, 0.10, "fine"),
    ],
)
def test_only_a_band_that_lies_wholly_beyond_the_allowed_drop_is_to_watch(
    metric: str, reference: float, estimate: float, state: str
) -> None:
    verdict = judge_estimate(result(metric=metric, reference=reference, estimate=estimate), SPEC)
    assert (verdict.outcome, verdict.facts["state"]) == (Outcome.PASS, state)
    drop = (estimate - reference if metric == "log_loss" else reference - estimate) - 0.03
    told = f"at least {drop:.4f} worse" if drop > 0 else f"perhaps {-drop:.4f} better"
    assert verdict.findings[-1].startswith(f"{state}: {told} than its certificate")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": None}, "no version is live: there is nothing to estimate"),
        ({"is_estimable": False}, "cannot estimate roc_auc: the answers of a regression are no probabilities"),
        ({"calibration_days": 19}, "cannot estimate roc_auc: 19 labelled days (needs 20)"),
        ({"answered_days": 4}, "cannot estimate roc_auc: answers on 4 days of the window (needs 5)"),
        ({"past_errors": 7}, "cannot estimate roc_auc: the truth of 7 past estimates is known (needs 8)"),
        ({"reference": None}, "cannot estimate roc_auc: the certificate of version 3 has no day values of roc_auc"),
        ({"faulty_columns": ["temp"]}, "cannot estimate roc_auc: columns that move the answers broke: temp"),
        ({"loses": True}, "cannot estimate roc_auc: labels show that the version loses: its probabilities are off"),
        ({"estimate": None}, "cannot estimate roc_auc: roc_auc is not defined over the window's answers"),
    ],
)  # fmt: skip
def test_an_estimate_that_cannot_be_trusted_says_why_and_stays_skipped(changes: dict[str, Any], reason: str) -> None:
    verdict = judge_estimate(result(**changes), SPEC)
    assert (verdict.outcome, verdict.reasons, verdict.facts["state"]) == (Outcome.UNKNOWN, (reason,), "cannot estimate")
    since_long = [
        {"check": verdict.rule, "day": f"{DAY - timedelta(days=n)}", "outcome": "unknown"} for n in range(1, 300)
    ]
    assert judge_gap(verdict, since_long, DAY, SPEC).action == "skip"


def test_answers_on_the_fewest_days_that_are_needed_suffice() -> None:
    assert judge_estimate(result(answered_days=5, calibration_days=20), SPEC).outcome is Outcome.PASS


def test_every_reason_is_named() -> None:
    verdict = judge_estimate(result(calibration_days=3, answered_days=1, past_errors=0, half_width=None), SPEC)
    assert len(verdict.reasons) == 3
