"""What a check that could not be measured does: wait for data, or fail."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from pipelines.rules.drift_check import judge_drift
from pipelines.rules.monitoring_gap import TOO_LITTLE_DATA, WAITS_FOR_HISTORY, judge_gap, unmeasured_since
from pipelines.rules.performance_check import judge_performance
from pipelines.verdict import Outcome, Verdict
from tests.declared import shipped_model
from tests.rules import test_drift_check as drift
from tests.rules import test_performance_check as performance

SPEC = shipped_model()
LIMIT = SPEC.monitoring.max_unmeasured_days
DAY = date(2013, 5, 20)


def unmeasured(*, too_little: bool = True) -> Verdict:
    return Verdict.of("drift_check", unknowns=["temp not measured: 12 rows"], facts={TOO_LITTLE_DATA: too_little})


def record(days_before: int, outcome: str, check: str = "drift_check") -> dict[str, Any]:
    return {"check": check, "day": f"{DAY - timedelta(days=days_before)}", "outcome": outcome}


@pytest.mark.parametrize("outcome", [Outcome.PASS, Outcome.FAIL])
def test_a_measured_check_is_judged_whatever_was_before(outcome: Outcome) -> None:
    verdict = Verdict(rule="drift_check", outcome=outcome)
    decision = judge_gap(verdict, [record(n, "unknown") for n in range(1, 60)], DAY, SPEC)
    assert (decision.action, decision.verdict) == ("judge", verdict)


@pytest.mark.parametrize(
    ("days_before", "action"), [(0, "skip"), (LIMIT - 1, "skip"), (LIMIT, "fail"), (LIMIT + 30, "fail")]
)
def test_too_little_data_is_waited_for_as_long_as_declared(days_before: int, action: str) -> None:
    records = [record(n, "unknown") for n in range(days_before, 0, -1)]
    decision = judge_gap(unmeasured(), records, DAY, SPEC)
    assert decision.action == action
    assert any("max_unmeasured_days" in reason for reason in decision.verdict.reasons) == (action == "fail")


def test_none_declared_waits_for_nothing() -> None:
    monitoring = SPEC.monitoring.model_copy(update={"max_unmeasured_days": 0})
    assert judge_gap(unmeasured(), [], DAY, SPEC.model_copy(update={"monitoring": monitoring})).action == "fail"


def test_what_no_further_data_would_cure_fails_at_once() -> None:
    assert judge_gap(unmeasured(too_little=False), [], DAY, SPEC).action == "fail"


@pytest.mark.parametrize(
    ("records", "days"),
    [
        ([], 0),
        ([record(3, "unknown"), record(1, "unknown")], 3),
        ([record(3, "unknown"), record(2, "pass"), record(1, "unknown")], 1),
        ([record(3, "unknown"), record(2, "fail")], 0),
        ([record(2, "unknown"), record(2, "pass")], 0),
        ([record(2, "pass"), record(2, "unknown")], 2),
        ([record(2, "unknown", check="performance_check")], 0),
        ([record(-4, "pass"), record(2, "unknown")], 2),
        ([record(1, "unknown"), record(2, "unknown")], 2),
        ([record(0, "pass"), record(1, "unknown")], 1),
    ],
)
def test_the_gap_begins_after_the_last_measured_day_in_whatever_order_days_were_checked(
    records: list[dict[str, Any]], days: int
) -> None:
    assert unmeasured_since("drift_check", records, DAY) == DAY - timedelta(days=days)


def test_a_performance_without_labels_waits_and_one_without_a_reference_does_not() -> None:
    waiting = judge_performance(performance.result("roc_auc", None, 0.7, window_labelled=3), SPEC)
    lost = judge_performance(performance.result("roc_auc", 0.7, None), SPEC)
    assert (waiting.facts[TOO_LITTLE_DATA], lost.facts[TOO_LITTLE_DATA]) == (True, False)


def test_a_drift_without_rows_waits_and_one_without_its_profiles_does_not() -> None:
    thin = [measure.model_copy(update={"rows": 12, "p_value": None, "psi": None}) for measure in drift.calm(2)]
    whole = [measure.model_copy(update={"p_value": None, "psi": None}) for measure in drift.calm(2)]
    cases = {
        True: [drift.result(thin), drift.result(drift.calm(2), prediction=None)],
        False: [
            drift.result(whole),
            drift.result(drift.calm(2)),
            drift.result(thin, missing_days=[drift.DAY]),
            drift.result([], version=None),
        ],
    }
    for waits, results in cases.items():
        assert [judge_drift(result, drift.SPEC).facts[TOO_LITTLE_DATA] for result in results] == [waits] * len(results)


def test_a_check_that_needs_labels_of_a_future_window_waits_until_they_can_be_known() -> None:
    records = [record(n, "unknown") for n in range(1, LIMIT + 30)]
    assert judge_gap(unmeasured(), records, DAY, SPEC, label_lag=30).action == "skip"
    assert judge_gap(unmeasured(), records, DAY, SPEC, label_lag=29).action == "fail"


def test_a_check_by_week_waits_for_as_many_weeks_of_history_as_one_by_day_for_days() -> None:
    young = Verdict.of("drift_check", unknowns=["young"], facts={TOO_LITTLE_DATA: True, WAITS_FOR_HISTORY: True})
    records = [record(7 * n, "unknown") for n in range(1, 28)]
    assert judge_gap(young, records, DAY, SPEC, days_apart=7).action == "skip"
    assert judge_gap(young, records, DAY, SPEC).action == "fail"
