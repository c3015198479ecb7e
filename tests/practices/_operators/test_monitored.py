"""Every check of the live version takes its day, skips what cannot be judged and records its verdict alike."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Refused
from pipelines.messages.monitoring import DriftResult, MonitorRequest, PerformanceResult
from pipelines.messages.release import LiveState
from practices._operators.monitored import MonitoringCheck
from practices.drift_check import DriftCheck
from practices.performance_check import PerformanceCheck
from tests.practices.practice_harness import MODEL, PracticeHarness
from tests.practices.test_drift_check import broken, drifted, thin
from tests.practices.test_performance_check import performed

DAY = date(2013, 3, 7)
Result = DriftResult | PerformanceResult
CHECKS: list[tuple[type[MonitoringCheck], Result, Result]] = [
    (PerformanceCheck, performed(0.71), performed(0.55)),
    (DriftCheck, drifted(0.05), broken("temp")),
]
"""Each check, what is measured on a quiet day, and what on a day with a detection."""


@pytest.fixture(params=CHECKS, ids=["performance", "drift"])
def check(request: pytest.FixtureRequest, harness: PracticeHarness, watched: None) -> type[MonitoringCheck]:
    practice, quiet, detection = request.param
    harness.answers = {practice.step: quiet, "detection": detection}
    return practice  # type: ignore[no-any-return]


def run(check: type[MonitoringCheck], harness: PracticeHarness, **fields: Any) -> Any:
    """Execute the check; the context of its try."""
    context = harness.context("monitor", "check", **(fields or {"partition_key": f"{DAY}"}))
    context["returned"] = check(task_id="check", model=MODEL).execute(context)
    return context


def test_the_day_is_the_partition_of_the_run(harness: PracticeHarness, check: type[MonitoringCheck]) -> None:
    run(check, harness)
    assert harness.asked == [MonitorRequest(model=MODEL, day=DAY, version="4")]


def test_the_day_of_the_form_is_enough(harness: PracticeHarness, check: type[MonitoringCheck]) -> None:
    run(check, harness, partition_key=None, day=f"{DAY}")
    assert harness.asked == [MonitorRequest(model=MODEL, day=DAY, version="4")]


def test_a_run_without_a_day_is_refused(harness: PracticeHarness, check: type[MonitoringCheck]) -> None:
    with pytest.raises(Refused, match="names no day"):
        run(check, harness, partition_key=None)


def test_a_quiet_day_is_returned_and_on_record(harness: PracticeHarness, check: type[MonitoringCheck]) -> None:
    context = run(check, harness)
    [(version, details)] = harness.lines("monitoring_verdict")
    assert (context["returned"]["version"], context["pushed"]["reasons"]) == ("4", [])
    assert (version, details["day"], details["outcome"]) == ("4", f"{DAY}", "pass")
    assert details["check"] == check.__module__.removeprefix("practices.")


def test_a_detection_turns_the_task_red_after_it_is_on_record(
    harness: PracticeHarness, check: type[MonitoringCheck]
) -> None:
    harness.answers[check.step] = harness.answers["detection"]
    with pytest.raises(Refused, match=f"the {check.subject} of {MODEL} on {DAY} is refused"):
        run(check, harness)
    assert [details["outcome"] for _, details in harness.lines("monitoring_verdict")] == ["fail"]


def test_with_nothing_live_there_is_nothing_to_watch(harness: PracticeHarness, check: type[MonitoringCheck]) -> None:
    harness.endpoint.serve(LiveState(model=MODEL))
    disagreement = r"the ledger's live version is 4, but the target serves nothing: airworthy reconcile"
    with pytest.raises(AirflowSkipException, match=rf"no version of flight_delay is live.*{disagreement}"):
        run(check, harness)
    assert harness.asked == []


@pytest.mark.parametrize("champion", [None, "3"])
def test_what_the_target_serves_is_measured_whatever_the_registry_says_and_the_disagreement_is_named(
    harness: PracticeHarness, check: type[MonitoringCheck], champion: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    harness.registry.add("3")
    harness.registry.name(**({"champion": champion} if champion else {}))
    run(check, harness)
    assert harness.asked == [MonitorRequest(model=MODEL, day=DAY, version="4")]
    [disagreement] = harness.lines("monitoring_verdict")[0][1]["disagreements"]
    assert disagreement.startswith(f"alias champion is {champion or 'missing'}, but the target serves version 4: ")
    assert disagreement in capsys.readouterr().out


def test_a_live_version_that_was_deleted_from_the_registry_is_measured_and_named(
    harness: PracticeHarness, check: type[MonitoringCheck]
) -> None:
    harness.registry.add("3")
    del harness.registry._versions[MODEL]["4"]
    harness.registry.name()
    run(check, harness)
    assert harness.asked == [MonitorRequest(model=MODEL, day=DAY, version="4")]
    named = harness.lines("monitoring_verdict")[0][1]["disagreements"]
    assert named[0].startswith("version 4 in the registry is missing, but the target serves version 4: ")


def test_a_verdict_names_the_live_version_and_the_days_of_its_window(
    harness: PracticeHarness, check: type[MonitoringCheck]
) -> None:
    run(check, harness)
    [(_, details)] = harness.lines("monitoring_verdict")
    assert (details["live"], details["window"], details["disagreements"]) == ("4", ["2013-03-01", "2013-03-07"], [])


def test_where_nothing_was_ever_released_the_registry_is_not_even_asked(
    harness: PracticeHarness, check: type[MonitoringCheck]
) -> None:
    harness.ledger.lines.clear()
    harness.endpoint.serve(LiveState(model=MODEL))
    harness.registry.down = True
    with pytest.raises(AirflowSkipException, match="no version of flight_delay is live"):
        run(check, harness)


def test_a_model_that_nobody_asked_is_skipped_and_the_reason_given(
    harness: PracticeHarness, check: type[MonitoringCheck]
) -> None:
    harness.store.files.clear()
    harness.store.put(f"predictions/{MODEL}/date=2013-01-06/a.parquet", b"")
    with pytest.raises(AirflowSkipException, match="predicted nothing between 2013-"):
        run(check, harness)


def test_a_gateway_that_does_not_answer_does_not_stop_the_watch(
    harness: PracticeHarness, check: type[MonitoringCheck]
) -> None:
    harness.endpoint.down = True
    assert run(check, harness)["returned"]["version"] == "4"
    assert harness.asked == [MonitorRequest(model=MODEL, day=DAY, version="4")]


def test_a_registry_that_does_not_answer_does_not_stop_the_watch(
    harness: PracticeHarness, check: type[MonitoringCheck]
) -> None:
    harness.registry.down = True
    assert run(check, harness)["returned"]["version"] == "4"


UNMEASURED: dict[str, tuple[Result, str]] = {
    "measure_performance": (performed(0.55, labelled=12), "monitoring.performance.minimum_labels"),
    "measure_drift": (thin(12), "monitoring.drift.minimum_rows"),
}
"""What a check measures on a day with too little data, and the field that sets the limit."""


def test_too_little_data_yet_is_skipped_naming_the_field_and_kept_as_evidence(
    harness: PracticeHarness, check: type[MonitoringCheck]
) -> None:
    harness.answers[check.step], field = UNMEASURED[check.step]
    context = harness.context("monitor", "check", partition_key=f"{DAY}")
    with pytest.raises(AirflowSkipException, match=field):
        check(task_id="check", model=MODEL).execute(context)
    assert any(field in reason for reason in context["pushed"]["reasons"])
    assert context["pushed"]["facts"]["version"] == "4"
    assert [details["outcome"] for _, details in harness.lines("monitoring_verdict")] == ["unknown"]


def test_what_stays_unmeasured_for_longer_than_declared_is_red(
    harness: PracticeHarness, check: type[MonitoringCheck]
) -> None:
    harness.answers[check.step], _ = UNMEASURED[check.step]
    limit = harness.catalog.model(MODEL).monitoring.max_unmeasured_days
    for number in range(limit):
        on = DAY + timedelta(days=number)
        harness.store.put(f"predictions/{MODEL}/date={on}/a.parquet", b"")
        with pytest.raises(AirflowSkipException):
            run(check, harness, partition_key=f"{on}")
    with pytest.raises(Refused, match=f"not measured since {DAY}, for {limit + 1} days > {limit}"):
        run(check, harness, partition_key=f"{DAY + timedelta(days=limit)}")
