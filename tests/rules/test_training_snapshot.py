"""A training table carries a training, or every reason why not is said."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.messages.evaluation import HistoryComparison, Interval
from pipelines.messages.training import SnapshotResult, SplitPart
from pipelines.rules.training_snapshot import judge_recent_history, judge_snapshot
from pipelines.verdict import Outcome
from tests.declared import shipped_model

MODELS = Path(__file__).parents[2] / "include" / "models"
CLASSIFIER = shipped_model()
REGRESSOR = shipped_model("arrival_delay_minutes")
START = datetime(2013, 3, 1, 5, tzinfo=UTC)
AS_OF = START + timedelta(days=30)


def part(day: int, rows: int = 2000, **changed: Any) -> SplitPart:
    first = START + timedelta(days=day)
    return SplitPart(rows=rows, first=first, last=first + timedelta(hours=20), positives=300).model_copy(update=changed)


GOOD = SnapshotResult(
    model="flight_delay",
    as_of=AS_OF,
    digest="d" * 64,
    uri="memory://data.parquet",
    rows=6000,
    parts={"train": part(0), "validation": part(1), "test": part(2)},
    features=["carrier"],
    table_versions={"features/flight_delay": 3},
    latest_label_time=AS_OF,
)


def with_part(name: str, changed: SplitPart | None) -> SnapshotResult:
    parts = {other: value for other, value in GOOD.parts.items() if other != name}
    return GOOD.model_copy(update={"parts": parts | ({name: changed} if changed else {})})


def test_enough_known_rows_in_every_part_pass() -> None:
    verdict = judge_snapshot(GOOD, CLASSIFIER)
    assert verdict.outcome is Outcome.PASS
    assert verdict.facts["table_versions"] == {"features/flight_delay": 3}


@pytest.mark.parametrize(
    ("result", "outcome", "reason"),
    [
        (GOOD.model_copy(update={"rows": 4999}), Outcome.FAIL, "rows 4999 < 5000"),
        (GOOD.model_copy(update={"latest_label_time": AS_OF + timedelta(minutes=1)}), Outcome.FAIL, "latest label"),
        (GOOD.model_copy(update={"latest_label_time": None}), Outcome.UNKNOWN, "latest_label_time was not measured"),
        (with_part("test", part(2, rows=0)), Outcome.FAIL, "test part has no rows"),
        (with_part("test", None), Outcome.UNKNOWN, "test part was not measured"),
        (with_part("train", None), Outcome.UNKNOWN, "train part was not measured"),
        (with_part("train", part(0, positives=0)), Outcome.FAIL, "train part has one class only: 0 positives"),
        (with_part("train", part(0, positives=2000)), Outcome.FAIL, "train part has one class only: 2000 positives"),
        (with_part("train", part(0, positives=None)), Outcome.UNKNOWN, "train part: positives were not measured"),
        (with_part("train", part(1)), Outcome.FAIL, "last train row 2013-03-03 01:00 >= first validation row"),
    ],
)
def test_what_is_wrong_is_said(result: SnapshotResult, outcome: Outcome, reason: str) -> None:
    verdict = judge_snapshot(result, CLASSIFIER)
    assert verdict.outcome is outcome
    assert len(verdict.reasons) == 1
    assert reason in verdict.reasons[0]


def test_every_reason_is_listed_at_once() -> None:
    empty = SplitPart(rows=0)
    parts = dict.fromkeys(("train", "validation", "test"), empty)
    result = GOOD.model_copy(update={"rows": 0, "parts": parts, "latest_label_time": None})
    assert len(judge_snapshot(result, CLASSIFIER).reasons) == 4


def test_a_regression_needs_no_classes() -> None:
    parts = {name: found.model_copy(update={"positives": None}) for name, found in GOOD.parts.items()}
    assert judge_snapshot(GOOD.model_copy(update={"parts": parts}), REGRESSOR).passed


def test_a_drawn_split_may_overlap_in_time() -> None:
    training = CLASSIFIER.training
    split = training.split.model_copy(update={"strategy": "random"})
    drawn = CLASSIFIER.model_copy(update={"training": training.model_copy(update={"split": split})})
    assert judge_snapshot(with_part("train", part(1)), drawn).passed


def test_as_many_rows_as_declared_are_enough() -> None:
    assert judge_snapshot(GOOD.model_copy(update={"rows": 5000}), CLASSIFIER).passed


@pytest.mark.parametrize(("positives", "passed"), [(0, False), (1, True), (1999, True), (2000, False)])
def test_one_row_of_each_class_is_enough(positives: int, passed: bool) -> None:
    assert judge_snapshot(with_part("train", part(0, positives=positives)), CLASSIFIER).passed is passed


@pytest.mark.parametrize(("seconds", "passed"), [(0, False), (1, True)])
def test_a_part_begins_after_the_last_row_of_the_part_before(seconds: int, passed: bool) -> None:
    last = START + timedelta(days=1, seconds=-seconds)
    assert judge_snapshot(with_part("train", part(0, last=last)), CLASSIFIER).passed is passed


@pytest.mark.parametrize(("name", "changes"), [("train", {"last": None}), ("test", {"first": None})])
def test_parts_without_times_are_in_no_order(name: str, changes: dict[str, Any]) -> None:
    assert judge_snapshot(with_part(name, part(0 if name == "train" else 2, **changes)), CLASSIFIER).passed


def test_an_empty_snapshot_needs_no_label_and_a_label_after_its_time_fails_it_all_the_same() -> None:
    nothing = GOOD.model_copy(update={"rows": 0, "latest_label_time": None})
    assert judge_snapshot(nothing, CLASSIFIER).outcome is Outcome.FAIL
    assert len(judge_snapshot(nothing, CLASSIFIER).reasons) == 1
    late = nothing.model_copy(update={"latest_label_time": AS_OF + timedelta(minutes=1)})
    assert len(judge_snapshot(late, CLASSIFIER).reasons) == 2


def compared(gain: float | None, standard_error: float | None = 0.01) -> HistoryComparison:
    interval = None
    if gain is not None:
        interval = Interval(
            metric="roc_auc",
            candidate=0.7 + gain,
            champion=0.7,
            gain=gain,
            low=None,
            high=None,
            confidence=0.95,
            rows=900,
            unit="day",
            units=20,
            standard_error=standard_error,
        )
    return HistoryComparison(model="m", recent_days=56, rows=9000, gain=interval, notes=["compared over 20 days"])


@pytest.mark.parametrize(
    ("gain", "outcome"),
    [(0.03, Outcome.PASS), (0.0001, Outcome.PASS), (0.0, Outcome.FAIL), (-0.01, Outcome.FAIL), (None, Outcome.UNKNOWN)],
)
def test_the_better_estimate_decides_and_equal_ones_leave_all_rows(gain: float | None, outcome: Outcome) -> None:
    assert judge_recent_history(compared(gain)).outcome is outcome


def test_the_finding_says_both_values_the_gain_its_error_and_on_how_many_days() -> None:
    finding, how = judge_recent_history(compared(0.03)).findings
    assert finding == (
        "roc_auc 0.7300 with the rows of 56 days alone, 0.7000 with all rows, on the 20 newest days: gain +0.0300 "
        "± 0.0100 (one standard error)"
    )
    assert how == "compared over 20 days"
    assert "±" not in judge_recent_history(compared(0.03, None)).findings[0]


def test_what_was_not_measured_says_why() -> None:
    assert judge_recent_history(compared(None)).reasons == ("compared over 20 days",)


@pytest.mark.parametrize(
    ("days", "text"),
    [
        ([3], "1 validated day has no features: 2013-01-03 (late)"),
        ([3, 4], "2 validated days have no features: 2013-01-03 (late), 2013-01-04 (late)"),
    ],
)
def test_days_without_features_are_counted_and_named(days: list[int], text: str) -> None:
    missing = {date(2013, 1, day): ["late"] for day in days}
    assert text in judge_snapshot(GOOD.model_copy(update={"missing_days": missing}), CLASSIFIER).findings
