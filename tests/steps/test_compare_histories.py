"""A model of the newest rows alone is set beside one of all rows on days that neither has seen."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.messages.evaluation import HistoryComparison, HistoryRequest
from pipelines.rules.training_snapshot import judge_recent_history
from pipelines.spec.catalog import Catalog
from pipelines.steps import compare_histories
from pipelines.testing.ports import FakePorts
from pipelines.verdict import Outcome
from tests.steps.evaluation.test_contest import declared, over_days
from tests.steps.small_training import START, Dataset, keep_snapshot, view

DAYS = 160


def changed_from(day: int, days: int = DAYS) -> pl.DataFrame:
    """The small snapshot over so many days, whose target follows its features the other way round from ``day`` on."""
    frame = over_days(days)
    later = pl.col("prediction_time") >= START + timedelta(days=day)
    return frame.with_columns(pl.when(later).then(1 - pl.col("target")).otherwise(pl.col("target")).alias("target"))


def compare(frame: pl.DataFrame, folder: Path, recent_days: int = 56, **training: Any) -> HistoryComparison:
    model = declared(**training)
    catalog = Catalog({"flights": Dataset()}, {"small": view()}, {model.model: model}, {})  # type: ignore[dict-item]
    ports = FakePorts.make(folder, catalog=catalog)
    digest = keep_snapshot(ports.store, frame)
    asked = HistoryRequest(model="small_delay", declared=digest, recent="r" * 64, recent_days=recent_days)
    return compare_histories.run(asked, ports)


def test_after_a_change_the_newest_rows_alone_are_better_and_the_numbers_say_by_how_much(tmp_path: Path) -> None:
    comparison = compare(changed_from(115), tmp_path)
    assert comparison.gain is not None
    assert (comparison.gain.units, comparison.gain.method, comparison.gain.unit) == (20, "forward_chaining", "day")
    assert comparison.gain.low is not None
    assert comparison.gain.low > 0
    verdict = judge_recent_history(comparison)
    assert verdict.passed
    assert "with the rows of 56 days alone" in verdict.findings[0]


def test_where_nothing_changed_neither_is_shown_to_be_better(tmp_path: Path) -> None:
    gain = compare(over_days(DAYS), tmp_path).gain
    assert gain is not None
    assert gain.low is not None
    assert gain.high is not None
    assert gain.low < 0 < gain.high


def test_both_are_trained_as_deployed(tmp_path: Path) -> None:
    refitted, judged = (compare(changed_from(115), tmp_path / f"{refit}", refit=refit) for refit in (True, False))
    assert refitted.gain is not None
    assert judged.gain is not None
    assert refitted.gain.candidate > judged.gain.candidate


@pytest.mark.parametrize(
    ("days", "training", "note"),
    [
        (30, {}, "the snapshot has rows of 31 days; forward chaining needs 40"),
        (DAYS, {"minimum_rows": 450}, "rows were known, training.minimum_rows is 450"),
        (DAYS, {"out_of_core": {"batch_rows": 100}, "estimator": {"rounds": 4}}, "training.out_of_core"),
    ],
    ids=["too few days", "too few rows", "out of core"],
)
def test_what_cannot_be_compared_is_unknown_and_says_why(
    tmp_path: Path, days: int, training: dict[str, Any], note: str
) -> None:
    comparison = compare(over_days(days), tmp_path, **training)
    verdict = judge_recent_history(comparison)
    assert verdict.outcome is Outcome.UNKNOWN
    assert note in verdict.reasons[0]
