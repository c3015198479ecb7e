"""A retraining is asked for after enough detections in a row, and once per incident."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.rules.detections import Detection, Kind, Request, read_detections, read_requests
from pipelines.rules.retrain_request import judge_retraining
from pipelines.spec.catalog import read_declaration
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Outcome

SHIPPED = read_declaration(Path(__file__).parents[2] / "include" / "models" / "flight_delay.yaml", ModelSpec)
FIRST = date(2013, 5, 1)
OUTCOMES = {"F": Outcome.FAIL, "P": Outcome.PASS, "?": Outcome.UNKNOWN}


def declared(*, window_days: int = 1, **changes: Any) -> ModelSpec:
    """The shipped model with fields of ``monitoring.retraining`` replaced, and windows of so many days."""
    retraining = SHIPPED.monitoring.retraining.model_copy(update=changes)
    drift = SHIPPED.monitoring.drift.model_copy(update={"window_days": window_days})
    monitoring = SHIPPED.monitoring.model_copy(update={"retraining": retraining, "drift": drift})
    return SHIPPED.model_copy(update={"monitoring": monitoring})


SPEC = declared(triggers=["data_drift", "prediction_drift", "performance"], consecutive_detections=3)


def requested(*days: date, alarm: bool = False) -> list[Request]:
    return [Request(day=day, alarm=alarm) for day in days]


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
    spec = declared(triggers=["performance"], consecutive_detections=3)
    verdict = judge_retraining([*history("FFF"), *history("PPP", "performance")], [], spec, on(2))
    assert verdict.passed


@pytest.mark.parametrize(
    ("earlier", "outcome"),
    [
        (on(9), Outcome.PASS),
        (on(3), Outcome.PASS),
        (on(2), Outcome.FAIL),
        (on(14), Outcome.PASS),
        (on(10), Outcome.FAIL),
    ],
    ids=["yesterday", "seven days ago", "eight days ago", "a later day, when backfilling", "the same day, repeated"],
)
def test_one_incident_asks_once(earlier: date, outcome: Outcome) -> None:
    verdict = judge_retraining(history("F" * 11), requested(earlier), SPEC, on(10))
    assert verdict.outcome is outcome
    assert bool(verdict.facts["held_back"]) is (outcome is Outcome.PASS)


def test_a_long_incident_asks_again_after_the_cooldown_and_only_then() -> None:
    requests: list[date] = []
    for number in range(20):
        known = history("F" * (number + 1))
        if judge_retraining(known, requested(*requests), SPEC, on(number)).outcome is Outcome.FAIL:
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
    facts = judge_retraining(mixed, requested(on(1), on(-20), on(2)), SPEC, on(2)).facts
    assert facts["streaks"] == {"data_drift": 2, "prediction_drift": 0, "performance": 3}
    assert facts["recent_requests"] == ["2013-05-02"]
    assert len(facts["held_back"]) == 1  # type: ignore[arg-type]


def test_a_model_without_triggers_needs_no_measurement() -> None:
    spec = declared(triggers=[])
    assert judge_retraining([], [], spec, on(2)).passed


def test_one_measured_trigger_of_several_is_enough_to_know_the_day() -> None:
    for kind in ("data_drift", "prediction_drift", "performance"):
        assert judge_retraining(history("PPP", kind), [], SPEC, on(2)).passed  # type: ignore[arg-type]


def test_by_default_a_loss_of_performance_is_the_one_thing_that_asks_and_asks_at_once() -> None:
    drifting = [*history("F" * 30, "data_drift"), *history("F" * 30, "prediction_drift")]
    assert judge_retraining([*drifting, *history("P" * 30, "performance")], [], SHIPPED, on(29)).passed
    verdict = judge_retraining([*drifting, *history("P" * 29 + "F", "performance")], [], SHIPPED, on(29))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.facts["alarm"] is True


def test_windows_of_drift_that_share_days_are_one_detection() -> None:
    weekly = declared(triggers=["data_drift"], consecutive_detections=3, window_days=7)
    for days, outcome in ((14, Outcome.PASS), (15, Outcome.FAIL)):
        assert judge_retraining(history("F" * days), [], weekly, on(days - 1)).outcome is outcome
    calm_between = history("F" * 7 + "P" + "F" * 7)
    assert judge_retraining(calm_between, [], weekly, on(14)).passed


def test_after_a_loss_further_retrainings_follow_every_two_weeks_for_eight_then_no_more() -> None:
    requests: list[Request] = []
    for number in range(120):
        known = history("P" * 20 + "F" + "P" * max(number - 20, 0), "performance")
        verdict = judge_retraining([day for day in known if day.day <= on(number)], requests, SHIPPED, on(number))
        if verdict.outcome is Outcome.FAIL:
            requests.append(Request(day=on(number), alarm=bool(verdict.facts["alarm"])))
    assert [request.day for request in requests] == [on(20), on(34), on(48), on(62), on(76)]
    assert [request.alarm for request in requests] == [True, False, False, False, False]


def test_a_retraining_after_a_loss_and_each_that_follows_it_try_the_newest_weeks_alone_and_no_other_does() -> None:
    loss = judge_retraining(history("F", "performance"), [], SHIPPED, on(0))
    following = judge_retraining([], requested(FIRST, alarm=True), SHIPPED, on(14))
    assert [verdict.facts["recent_days"] for verdict in (loss, following)] == [56, 56]
    assert judge_retraining(history("FFF"), [], SPEC, on(2)).facts["recent_days"] == 0
    without = SHIPPED.monitoring.retraining.catch_up.model_copy(update={"recent_days": 0})
    assert (
        judge_retraining(history("F", "performance"), [], declared(catch_up=without), on(0)).facts["recent_days"] == 0
    )


def test_a_retraining_that_drift_asked_for_or_that_an_older_line_records_is_followed_by_none() -> None:
    older: list[dict[str, Any]] = [{"day": "2013-05-01", "facts": {"streaks": {"performance": 3}}, "reasons": []}]
    assert read_requests(older) == [Request(day=FIRST, alarm=False)]
    assert judge_retraining(history("P" * 15, "performance"), read_requests(older), SHIPPED, on(14)).passed


def test_a_catch_up_is_due_also_on_a_day_that_was_not_measured_and_says_why() -> None:
    verdict = judge_retraining([], requested(FIRST, alarm=True), SHIPPED, on(14))
    [reason] = verdict.reasons
    assert reason == (
        "14 days of new rows since the last retraining, 14 since performance was detected on 2013-05-01: every 14 days "
        "for 56 (monitoring.retraining.catch_up)"
    )
    nothing = declared(catch_up=SHIPPED.monitoring.retraining.catch_up.model_copy(update={"for_days": 0}))
    assert judge_retraining([], requested(FIRST, alarm=True), nothing, on(14)).outcome is Outcome.UNKNOWN
