from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Refused
from pipelines.messages.monitoring import DayComparison, PerformanceResult
from pipelines.messages.release import LiveState
from practices.performance_check import PerformanceCheck
from tests.practices.practice_harness import MODEL, PracticeHarness

pytestmark = pytest.mark.usefixtures("watched")
DAY = date(2013, 3, 7)
WINDOW = [date(2013, 3, day) for day in range(1, 8)]


def performed(value: float, labelled: int = 5000) -> PerformanceResult:
    return PerformanceResult(
        model=MODEL,
        day=DAY,
        window=WINDOW,
        days=[],
        window_metrics={"roc_auc": value},
        window_predictions=6000,
        window_labelled=labelled,
        version="4",
        reference={"roc_auc": 0.72},
        comparison=DayComparison(
            metric="roc_auc",
            certificate_days=40,
            window_days=7,
            difference=value - 0.72,
            half_width=0.03,
            limit_half_width=0.05,
            autocorrelation=0.1,
            watched_days=20,
            cusum=0.0,
            cusum_limit=10.5,
        ),
    )


def check(harness: PracticeHarness, result: PerformanceResult) -> dict[str, Any]:
    harness.answers["measure_performance"] = result
    context = harness.context("monitor", "check_performance", partition_key=f"{DAY}")
    return PerformanceCheck(task_id="check_performance", model=MODEL).execute(context)


def test_a_drop_turns_the_task_red_after_it_is_on_record(harness: PracticeHarness) -> None:
    with pytest.raises(
        Refused, match=r"roc_auc is worse than the certificate's by 0\.1700, at the least 0\.1200 > 0\.08"
    ):
        check(harness, performed(0.55))
    [(version, details)] = harness.lines("monitoring_verdict")
    assert (version, details["check"], details["outcome"]) == ("4", "performance_check", "fail")


def test_too_few_labels_yet_are_skipped_with_the_field_that_sets_the_limit(harness: PracticeHarness) -> None:
    with pytest.raises(AirflowSkipException, match=r"12 labels.*monitoring\.performance\.minimum_labels: 1000"):
        check(harness, performed(0.55, labelled=12))
    assert harness.lines("monitoring_verdict")[0][1]["outcome"] == "unknown"


def test_the_anchor_of_the_live_version_is_asked_for_by_the_releases_on_the_ledger(harness: PracticeHarness) -> None:
    harness.registry.add("5")
    harness.ledger.append("release", MODEL, "5", {"previous": "4"}, actor="test")
    harness.endpoint.serve(LiveState(model=MODEL, version="5"))
    check(harness, performed(0.72).model_copy(update={"version": "5"}))
    assert harness.asked[0].anchors == ["4"]  # type: ignore[attr-defined]
