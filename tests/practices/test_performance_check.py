from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Refused
from pipelines.messages.monitoring import MonitorRequest, PerformanceResult
from practices.performance_check import PerformanceCheck
from tests.practices.airfield import MODEL, Airfield

DAY = date(2013, 3, 7)


def performed(value: float, labelled: int = 5000) -> PerformanceResult:
    return PerformanceResult(
        model=MODEL,
        day=DAY,
        days=[],
        window_metrics={"roc_auc": value},
        window_predictions=6000,
        window_labelled=labelled,
        version="4",
        reference={"roc_auc": 0.72},
    )


def check(field: Airfield, **context: Any) -> dict[str, Any]:
    made = field.context("monitor", "check_performance", **(context or {"partition_key": "2013-03-07"}))
    return PerformanceCheck(task_id="check_performance", model=MODEL).execute(made)


@pytest.fixture(autouse=True)
def in_the_air(field: Airfield) -> None:
    field.registry.add("4")
    field.registry.name(champion="4")
    field.ledger.append("release", MODEL, "4", {}, actor="test")
    field.store.put(f"predictions/{MODEL}/date=2013-03-06/a.parquet", b"")
    field.answers["measure_performance"] = performed(0.71)


def test_the_day_is_the_partition_of_the_run(field: Airfield) -> None:
    check(field)
    assert field.asked == [MonitorRequest(model=MODEL, day=DAY)]


def test_the_day_of_the_form_goes_before_the_partition(field: Airfield) -> None:
    check(field, partition_key="2013-03-09", day="2013-03-07")
    assert field.asked == [MonitorRequest(model=MODEL, day=DAY)]


def test_a_run_without_a_day_is_refused(field: Airfield) -> None:
    with pytest.raises(Refused, match="names no day"):
        check(field, partition_key=None)


def test_a_drop_turns_the_task_red_after_it_is_on_record(field: Airfield) -> None:
    field.answers["measure_performance"] = performed(0.55)
    with pytest.raises(Refused, match=r"roc_auc 0\.55"):
        check(field)
    [(version, details)] = field.lines("monitoring_verdict")
    kept = (version, details["check"], details["day"], details["outcome"])
    assert kept == ("4", "performance_check", "2013-03-07", "fail")


def test_too_few_labels_are_no_evidence_and_no_pass(field: Airfield) -> None:
    field.answers["measure_performance"] = performed(0.55, labelled=12)
    with pytest.raises(Refused, match="12 labels"):
        check(field)
    assert field.lines("monitoring_verdict")[0][1]["outcome"] == "unknown"


def test_with_nothing_live_there_is_nothing_to_watch(field: Airfield) -> None:
    field.registry.name()
    with pytest.raises(AirflowSkipException, match="no version of flight_delay is live"):
        check(field)
    assert field.asked == []


def test_where_nothing_was_ever_released_the_registry_is_not_even_asked(field: Airfield) -> None:
    field.ledger.lines.clear()
    field.registry.down = True
    with pytest.raises(AirflowSkipException, match="no version of flight_delay is live"):
        check(field)


def test_a_model_that_nobody_asked_is_skipped_and_the_reason_given(field: Airfield) -> None:
    field.store.files.clear()
    field.store.put(f"predictions/{MODEL}/date=2013-01-06/a.parquet", b"")
    with pytest.raises(AirflowSkipException, match="answered nothing"):
        check(field)


def test_a_gateway_that_does_not_answer_does_not_stop_the_watch(field: Airfield) -> None:
    field.endpoint.down = True
    assert check(field)["version"] == "4"
