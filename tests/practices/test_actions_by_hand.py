"""What a person does in Airflow (mark, clear, delete, trigger), or a clock, hands nothing on that was not judged.

A task that was marked as success did not run: what follows must find out by itself.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import BaseOperator

from pipelines import store_paths
from pipelines.errors import Refused, Unavailable
from pipelines.messages.ingestion import IngestRequest
from pipelines.messages.validation import PublishResult, ValidateRequest
from pipelines.steps import audit_partition, ingest_partition
from pipelines.testing.ports import FixedClock
from practices._operators.defaults import asset
from practices.contract_check import ContractCheck
from practices.point_in_time_features import PointInTimeFeatures
from practices.quarantine import Quarantine
from tests.house.test_every_practice import STEMS, operator_of
from tests.practices.landing import DAY, dataset, deliver
from tests.practices.practice_harness import MODEL, NOW, PracticeHarness
from tests.practices.test_contract_check import ingested
from tests.practices.test_point_in_time_features import VIEW, answer, partition
from tests.practices.test_quarantine import audit

RESULTS_OF_EARLIER_TASKS = {"ticket", "evaluation", "snapshot"}
READERS = [stem for stem in STEMS if RESULTS_OF_EARLIER_TASKS & set(operator_of(stem).template_fields)]


@pytest.fixture
def data(harness: PracticeHarness) -> PracticeHarness:
    """A dataset whose steps answer that all is well."""
    harness.catalog.datasets["flights"] = dataset()
    harness.answers["ingest_partition"] = ingested
    harness.answers["audit_partition"] = audit(quarantined=0)
    harness.answers["publish_partition"] = PublishResult(dataset="flights", partition=f"{DAY}")
    answer(harness, partition(harness))
    return harness


def run(harness: PracticeHarness, operator: BaseOperator, **fields: Any) -> set[str]:
    """Execute a task of a run of the day; the partitions that it hands on."""
    context = harness.context("validate", operator.task_id, **{"partition_key": f"{DAY}", **fields})
    operator.execute(context)
    outlets = [asset("flights", "ingested"), asset("flights", "validated"), asset(VIEW, "features")]
    return {key for outlet in outlets for key in context["outlet_events"][outlet].partition_keys}


def ingest(harness: PracticeHarness, **fields: Any) -> set[str]:
    return run(harness, ContractCheck(task_id="ingest_partition", dataset="flights"), **fields)


def publish(harness: PracticeHarness, **fields: Any) -> set[str]:
    return run(harness, Quarantine(task_id="publish_partition", dataset="flights"), **fields)


def build(harness: PracticeHarness, **fields: Any) -> set[str]:
    return run(harness, PointInTimeFeatures(task_id="build_features", view=VIEW), **fields)


def outcomes(harness: PracticeHarness) -> list[str]:
    return [details["outcome"] for _, details in harness.lines("data_verdict")]


def test_there_are_tasks_that_read_what_an_earlier_one_returned() -> None:
    assert len(READERS) >= 15


@pytest.mark.parametrize("stem", READERS)
def test_a_task_whose_predecessor_was_marked_as_success_says_that_it_left_nothing(
    harness: PracticeHarness, stem: str
) -> None:
    kind = operator_of(stem)
    arguments = dict.fromkeys(RESULTS_OF_EARLIER_TASKS & set(kind.template_fields))
    arguments |= {"share": 1000} if "share" in kind.template_fields else {}
    arguments |= {"answers": []} if "answers" in kind.template_fields else {}
    with pytest.raises(Refused, match="marking it as success does not do its work"):
        kind(task_id="task", model=MODEL, **arguments).execute(harness.context("deploy", "task"))
    assert harness.ledger.lines == []


@pytest.mark.parametrize("landed", [[], ["flights", "planes"], ["flights", "weather"]])
def test_a_wait_that_was_marked_as_success_ingests_no_half_delivery_and_leaves_no_receipt(
    data: PracticeHarness, landed: list[str]
) -> None:
    if landed:
        deliver(data.store, DAY, sources=dict.fromkeys(landed, 900))
    data.answers["ingest_partition"] = lambda request: ingest_partition.run(request, data)  # type: ignore[arg-type]
    with pytest.raises(Unavailable, match="has not been delivered by") as missing:
        ingest(data)
    assert all(source in str(missing.value) for source in {"flights", "weather", "planes"} - set(landed))
    assert outcomes(data) == []
    assert not data.store.exists(store_paths.receipt("flights", DAY))


def test_a_refused_ingestion_that_was_marked_as_success_has_nothing_to_audit(data: PracticeHarness) -> None:
    data.answers["audit_partition"] = lambda request: audit_partition.run(request, data)  # type: ignore[arg-type]
    with pytest.raises(Refused, match="ingest it first"):
        publish(data)
    assert outcomes(data) == []
    assert data.asked == [ValidateRequest(dataset="flights", partition=f"{DAY}")]


def test_a_cleared_day_is_judged_and_handed_on_again_and_each_judgement_is_on_record(data: PracticeHarness) -> None:
    deliver(data.store, DAY)
    for clears in range(3):
        assert ingest(data, clear_number=clears) == publish(data, clear_number=clears) == {f"{DAY}"}
        assert build(data, clear_number=clears) == {f"{DAY}"}
    assert outcomes(data) == ["pass"] * 9


def test_a_task_that_is_tried_again_after_a_restart_of_the_scheduler_is_one_judgement(data: PracticeHarness) -> None:
    began = datetime(2026, 11, 2, 6, 0, tzinfo=UTC)
    for _ in range(3):
        publish(data, start_date=began)
    assert outcomes(data) == ["pass"]


def test_a_run_with_the_id_of_a_deleted_one_is_judged_anew_so_that_the_newest_line_is_true(
    data: PracticeHarness,
) -> None:
    good, bad = audit(quarantined=0), audit(quarantined=900)
    for number, found in enumerate([bad, good, bad]):
        data.answers["audit_partition"] = found
        began = datetime(2026, 11, 2, 6, number, tzinfo=UTC)
        if found is bad:
            with pytest.raises(Refused):
                publish(data, start_date=began)
        else:
            publish(data, start_date=began)
    assert outcomes(data) == ["fail", "pass", "fail"]
    with pytest.raises(Refused, match="was not published"):
        build(data)


@pytest.mark.parametrize("back", [timedelta(minutes=1), timedelta(days=400)])
def test_a_clock_set_back_between_two_tasks_changes_neither_the_order_nor_the_result(
    data: PracticeHarness, back: timedelta
) -> None:
    clock = FixedClock(NOW)
    data.clock = clock  # type: ignore[assignment]
    data.ledger._clock = clock
    deliver(data.store, DAY)
    assert ingest(data) == {f"{DAY}"}
    clock.advance(-back)
    assert publish(data) == {f"{DAY}"}
    clock.advance(-back)
    assert build(data) == {f"{DAY}"}
    checks = [details["check"] for _, details in data.lines("data_verdict")]
    assert checks == ["contract_check", "quarantine", "point_in_time_features"]
    assert data.ledger.faults() == []


def test_two_backfills_of_a_day_leave_one_receipt_and_the_same_events(data: PracticeHarness) -> None:
    deliver(data.store, DAY)
    first = ingest(data, run="backfill__1"), data.store.get(store_paths.receipt("flights", DAY))
    second = ingest(data, run="backfill__2"), data.store.get(store_paths.receipt("flights", DAY))
    assert first == second
    assert data.asked == [IngestRequest(dataset="flights", partition=f"{DAY}")] * 2


@pytest.mark.parametrize("fields", [{"partition_key": "20130105"}, {"day": "2013-01-06"}, {"day": "2013-01-5"}])
def test_a_run_that_names_its_day_in_two_ways_or_a_strange_one_touches_nothing(
    data: PracticeHarness, fields: dict[str, Any]
) -> None:
    for task in (ingest, publish, build):
        with pytest.raises(Refused):
            task(data, **fields)
    assert (data.asked, data.ledger.lines) == ([], [])
    assert not data.store.exists(store_paths.receipt("flights", date(2013, 1, 6)))
