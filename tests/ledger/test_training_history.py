"""The rows of trainings, and what the age of a model costs, are read from the ledger."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from pipelines.ledger.training_history import last_day, read_training_history
from pipelines.messages.retraining import AgeGain, TrainedRows, TrainingHistory
from pipelines.testing.ports import MemoryLedger

NOW = datetime(2026, 11, 2, tzinfo=UTC)


def read(**of_candidate: Any) -> TrainingHistory:
    """Two versions four weeks apart, of which the second was compared with the first."""
    ledger = MemoryLedger()
    for version, as_of, rows in (("1", "2013-03-01", 900), ("2", "2013-03-29", 1500)):
        snapshot = {"snapshot": f"s{version}", "as_of": f"{as_of}T05:00:00+00:00", "facts": {"rows": rows}}
        ledger.append("data_verdict", "m", None, snapshot, actor="t")
        trained = {"outcome": "pass", "snapshot": f"s{version}", "declared": {"seed": 1}}
        ledger.append("training", "m", version, trained | (of_candidate if version == "2" else {}), actor="t")
    facts = {"champion": "1", "gain": 0.01, "standard_error": 0.004}
    for kind in ("gate", "note"):
        ledger.append(kind, "m", "2", {"gate": "champion_comparison_gate", "facts": facts}, actor="t")
    for rows in (700, 800):
        built = {"check": "point_in_time_features", "facts": {"day": "2013-03-30", "rows": rows}}
        ledger.append("data_verdict", "view", None, built, actor="t")
    zone = "America/New_York"
    return read_training_history(ledger.entries("m"), ledger.entries("view"), zone, NOW)


def test_the_day_of_a_training_is_the_local_one_that_ended_when_its_rows_did() -> None:
    assert last_day(datetime(2013, 3, 1, 5, tzinfo=UTC), "America/New_York") == date(2013, 2, 28)
    assert last_day(datetime(2013, 3, 1, 7, tzinfo=UTC), "America/New_York") == date(2013, 3, 1)


def test_trainings_built_days_and_gains_by_age_are_read() -> None:
    known = read()
    assert known.trained == [
        TrainedRows(day=date(2013, 2, 28), rows=900),
        TrainedRows(day=date(2013, 3, 29), rows=1500),
    ]
    assert known.rows_by_day == {date(2013, 3, 30): 800}
    assert known.newest_day == date(2013, 3, 30)
    assert known.gains == [AgeGain(days=29, gain=0.01, standard_error=0.004)]


@pytest.mark.parametrize(
    "change", [{"declared": {"seed": 2}}, {"history": {"chosen": "recent"}}, {"snapshot": "s1"}, {"snapshot": "gone"}]
)
def test_a_gain_that_is_not_by_age_alone_is_left_out(change: dict[str, Any]) -> None:
    assert read(**change).gains == []


def test_a_training_that_did_not_pass_is_none() -> None:
    assert len(read(outcome="fail").trained) == 1
