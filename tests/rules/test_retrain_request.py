"""A retraining is asked for after enough detections in a row, and once per incident."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from pipelines.messages.retraining import AgeGain, TrainedRows, TrainingHistory
from pipelines.rules.detections import Detection, Kind, Request, read_detections, read_requests
from pipelines.rules.retrain_request import judge_retraining
from pipelines.spec.model import ModelSpec
from pipelines.spec.retraining import Retraining
from pipelines.verdict import Outcome, Verdict
from tests.declared import shipped_model

SHIPPED = shipped_model()
FIRST = date(2013, 5, 1)
NOW = datetime(2026, 11, 2, 7, tzinfo=UTC)
OUTCOMES = {"F": Outcome.FAIL, "P": Outcome.PASS, "?": Outcome.UNKNOWN}


def declared(*, window_days: int = 1, **changes: Any) -> ModelSpec:
    """The shipped model with fields of ``monitoring.retraining`` replaced, and windows of so many days."""
    fields = SHIPPED.monitoring.retraining.model_dump() | changes
    retraining = Retraining.model_validate(fields)
    drift = SHIPPED.monitoring.drift.model_copy(update={"window_days": window_days})
    monitoring = SHIPPED.monitoring.model_copy(update={"retraining": retraining, "drift": drift})
    return SHIPPED.model_copy(update={"monitoring": monitoring})


SPEC = declared(triggers=["data_drift", "prediction_drift", "performance"], consecutive_detections=3)


def judged(
    history: list[Detection],
    requests: list[Request],
    spec: ModelSpec,
    day: date,
    *,
    event: str | None = None,
    **known: Any,
) -> Verdict:
    facts = TrainingHistory.model_validate({"now": NOW} | known)
    return judge_retraining(history, requests, spec, day, facts, event)


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
    verdict = judged(history(letters), [], SPEC, on(max(len(letters) - 1, 0)))
    assert verdict.outcome is outcome


@pytest.mark.parametrize("kind", ["data_drift", "prediction_drift", "performance"])
def test_each_trigger_counts_by_itself(kind: Kind) -> None:
    verdict = judged(history("FFF", kind), [], SPEC, on(2))
    assert verdict.reasons == (f"{kind} detected on 3 checked days in a row (2013-05-01 to 2013-05-03) >= 3",)


def test_detections_of_different_kinds_do_not_add_up() -> None:
    mixed = [*history("F  ", "data_drift"), *history(" F ", "prediction_drift"), *history("  F", "performance")]
    assert judged(mixed, [], SPEC, on(2)).passed


def test_every_due_trigger_is_a_reason() -> None:
    both = [*history("FFF", "data_drift"), *history("FFF", "performance")]
    assert len(judged(both, [], SPEC, on(2)).reasons) == 2


def test_an_undeclared_trigger_asks_for_nothing() -> None:
    spec = declared(triggers=["performance"], consecutive_detections=3)
    verdict = judged([*history("FFF"), *history("PPP", "performance")], [], spec, on(2))
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
    verdict = judged(history("F" * 11), requested(earlier), SPEC, on(10))
    assert verdict.outcome is outcome
    assert bool(verdict.facts["held_back"]) is (outcome is Outcome.PASS)


def test_a_long_incident_asks_again_after_the_cooldown_and_only_then() -> None:
    requests: list[date] = []
    for number in range(20):
        known = history("F" * (number + 1))
        if judged(known, requested(*requests), SPEC, on(number)).outcome is Outcome.FAIL:
            requests.append(on(number))
    assert requests == [on(2), on(10), on(18)]


def test_later_days_do_not_count_for_an_earlier_one() -> None:
    assert judged(history("FFFFF"), [], SPEC, on(1)).passed
    assert judged(history("FFFP"), [], SPEC, on(2)).outcome is Outcome.FAIL


def test_of_several_checks_of_one_day_the_last_holds() -> None:
    rechecked = [*history("FFF"), Detection(day=on(1), kind="data_drift", outcome=Outcome.PASS)]
    assert judged(rechecked, [], SPEC, on(2)).passed


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
    facts = judged(mixed, requested(on(1), on(-20), on(2)), SPEC, on(2)).facts
    assert facts["streaks"] == {"data_drift": 2, "prediction_drift": 0, "performance": 3}
    assert facts["recent_requests"] == ["2013-05-02"]
    assert len(facts["held_back"]) == 1  # type: ignore[arg-type]


def test_a_model_without_triggers_needs_no_measurement() -> None:
    spec = declared(triggers=[])
    assert judged([], [], spec, on(2)).passed


def test_one_measured_trigger_of_several_is_enough_to_know_the_day() -> None:
    for kind in ("data_drift", "prediction_drift", "performance"):
        assert judged(history("PPP", kind), [], SPEC, on(2)).passed  # type: ignore[arg-type]


def test_by_default_a_loss_of_performance_is_the_one_thing_that_asks_and_asks_at_once() -> None:
    drifting = [*history("F" * 30, "data_drift"), *history("F" * 30, "prediction_drift")]
    assert judged([*drifting, *history("P" * 30, "performance")], [], SHIPPED, on(29)).passed
    verdict = judged([*drifting, *history("P" * 29 + "F", "performance")], [], SHIPPED, on(29))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.facts["alarm"] is True


def test_windows_of_drift_that_share_days_are_one_detection() -> None:
    weekly = declared(triggers=["data_drift"], consecutive_detections=3, window_days=7)
    for days, outcome in ((14, Outcome.PASS), (15, Outcome.FAIL)):
        assert judged(history("F" * days), [], weekly, on(days - 1)).outcome is outcome
    calm_between = history("F" * 7 + "P" + "F" * 7)
    assert judged(calm_between, [], weekly, on(14)).passed


@pytest.mark.parametrize("limit", [{"drop": 0.02}, {"worse_than": 0.65}])
def test_windows_of_a_declared_performance_limit_that_share_days_are_one_detection(limit: dict[str, float]) -> None:
    spec = declared(triggers=[{"when": "performance", "consecutive": 3} | limit])
    assert spec.monitoring.performance.window_days == 7
    for days, outcome in ((3, Outcome.PASS), (14, Outcome.PASS), (15, Outcome.FAIL)):
        measured = with_facts("P" * days, "performance", drop=0.03, value=0.6)
        assert judged(measured, [], spec, on(days - 1)).outcome is outcome
    own_limit = declared(triggers=["performance"], consecutive_detections=3)
    verdict = judged(history("FFF", "performance"), [], own_limit, on(2))
    assert verdict.outcome is Outcome.FAIL, "a loss that is shown holds at every look"


def test_after_a_loss_further_retrainings_follow_every_two_weeks_for_eight_then_no_more() -> None:
    requests: list[Request] = []
    for number in range(120):
        known = history("P" * 20 + "F" + "P" * max(number - 20, 0), "performance")
        verdict = judged([day for day in known if day.day <= on(number)], requests, SHIPPED, on(number))
        if verdict.outcome is Outcome.FAIL:
            requests.append(Request(day=on(number), alarm=bool(verdict.facts["alarm"])))
    assert [request.day for request in requests] == [on(20), on(34), on(48), on(62), on(76)]
    assert [request.alarm for request in requests] == [True, False, False, False, False]


def test_a_retraining_after_a_loss_and_each_that_follows_it_try_the_newest_weeks_alone_and_no_other_does() -> None:
    loss = judged(history("F", "performance"), [], SHIPPED, on(0))
    following = judged([], requested(FIRST, alarm=True), SHIPPED, on(14))
    assert [verdict.facts["recent_days"] for verdict in (loss, following)] == [56, 56]
    assert judged(history("FFF"), [], SPEC, on(2)).facts["recent_days"] == 0
    without = SHIPPED.monitoring.retraining.catch_up.model_copy(update={"recent_days": 0})
    assert judged(history("F", "performance"), [], declared(catch_up=without), on(0)).facts["recent_days"] == 0


def test_a_retraining_that_drift_asked_for_or_that_an_older_line_records_is_followed_by_none() -> None:
    older: list[dict[str, Any]] = [{"day": "2013-05-01", "facts": {"streaks": {"performance": 3}}, "reasons": []}]
    assert read_requests(older) == [Request(day=FIRST, alarm=False)]
    assert judged(history("P" * 15, "performance"), read_requests(older), SHIPPED, on(14)).passed


def test_a_catch_up_is_due_also_on_a_day_that_was_not_measured_and_says_why() -> None:
    verdict = judged([], requested(FIRST, alarm=True), SHIPPED, on(14))
    [reason] = verdict.reasons
    assert reason == (
        "14 days of new rows since the last retraining, 14 since performance was detected on 2013-05-01: every 14 days "
        "for 56 (monitoring.retraining.catch_up)"
    )
    nothing = declared(catch_up={"for_days": 0})
    assert judged([], requested(FIRST, alarm=True), nothing, on(14)).outcome is Outcome.UNKNOWN


def with_facts(letters: str, kind: Kind, **facts: Any) -> list[Detection]:
    return [day.model_copy(update={"facts": facts}) for day in history(letters, kind)]


RELATIVE = {"when": "performance", "worse_than": "0.9x baseline"}


@pytest.mark.parametrize(
    ("trigger", "kind", "letters", "facts", "due"),
    [
        ({"when": "performance", "worse_than": 0.65}, "performance", "P", {"value": 0.64}, True),
        ({"when": "performance", "worse_than": 0.65}, "performance", "P", {"value": 0.65}, False),
        (
            {"when": "performance", "worse_than": "0.9x baseline"},
            "performance",
            "P",
            {"value": 0.62, "reference": 0.7},
            True,
        ),
        (
            {"when": "performance", "worse_than": "0.9x baseline"},
            "performance",
            "P",
            {"value": 0.64, "reference": 0.7},
            False,
        ),
        ({"when": "performance", "worse_than": "0.9x baseline"}, "performance", "P", {"value": 0.1}, None),
        ({"when": "performance", "drop": 0.05}, "performance", "P", {"drop": 0.05}, True),
        ({"when": "performance", "drop": 0.05}, "performance", "F", {"drop": 0.04}, False),
        ({"when": "performance", "drop": 0.05}, "performance", "?", {"drop": 0.9}, None),
        ({"when": "data_drift", "at": 0.5}, "data_drift", "F", {"drifting_share": 0.4}, False),
        ({"when": "data_drift", "at": 0.5}, "data_drift", "P", {"drifting_share": 0.5}, True),
        ({"when": "data_drift", "severity": "act"}, "data_drift", "F", {"faults": ["wind"], "act": []}, False),
        ({"when": "data_drift", "severity": "act"}, "data_drift", "P", {"act": ["wind"]}, True),
        ({"when": "data_drift", "severity": "fault"}, "data_drift", "P", {"watched": ["wind"], "faults": []}, False),
        ({"when": "data_drift", "severity": "watch"}, "data_drift", "P", {"watched": ["wind"]}, True),
        ({"when": "prediction_drift", "at": 0.3}, "prediction_drift", "P", {"prediction_psi": 0.31}, True),
        ({"when": "prediction_drift", "at": 0.3}, "prediction_drift", "F", {"prediction_psi": None}, None),
    ],
)
def test_a_declared_limit_takes_the_place_of_the_checks_own(
    trigger: dict[str, Any], kind: Kind, letters: str, facts: dict[str, Any], due: bool | None
) -> None:
    verdict = judged(with_facts(letters, kind, **facts), [], declared(triggers=[trigger]), on(0))
    assert verdict.outcome is {True: Outcome.FAIL, False: Outcome.PASS, None: Outcome.UNKNOWN}[due]


def test_of_an_error_a_larger_value_is_worse() -> None:
    spec = declared(triggers=[{"when": "performance", "worse_than": "1.2x baseline"}])
    performance = spec.monitoring.performance.model_copy(update={"metric": "mae"})
    spec = spec.model_copy(update={"monitoring": spec.monitoring.model_copy(update={"performance": performance})})
    for value, outcome in ((13.0, Outcome.FAIL), (11.0, Outcome.PASS)):
        measured = with_facts("P", "performance", value=value, reference=10.0)
        assert judged(measured, [], spec, on(0)).outcome is outcome


def test_a_trigger_may_ask_for_more_detections_in_a_row_than_the_others() -> None:
    spec = declared(triggers=["performance", {"when": "data_drift", "severity": "act", "consecutive": 3}])
    assert judged(with_facts("PP", "data_drift", act=["wind"]), [], spec, on(1)).passed
    verdict = judged(with_facts("PPP", "data_drift", act=["wind"]), [], spec, on(2))
    assert verdict.reasons[0].startswith("data_drift severity act detected on 3 checked days in a row")
    assert verdict.facts["recent_days"] == 0


TRAINED = [TrainedRows(day=on(-40), rows=500), TrainedRows(day=on(-20), rows=1000)]


@pytest.mark.parametrize(("rows", "due"), [(24, False), (25, True)])
def test_new_rows_ask_once_they_are_the_declared_share_of_the_newest_training(rows: int, due: bool) -> None:
    spec = declared(triggers=[{"when": "new_rows", "more": 0.5}])
    built = {on(-20 + number): rows for number in range(21)}
    verdict = judged([], [], spec, on(0), trained=TRAINED, rows_by_day=built)
    assert verdict.outcome is (Outcome.FAIL if due else Outcome.PASS)
    assert not due or verdict.reasons == ("500 rows since 2013-04-11, 50% of the 1000 of the newest training >= 50%",)


@pytest.mark.parametrize(("days", "due"), [(20, True), (21, False), (None, False)])
def test_the_schedule_asks_so_many_data_days_after_the_newest_training_by_default_28(
    days: int | None, due: bool
) -> None:
    spec = declared(triggers=[{"when": "schedule", "every_days": days} if days else "schedule"])
    assert judged([], [], spec, on(0), trained=TRAINED).passed is not due
    assert judged([], [], spec, on(0)).passed, "nothing was trained yet, so nothing is repeated"
    assert not judged([], [], spec, on(8), trained=TRAINED).passed


def test_an_event_of_another_system_asks_and_is_held_to_cooldown_and_budget_even_on_the_same_day() -> None:
    verdict = judged([], [], SHIPPED, on(0), event="another system asks")
    assert (verdict.outcome, verdict.reasons, verdict.facts["recent_days"]) == (
        Outcome.FAIL,
        ("another system asks",),
        0,
    )
    assert judged([], requested(on(0)), SHIPPED, on(0), event="again").passed


def test_days_behind_the_newest_built_one_by_more_than_the_cooldown_ask_for_nothing() -> None:
    known = history("F" * 11, "performance")
    for newest, outcome in ((17, Outcome.FAIL), (18, Outcome.PASS)):
        assert judged(known, [], SHIPPED, on(10), rows_by_day={on(newest): 900}).outcome is outcome


def test_the_budget_counts_data_days() -> None:
    spec = declared(budget={"requests": 2, "days": 30})
    for first, outcome in ((-30, Outcome.FAIL), (-29, Outcome.PASS)):
        verdict = judged(history("F", "performance"), requested(on(first), on(-10)), spec, on(0))
        assert verdict.outcome is outcome
    assert verdict.facts["holds"] == ["2 requests in 30 days >= 2 (budget.requests)"]


def days_asked(letters: str, spec: ModelSpec, *, days_an_hour: float = 1.0) -> list[Request]:
    """The requests of a year or so, day by day in order, each asked for when it is the newest day that there is."""
    measured, requests = history(letters, "performance"), list[Request]()
    for number in range(len(letters)):
        now = NOW + timedelta(hours=number / days_an_hour)
        known = [each for each in measured[max(0, number - 30) :] if each.day <= on(number)]
        verdict = judged(known, requests, spec, on(number), now=now, rows_by_day={on(number): 900})
        if verdict.outcome is Outcome.FAIL:
            days, alarm = verdict.facts["recent_days"], bool(verdict.facts["alarm"])
            assert isinstance(days, int)
            requests.append(Request(day=on(number), alarm=alarm, at=now, recent_days=days))
    return requests


def test_a_backfill_of_a_year_in_an_hour_starts_four_trainings_at_most() -> None:
    """A month of losses, a month without, and so on: in a year that is lived through each is an incident."""
    letters = ("F" * 30 + "P" * 30) * 6
    spec = declared(catch_up={"for_days": 0}, budget={"requests": 60})
    assert len(days_asked(letters, spec, days_an_hour=1 / 24)) == 24
    assert len(days_asked(letters, spec, days_an_hour=365)) == 4


def test_a_loss_that_stays_is_followed_up_every_two_weeks_and_after_three_trainings_a_person_is_told() -> None:
    requests = days_asked("F" * 100, SHIPPED, days_an_hour=1 / 24)
    assert [(request.day - FIRST).days for request in requests] == [0, 14, 28, 42, 56]
    for number, told in ((28, False), (29, True), (100, True)):
        before = [request for request in requests if request.day < on(number)]
        verdict = judged(history("F" * (number + 1), "performance"), before, SHIPPED, on(number))
        assert bool(verdict.facts["unmended"]) is told
        assert not (told and verdict.facts["alarm"])
    assert verdict.passed


def test_a_loss_between_two_catch_ups_is_held_back_by_name() -> None:
    verdict = judged(history("F" * 11, "performance"), requested(on(0), alarm=True), SHIPPED, on(10))
    assert verdict.facts["holds"] == ["the loss of 2013-05-01 is followed up every 14 days"]
    assert verdict.facts["held_back"]
    assert judged(history("FF", "performance"), requested(on(0), alarm=True), SHIPPED, on(1)).facts["holds"] == [
        "requested already on ['2013-05-01']",
        "the loss of 2013-05-01 is followed up every 14 days",
    ]


def gains(*points: tuple[int, float]) -> list[AgeGain]:
    return [AgeGain(days=days, gain=gain, standard_error=0.01) for days, gain in points]


AGEING = gains((28, 0.0056), (28, 0.0056), (56, 0.0112), (56, 0.0112))
PRICE = {"training": 10.0, "metric_unit_a_day": 100.0}


def test_a_training_that_costs_more_than_it_is_expected_to_gain_is_held_back() -> None:
    """By the slope of 0.0002 a day the interval is 32 days: a loss of 0.05 there is worth 160, one of 0.002 is 6.4."""
    spec = declared(price=PRICE)
    for drop, outcome in ((0.05, Outcome.FAIL), (0.002, Outcome.PASS)):
        lost = with_facts("F", "performance", drop=drop)
        verdict = judged(lost, [], spec, on(0), gains=AGEING, trained=TRAINED)
        assert verdict.outcome is outcome
    assert verdict.facts["holds"] == ["it is expected to gain 6.4 in 32 days and costs 10 (price)"]


def test_without_a_price_nothing_is_weighed_and_without_a_measured_slope_drift_is_not() -> None:
    lost = with_facts("F", "performance", drop=0.0001)
    assert judged(lost, [], SHIPPED, on(0), gains=AGEING, trained=TRAINED).outcome is Outcome.FAIL
    spec = declared(price=PRICE, triggers=["data_drift"])
    assert judged(history("F"), [], spec, on(0), trained=TRAINED).outcome is Outcome.FAIL
    dear = declared(price=PRICE | {"training": 1000.0}, triggers=["data_drift"])
    assert judged(history("F"), [], dear, on(0), gains=AGEING, trained=TRAINED).passed


@pytest.mark.parametrize(("age", "holds"), [(15, 1), (16, 0)])
def test_what_drift_is_worth_grows_with_the_age_of_the_newest_training(age: int, holds: int) -> None:
    """0.0002 a day, over an interval of 32 days at 100 a day: 16 days are worth 10.24, 15 are worth 9.6."""
    spec = declared(price=PRICE, triggers=["data_drift"], consecutive_detections=1)
    trained = [TrainedRows(day=on(0) - timedelta(days=age), rows=1000)]
    assert len(judged(history("F"), [], spec, on(0), gains=AGEING, trained=trained).facts["holds"]) == holds  # type: ignore[arg-type]


def test_trainings_after_an_alarm_are_followed_up_only_while_performance_is_a_trigger() -> None:
    loss, later = requested(on(0), alarm=True), history("P" * 15, "performance")
    assert judged(later, loss, SHIPPED, on(14)).outcome is Outcome.FAIL
    assert judged(later, loss, declared(triggers=["data_drift"]), on(14)).outcome is not Outcome.FAIL


def test_alarms_alone_may_be_so_many_that_a_person_is_told() -> None:
    alarms = requested(*(on(-number) for number in (10, 20, 30)), alarm=True)
    assert judged(history("F", "performance"), alarms, SHIPPED, on(0)).facts["unmended"]
