from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Refused
from pipelines.messages.evaluation import HistoryComparison, HistoryRequest, Interval
from pipelines.messages.training import SnapshotRequest, SnapshotResult, SplitPart
from practices.training_snapshot import TrainingSnapshot
from tests.practices.practice_harness import MODEL, NOW, PracticeHarness


def snapshot(request: SnapshotRequest, rows: int = 20_000) -> SnapshotResult:
    def part(first: int, last: int) -> SplitPart:
        days = [datetime(2013, 1, on, tzinfo=UTC) for on in (first, last)]
        return SplitPart(rows=rows // 3, first=days[0], last=days[1], positives=rows // 12)

    return SnapshotResult(
        model=MODEL,
        as_of=request.as_of,
        digest="5" * 64,
        uri="snapshots/abc",
        rows=rows,
        parts={"train": part(1, 20), "validation": part(21, 24), "test": part(25, 28)},
        features=["carrier"],
        table_versions={"features/flight_delay": 3},
        latest_label_time=request.as_of,
    )


def take(harness: PracticeHarness, **context: Any) -> dict[str, Any]:
    return TrainingSnapshot(task_id="take_snapshot", model=MODEL).execute(
        harness.context("train", "take_snapshot", **context)
    )


@pytest.mark.parametrize(
    ("context", "moment"),
    [
        ({"as_of": "2013-02-28"}, datetime(2013, 3, 1, 5, tzinfo=UTC)),
        ({"as_of": "2013-07-04"}, datetime(2013, 7, 5, 4, tzinfo=UTC)),
        ({"events": [(f"{MODEL}:retrain_requested", {"day": "2013-03-09"})]}, datetime(2013, 3, 10, 5, tzinfo=UTC)),
        ({"logical_date": datetime(2013, 5, 6, 7, tzinfo=UTC)}, datetime(2013, 5, 6, 7, tzinfo=UTC)),
        ({}, NOW),
    ],
)
def test_a_day_means_its_end_in_the_datasets_own_time_zone(
    harness: PracticeHarness, context: dict[str, Any], moment: datetime
) -> None:
    harness.answers["take_snapshot"] = snapshot
    take(harness, **context)
    assert harness.asked == [SnapshotRequest(model=MODEL, as_of=moment)]


def test_a_snapshot_too_small_to_train_on_is_refused_and_on_record(harness: PracticeHarness) -> None:
    harness.answers["take_snapshot"] = lambda request: snapshot(request, rows=90)
    with pytest.raises(Refused, match="90"):
        take(harness)
    [(version, details)] = harness.lines("data_verdict")
    assert version is None
    assert details["outcome"] == "fail"


def test_an_unreadable_day_is_refused_before_anything_is_read(harness: PracticeHarness) -> None:
    with pytest.raises(Refused, match="as_of 'soon' is not a date"):
        take(harness, as_of="soon")
    assert harness.asked == []


def test_what_was_frozen_is_on_record_by_digest_and_table_versions(harness: PracticeHarness) -> None:
    harness.answers["take_snapshot"] = snapshot
    assert take(harness, as_of="2013-02-28")["digest"] == "5" * 64
    [(_, details)] = harness.lines("data_verdict")
    assert details["snapshot"] == "5" * 64
    assert details["table_versions"] == {"features/flight_delay": 3}
    assert date.fromisoformat(details["as_of"][:10]) == date(2013, 3, 1)


DECLARED, RECENT = "5" * 64, "6" * 64


def both(request: SnapshotRequest) -> SnapshotResult:
    """All rows, or those of the newest days, which are fewer."""
    if request.recent_days is None:
        return snapshot(request)
    return snapshot(request, rows=9_000).model_copy(update={"digest": RECENT})


def compared(gain: float) -> HistoryComparison:
    interval = Interval(
        metric="roc_auc",
        candidate=0.7 + gain,
        champion=0.7,
        gain=gain,
        low=None,
        high=None,
        confidence=0.95,
        rows=900,
        units=20,
        standard_error=0.01,
    )
    return HistoryComparison(model=MODEL, recent_days=56, rows=20_000, gain=interval)


@pytest.mark.parametrize(
    ("gain", "digest", "chosen"), [(0.02, RECENT, "recent"), (-0.02, DECLARED, "declared")], ids=["better", "worse"]
)
def test_after_a_loss_the_newest_rows_alone_are_taken_if_they_predict_better_and_the_ledger_says_which_and_why(
    harness: PracticeHarness, gain: float, digest: str, chosen: str
) -> None:
    harness.answers |= {"take_snapshot": both, "compare_histories": compared(gain)}
    result = take(harness, as_of="2013-02-28", recent_days=56)
    assert result["digest"] == digest
    assert harness.asked[-1] == HistoryRequest(model=MODEL, declared=DECLARED, recent=RECENT, recent_days=56)
    [(_, details)] = harness.lines("data_verdict")
    assert details["history"]["chosen"] == chosen
    assert details["history"]["snapshots"] == {"declared": DECLARED, "recent": RECENT}
    assert f"on the 20 newest days: gain {gain:+.4f} ± 0.0100" in details["history"]["reasons"][-1]
    assert details["snapshot"] == digest


@pytest.mark.parametrize(
    ("rows", "digest", "reason"),
    [(90, RECENT, "rows 90 < "), (20_000, DECLARED, "all rows are of the last 56 days")],
    ids=["too few recent rows", "no older rows"],
)
def test_where_the_newest_rows_are_no_other_choice_all_rows_are_taken_and_nothing_is_trained(
    harness: PracticeHarness, rows: int, digest: str, reason: str
) -> None:
    def answer(request: SnapshotRequest) -> SnapshotResult:
        recent = snapshot(request, rows=rows).model_copy(update={"digest": digest})
        return snapshot(request) if request.recent_days is None else recent

    harness.answers["take_snapshot"] = answer
    assert take(harness, recent_days=56)["digest"] == DECLARED
    [(_, details)] = harness.lines("data_verdict")
    assert (details["history"]["chosen"], details["history"]["snapshots"]) == ("declared", {})
    assert reason in details["history"]["reasons"][0]


def test_a_training_without_a_loss_tries_one_history(harness: PracticeHarness) -> None:
    harness.answers["take_snapshot"] = snapshot
    assert "history" not in take(harness)
    assert len(harness.asked) == 1
    assert "history" not in harness.lines("data_verdict")[0][1]


POSTED = {"events": [(f"{MODEL}:retrain_requested", {"day": "2013-03-09", "from_rest_api": True})]}


def test_an_event_of_another_system_is_a_request_on_record_and_a_second_one_is_held_back(
    harness: PracticeHarness,
) -> None:
    harness.answers["take_snapshot"] = snapshot
    take(harness, run="asset_triggered__1", **POSTED)
    take(harness, run="asset_triggered__1", **POSTED)
    [(_, details)] = harness.lines("retrain_request")
    assert (details["day"], details["trigger"]) == ("2013-03-09", "event")
    with pytest.raises(AirflowSkipException, match=r"held back: .*requested already on"):
        take(harness, run="asset_triggered__2", **POSTED)


def test_a_model_without_the_trigger_event_is_trained_by_none(harness: PracticeHarness) -> None:
    spec = harness.catalog.models[MODEL]
    retraining = spec.monitoring.retraining.model_copy(update={"triggers": ["performance"]})
    harness.declare(monitoring=spec.monitoring.model_copy(update={"retraining": retraining}))
    with pytest.raises(AirflowSkipException, match="declares no trigger event"):
        take(harness, **POSTED)
    assert harness.asked == []
