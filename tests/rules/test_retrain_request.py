"""A retraining is asked for after enough detections in a row, and once per incident."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.rules.retrain_request import Detection, Kind, judge_retraining, read_detections
from pipelines.spec.catalog import read_declaration
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Outcome

SPEC = read_declaration(Path(__file__).parents[2] / "include" / "models" / "flight_delay.yaml", ModelSpec)
FIRST = date(2013, 5, 1)
OUTCOMES = {"F": Outcome.FAIL, "P": Outcome.PASS, "?": Outcome.UNKNOWN}


def on(number: int) -> date:
    return FIRST + timedelta(days=number)


def history(letters: str, kind: Kind = "data_drift") -> list[Detection]:
    """One letter per day from the first: F detected, P passed, ? unknown, a space not checked."""
    return [
        Detection(day=on(n), kind=kind, outcome=OUTCOMES[letter]) for n, letter in enumerate(letters) if letter != " "
    ]


@pytest.mark.parametrize(
    ("letters", "outcome"),
    [
        ("FFF", Outcome.FAIL),
        ("FF", Outcome.PASS),
        ("PPP", Outcome.PASS),
        ("FFFF", Outcome.FAIL),
        ("FFPFF", Outcome.PASS),
        ("FFPFFF", Outcome.FAIL),
        ("FF?F", Outcome.FAIL),
        ("FF F", Outcome.FAIL),
        ("FFFP", Outcome.PASS),
        ("FFF?", Outcome.UNKNOWN),
        ("???", Outcome.UNKNOWN),
        ("", Outcome.UNKNOWN),
    ],
)
def test_a_retraining_is_due_after_three_detections_in_a_row_that_end_today(letters: str, outcome: Outcome) -> None:
    verdict = judge_retraining(history(letters), [], SPEC, on(max(len(letters) - 1, 0)))
    assert verdict.outcome is outcome


@pytest.mark.parametrize("kind", ["data_drift", "prediction_drift", "performance"])
def test_each_trigger_counts_by_itself(kind: Kind) -> None:
    verdict = judge_retraining(history("FFF", kind), [], SPEC, on(2))
    assert verdict.reasons == (f"{kind} detected on 3 checked days in a row (2013-05-01 to 2013-05-03) >= 3",)


def test_detections_of_different_kinds_do_not_add_up() -> None:
    mixed = [*history("F  ", "data_drift"), *history(" F ", "prediction_drift"), *history("  F", "performance")]
    assert judge_retraining(mixed, [], SPEC, on(2)).passed


def test_every_due_trigger_is_a_reason() -> None:
    both = [*history("FFF", "data_drift"), *history("FFF", "performance")]
    assert len(judge_retraining(both, [], SPEC, on(2)).reasons) == 2


def test_an_undeclared_trigger_asks_for_nothing() -> None:
    quiet = SPEC.monitoring.retraining.model_copy(update={"triggers": ["performance"]})
    spec = SPEC.model_copy(update={"monitoring": SPEC.monitoring.model_copy(update={"retraining": quiet})})
    verdict = judge_retraining([*history("FFF"), *history("PPP", "performance")], [], spec, on(2))
    assert verdict.passed


@pytest.mark.parametrize(
    ("requested", "outcome"),
    [
        (on(9), Outcome.PASS),
        (on(3), Outcome.PASS),
        (on(2), Outcome.FAIL),
        (on(14), Outcome.PASS),
        (on(10), Outcome.FAIL),
    ],
    ids=["yesterday", "seven days ago", "eight days ago", "a later day, when backfilling", "the same day, repeated"],
)
def test_one_incident_asks_once(requested: date, outcome: Outcome) -> None:
    verdict = judge_retraining(history("F" * 11), [requested], SPEC, on(10))
    assert verdict.outcome is outcome
    assert bool(verdict.facts["held_back"]) is (outcome is Outcome.PASS)


def test_a_long_incident_asks_again_after_the_cooldown_and_only_then() -> None:
    requests: list[date] = []
    for number in range(20):
        if judge_retraining(history("F" * (number + 1)), requests, SPEC, on(number)).outcome is Outcome.FAIL:
            requests.append(on(number))
    assert requests == [on(2), on(10), on(18)]


def test_later_days_do_not_count_for_an_earlier_one() -> None:
    assert judge_retraining(history("FFFFF"), [], SPEC, on(1)).passed
    assert judge_retraining(history("FFFP"), [], SPEC, on(2)).outcome is Outcome.FAIL


def test_of_several_checks_of_one_day_the_last_holds() -> None:
    rechecked = [*history("FFF"), Detection(day=on(1), kind="data_drift", outcome=Outcome.PASS)]
    assert judge_retraining(rechecked, [], SPEC, on(2)).passed


def test_ledger_lines_are_read_kind_by_kind_from_the_facts() -> None:
    lines: list[dict[str, Any]] = [
        {
            "check": "drift_check",
            "day": "2013-05-01",
            "outcome": "fail",
            "facts": {"data_drift": "pass", "prediction_drift": "fail"},
        },
        {"check": "performance_check", "day": "2013-05-01", "outcome": "unknown"},
        {"check": "some_other_check", "day": "2013-05-01", "outcome": "fail"},
    ]
    assert [(d.kind, d.outcome.value) for d in read_detections(lines)] == [
        ("data_drift", "pass"),
        ("prediction_drift", "fail"),
        ("performance", "unknown"),
    ]


def test_the_facts_give_each_streak_and_the_requests_of_the_incident() -> None:
    mixed = [*history("PFF"), *history("FFF", "performance")]
    facts = judge_retraining(mixed, [on(1), on(-20), on(2)], SPEC, on(2)).facts
    assert facts["streaks"] == {"data_drift": 2, "prediction_drift": 0, "performance": 3}
    assert facts["recent_requests"] == ["2013-05-02"]
    assert len(facts["held_back"]) == 1  # type: ignore[arg-type]


def test_a_model_without_triggers_needs_no_measurement() -> None:
    quiet = SPEC.monitoring.retraining.model_copy(update={"triggers": []})
    spec = SPEC.model_copy(update={"monitoring": SPEC.monitoring.model_copy(update={"retraining": quiet})})
    assert judge_retraining([], [], spec, on(2)).passed


def test_one_measured_trigger_of_several_is_enough_to_know_the_day() -> None:
    for kind in ("data_drift", "prediction_drift", "performance"):
        assert judge_retraining(history("PPP", kind), [], SPEC, on(2)).passed  # type: ignore[arg-type]
