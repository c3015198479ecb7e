"""Rates, times, value and cost of a model are those of its lines and incidents; an unknown one says what it lacks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines.cli.worth_lines import duration_text, worth_lines
from pipelines.messages.incident import Incident
from pipelines.observability.model_worth import read_worth
from pipelines.ports import LedgerEntry
from pipelines.spec.worth import Worth

NOW = datetime(2013, 6, 1, tzinfo=UTC)
WORTH = Worth(right_answer=1, wrong_answer=3, training_hour=60, serving_day=2)


def line(kind: str, days_ago: float, version: str = "1", **details: Any) -> LedgerEntry:
    at = NOW - timedelta(days=days_ago)
    fields = {"number": 1, "actor": "a", "previous": "", "digest": ""}
    return LedgerEntry(at=at, kind=kind, model="m", version=version, details=details, **fields)


def incident(kind: str, began: float, hours: float | None, **fields: Any) -> Incident:
    opened = NOW - timedelta(days=began)
    over = None if hours is None else opened + timedelta(hours=hours)
    facts = {"severity": "warning", "status": "open" if over is None else "resolved", **fields}
    times = {"first_seen": opened, "opened": opened, "last_seen": opened, "resolved": over}
    return Incident(model="m", kind=kind, subject="s", what="w", **times, **facts)


def checked(day: str, right: int | None, labelled: int = 10) -> LedgerEntry:
    facts = {"labelled": labelled} if right is None else {"labelled": labelled, "right": right}
    return line("monitoring_verdict", 1, check="performance_check", day=day, window=["2013-05-01", day], facts=facts)


LIFE = [
    line("training", 200, seconds=3600),
    line("release", 199),
    line("training", 30.5, "2", seconds=120),
    line("training", 30.4, "3"),
    line("release", 30, "2"),
]


def test_rates_are_of_ninety_days_and_the_time_to_deploy_is_that_of_the_newest_release() -> None:
    worth = read_worth(LIFE, [], WORTH, NOW)
    assert (worth.days, worth.time_to_deploy_seconds) == (90, 0.5 * 86400)
    assert worth.releases_a_month == pytest.approx(1 / 3)
    assert (worth.trainings, worth.training_seconds, worth.training_cost) == (2, 120, 2)
    assert worth.serving_cost == 180, "live for all of the window"
    assert worth.missing["some_trainings"] == "1 of 2 have no duration on record"


def test_recovery_is_the_median_of_those_incidents_whose_end_was_measured() -> None:
    """A rollback's incident is closed by silence after a week, which measures nothing; history and news are none."""
    incidents = [
        incident("performance", 5, 2),
        incident("drift_fault", 9, 10),
        incident("drift_fault", 20, 4),
        incident("gateway_silent", 2, None),
        incident("rollback", 40, 168),
        incident("drift_fault", 50, 99, is_history=True),
        incident("drift", 50, 99, severity="info"),
        incident("drift_fault", 120, 99),
    ]
    worth = read_worth(LIFE, incidents, WORTH, NOW)
    assert (worth.time_to_recover_seconds, worth.recovered) == (4 * 3600, 3)
    assert worth.incidents_a_month == pytest.approx(5 / 3)


def test_answers_are_those_of_the_newest_day_whose_right_ones_were_counted() -> None:
    worth = read_worth(
        [*LIFE, checked("2013-05-03", 8), checked("2013-05-02", 1), checked("2013-05-04", None)], [], WORTH, NOW
    )
    assert (worth.right, worth.wrong, worth.answer_days) == (8, 2, ("2013-05-01", "2013-05-03"))
    assert (worth.answers_value, worth.answers_value_a_day) == (2, 1)


def test_a_model_without_a_past_or_amounts_has_no_numbers_and_says_what_each_lacks() -> None:
    worth = read_worth([], [], None, NOW)
    numbers = worth.model_dump(exclude={"days", "recovered", "trainings", "missing"})
    assert set(numbers.values()) == {None}
    assert worth.missing == {
        "releases": "no version was released",
        "time_to_recover": "no incident has a measured end",
        "answers": "no day was checked whose right answers were counted",
        "training_seconds": "no training of the window has its duration on record",
        "training_cost": "the model declares no worth.training_hour",
        "serving_cost": "the model declares no worth.serving_day",
    }


def test_a_person_reads_amounts_with_their_currency_and_every_number_that_is_not_known() -> None:
    worth = read_worth([*LIFE, checked("2013-05-03", 8)], [incident("performance", 5, 2)], WORTH, NOW)
    life = "12 hours from training to release; 0.3 releases a month; 0.3 incidents a month"
    assert list(worth_lines(worth.model_dump(mode="json"))) == [
        f"  worth, 90 days: {life}; 2 hours to recover (median of 1)",
        "  answers of 2013-05-01 to 2013-05-03: 8 right, 2 wrong; worth 2.00 EUR, 1.00 EUR a day",
        "  cost, 90 days: 2 trainings in 2 minutes; 2.00 EUR; serving 180.00 EUR",
        "  some trainings: not known, 1 of 2 have no duration on record",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, None), (0.4, "0 seconds"), (119, "119 seconds"), (120, "2 minutes"), (200_000, "2 days")],
)
def test_a_duration_is_in_the_largest_unit_of_which_there_are_two(seconds: float | None, text: str | None) -> None:
    assert duration_text(seconds) == text
