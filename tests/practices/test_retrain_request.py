from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowSkipException, DagRunTriggerException

from pipelines.ledger.line_findings import findings
from pipelines.messages.release import LiveState
from pipelines.spec.retraining import Retraining
from practices._operators.defaults import asset
from practices.retrain_request import RetrainRequest
from tests.practices.practice_harness import MODEL, PracticeHarness, emitted

FIRST = date(2013, 3, 1)


def on(number: int) -> date:
    return FIRST + timedelta(days=number)


def saw(harness: PracticeHarness, number: int, outcome: str, version: str = "4", *, run: str = "", **more: Any) -> None:
    """A day on which the performance check had this outcome; ``run``: the run whose check that was."""
    facts = {"performance": outcome}
    details = {"check": "performance_check", "day": on(number).isoformat(), "outcome": outcome, "facts": facts, **more}
    key = f"{MODEL}__monitor/{run}/check_performance/-1/0/{number}" if run else None
    harness.ledger.append("monitoring_verdict", MODEL, version, details, actor="test", key=key)


def request(harness: PracticeHarness, number: int) -> tuple[Any, DagRunTriggerException]:
    """Ask after one day; the training run that is started."""
    context = harness.context("monitor", "request_retraining", partition_key=on(number).isoformat())
    with pytest.raises(DagRunTriggerException) as started:
        RetrainRequest(task_id="request_retraining", model=MODEL).execute(context)
    return context, started.value


def stands_down(harness: PracticeHarness, number: int) -> str:
    context = harness.context("monitor", "request_retraining", partition_key=on(number).isoformat())
    with pytest.raises(AirflowSkipException) as skipped:
        RetrainRequest(task_id="request_retraining", model=MODEL).execute(context)
    return str(skipped.value)


def test_enough_detections_in_a_row_start_one_training_as_of_that_day(harness: PracticeHarness) -> None:
    for number in range(3):
        saw(harness, number, "fail")
    context, started = request(harness, 2)
    assert (started.trigger_dag_id, started.dag_run_id) == (f"{MODEL}__train", "retrain_request__2013-03-03")
    assert started.conf is not None
    assert started.conf["as_of"] == "2013-03-03"
    assert "performance detected on 3 checked days in a row" in started.conf["hypothesis"]
    assert started.conf["recent_days"] == 56
    assert started.skip_when_already_exists
    assert emitted(context, "retrain_requested")["day"] == "2013-03-03"


def test_the_event_bears_the_day_as_its_partition_so_that_it_starts_nothing_by_itself(harness: PracticeHarness) -> None:
    for number in range(3):
        saw(harness, number, "fail")
    context, _ = request(harness, 2)
    requested: Asset = asset(MODEL, "retrain_requested")
    assert context["outlet_events"][requested].partition_keys == {"2013-03-03"}


def test_a_repeated_task_asks_for_the_same_run_and_leaves_one_line(harness: PracticeHarness) -> None:
    for number in range(3):
        saw(harness, number, "fail")
    runs = {request(harness, 2)[1].dag_run_id for _ in range(2)}
    assert runs == {"retrain_request__2013-03-03"}
    assert len(harness.lines("retrain_request")) == 1


def test_the_days_after_a_request_belong_to_the_same_incident(harness: PracticeHarness) -> None:
    for number in range(5):
        saw(harness, number, "fail")
    request(harness, 2)
    assert "requested already on ['2013-03-03']" in stands_down(harness, 3)
    assert len(harness.lines("retrain_request")) == 1


def test_a_day_monitored_late_asks_for_nothing_more(harness: PracticeHarness) -> None:
    for number in (0, 1, 2, 4, 5, 6):
        saw(harness, number, "fail")
    request(harness, 6)
    saw(harness, 3, "fail")
    stands_down(harness, 3)


def test_a_day_without_a_detection_asks_for_nothing_and_fires_nothing(harness: PracticeHarness) -> None:
    saw(harness, 0, "fail")
    saw(harness, 1, "pass")
    assert "consecutive detections" in stands_down(harness, 1)
    assert harness.lines("retrain_request") == []


def test_what_an_earlier_champion_suffered_does_not_count(harness: PracticeHarness) -> None:
    for number in range(2):
        saw(harness, number, "fail", version="3")
    saw(harness, 2, "pass")
    stands_down(harness, 2)


