from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.ledger.line_findings import findings
from pipelines.messages.estimated_performance import EstimatedPerformanceResult, EstimateRequest
from practices.estimated_performance import EstimatedPerformance
from tests.practices.practice_harness import MODEL, PracticeHarness

pytestmark = pytest.mark.usefixtures("watched")
DAY = date(2013, 3, 7)


def estimated(estimate: float = 0.70, **changes: Any) -> EstimatedPerformanceResult:
    known = {"half_width": 0.02, "past_errors": 12, "calibration_days": 28, "answered_days": 7, "rows": 6000}
    return EstimatedPerformanceResult.model_validate(
        {
            "model": MODEL,
            "day": DAY,
            "window": [DAY],
            "version": "4",
            "metric": "roc_auc",
            "estimate": estimate,
            "reference": 0.70,
            **known,
            **changes,
        }
    )


def check(harness: PracticeHarness, result: EstimatedPerformanceResult) -> dict[str, Any]:
    harness.answers["estimate_performance"] = result
    context = harness.context("monitor", "estimate_performance", partition_key=f"{DAY}")
    return EstimatedPerformance(task_id="estimate_performance", model=MODEL).execute(context)


def opened(harness: PracticeHarness) -> list[tuple[str, bool]]:
    line = harness.ledger.entries(MODEL, kind="monitoring_verdict")[-1]
    return [(finding.kind, finding.firing) for finding in findings(line) if finding.kind == "estimated_performance"]


def test_a_fine_estimate_is_on_record_and_ends_its_incident(harness: PracticeHarness) -> None:
    check(harness, estimated())
    assert harness.lines("monitoring_verdict")[0][1]["facts"]["state"] == "fine"
    assert opened(harness) == [("estimated_performance", False)]


def test_an_estimate_far_below_the_certificate_is_told_and_turns_nothing_red(harness: PracticeHarness) -> None:
    check(harness, estimated(0.50))
    assert harness.lines("monitoring_verdict")[0][1]["facts"]["state"] == "watch"
    assert opened(harness) == [("estimated_performance", True)]


def test_an_estimate_that_cannot_be_made_is_skipped_with_its_reasons(harness: PracticeHarness) -> None:
    with pytest.raises(AirflowSkipException, match="3 labelled days"):
        check(harness, estimated(calibration_days=3))


def test_what_the_other_checks_of_the_day_found_goes_into_the_request(harness: PracticeHarness) -> None:
    facts = {"drift_check": {"faults": ["temp", "dewp"], "act": ["temp"]}, "performance_check": {"alarm": ["cusum"]}}
    for name, known in facts.items():
        details = {"check": name, "day": f"{DAY}", "outcome": "fail", "facts": known}
        harness.ledger.append("monitoring_verdict", MODEL, "4", details, actor="test")
    check(harness, estimated())
    [request] = harness.asked
    assert isinstance(request, EstimateRequest)
    assert (request.faulty_columns, request.loses) == (["temp"], True)