@pytest.mark.parametrize("champion", ["5", None])
def test_a_release_or_a_lost_alias_between_a_check_and_the_request_changes_nothing(
    harness: PracticeHarness, champion: str | None
) -> None:
    for number in range(2):
        saw(harness, number, "fail")
    saw(harness, 2, "fail", run="manual__1", live="4")
    harness.registry.add("5")
    harness.registry.name(**({"champion": champion} if champion else {}))
    harness.endpoint.serve(LiveState(model=MODEL, version="5"))
    _, started = request(harness, 2)
    assert started.dag_run_id == "retrain_request__2013-03-03"
    [(version, details)] = harness.lines("retrain_request")
    assert (version, details["measured"]) == ("4", {"performance_check": "4"})


def test_another_run_that_measured_the_day_on_another_version_is_not_this_runs_check(harness: PracticeHarness) -> None:
    for number in range(2):
        saw(harness, number, "fail")
    saw(harness, 2, "fail", run="manual__1", live="4")
    saw(harness, 2, "pass", "5", run="manual__2", live="5")
    assert request(harness, 2)[1].dag_run_id == "retrain_request__2013-03-03"


def test_what_was_measured_of_a_version_that_was_live_no_more_is_history(harness: PracticeHarness) -> None:
    for number in range(3):
        saw(harness, number, "fail", "4", run=f"day_{number}", live="5")
    assert "no declared trigger was measured" in stands_down(harness, 2)


def test_a_day_on_which_nothing_was_measured_is_no_answer(harness: PracticeHarness) -> None:
    saw(harness, 0, "fail")
    context = harness.context("monitor", "request_retraining", partition_key="2013-03-02")
    with pytest.raises(AirflowSkipException, match="no declared trigger was measured"):
        RetrainRequest(task_id="request_retraining", model=MODEL).execute(context)
    assert context["pushed"]["reasons"]


def test_drift_alone_starts_no_training(harness: PracticeHarness) -> None:
    facts = {"data_drift": "fail", "prediction_drift": "fail", "faults": ["temp"]}
    for number in range(30):
        details = {"check": "drift_check", "day": on(number).isoformat(), "outcome": "fail", "facts": facts}
        harness.ledger.append("monitoring_verdict", MODEL, "4", details, actor="test")
        saw(harness, number, "pass")
        stands_down(harness, number)


def test_after_a_loss_another_training_follows_two_weeks_later(harness: PracticeHarness) -> None:
    saw(harness, 0, "fail")
    request(harness, 0)
    for number in range(1, 15):
        saw(harness, number, "pass", "5")
    stands_down(harness, 13)
    _, started = request(harness, 14)
    assert started.dag_run_id == "retrain_request__2013-03-15"


def test_a_loss_that_trainings_did_not_mend_is_one_line_a_day_for_a_person(harness: PracticeHarness) -> None:
    for number in (0, 14, 28):
        facts = {"alarm": number == 0, "recent_days": 56}
        details = {"day": on(number).isoformat(), "reasons": [], "facts": facts}
        harness.ledger.append("retrain_request", MODEL, "4", details, actor="test")
    saw(harness, 29, "fail")
    for _ in range(2):
        stands_down(harness, 29)
    [(version, details)] = harness.lines("retraining_unmended")
    assert (version, details["day"]) == ("4", "2013-03-30")
    assert details["reasons"][0] == "3 trainings or more did not mend it"
    [finding] = findings(harness.ledger.entries(kind="retraining_unmended")[0])
    assert (finding.kind, finding.severity, finding.firing) == ("retraining_unmended", "critical", True)


def test_rows_of_the_view_and_of_the_newest_training_are_read_from_the_ledger(harness: PracticeHarness) -> None:
    triggers = [{"when": "new_rows", "more": 0.5}]
    retraining = Retraining.model_validate({"triggers": triggers})
    spec = harness.catalog.models[MODEL]
    harness.declare(monitoring=spec.monitoring.model_copy(update={"retraining": retraining}))
    trained = {"snapshot": "s" * 64, "as_of": "2013-03-01T05:00:00+00:00", "facts": {"rows": 1000}}
    harness.ledger.append("data_verdict", MODEL, None, trained, actor="test")
    harness.ledger.append("training", MODEL, "4", {"outcome": "pass", "snapshot": "s" * 64}, actor="test")
    view = harness.catalog.view_of(MODEL).view
    for number, rows in ((-1, 900), (0, 300), (1, 200)):
        facts = {"day": on(number).isoformat(), "rows": rows}
        harness.ledger.append(
            "data_verdict", view, None, {"check": "point_in_time_features", "facts": facts}, actor="test"
        )
    assert "consecutive detections" in stands_down(harness, 0)
    _, started = request(harness, 1)
    assert started.conf is not None
    assert "500 rows since 2013-02-28, 50% of the 1000" in started.conf["hypothesis"]
    assert "recent_days" not in started.conf
