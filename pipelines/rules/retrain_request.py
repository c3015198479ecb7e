"""A retraining is due after enough detections in a row, once per incident, and again while the newest rows are few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from pipelines.rules.detections import Detection, Request
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Outcome, Verdict

RULE = "retrain_request"


def judge_retraining(history: Sequence[Detection], requests: Sequence[Request], spec: ModelSpec, day: date) -> Verdict:
    """PASS: no retraining is needed. FAIL: a retraining is due, and the reasons say why. UNKNOWN: ``day`` was not
    measured for any declared trigger.

    A trigger is due when its last ``consecutive_detections`` measured days up to ``day`` are all detections and ``day``
    itself is one of them; for drift, days whose windows do not overlap, as windows that share days are one finding. A
    day whose outcome is UNKNOWN, or that was never checked, neither extends nor ends the streak. Of several checks of
    one day the last in ``history`` counts.

    A request that a loss of performance asked for is followed by more, every ``catch_up.every_days`` for
    ``catch_up.for_days``: right after a change there are few rows to learn it from. ``facts["recent_days"]`` says how
    many days these trainings try alone; 0 for any other.

    A request on another day less than ``cooldown_days`` + 1 days before ``day``, or on a later day (in a backfill),
    belongs to the same incident: no further retraining is due, and ``facts["held_back"]`` lists the reasons. A request
    of ``day`` itself is ignored, so that a repeated task gives the same answer.
    """
    retraining = spec.monitoring.retraining
    failures: list[str] = []
    streaks: dict[str, int] = {}
    measured_today = alarm = False
    for kind in retraining.triggers:
        outcomes = {d.day: d.outcome for d in history if d.kind == kind and d.day <= day}
        measured = sorted(on for on, outcome in outcomes.items() if outcome is not Outcome.UNKNOWN)
        measured_today = measured_today or day in measured
        apart = 1 if kind == "performance" else spec.monitoring.drift.window_days
        row = _detection_streak(_days_apart(measured, apart), outcomes)
        streaks[kind] = len(row)
        if len(row) >= retraining.consecutive_detections and row[-1] == day:
            counted = "checked days" if apart == 1 else f"windows of {apart} days"
            detected = f"{kind} detected on {len(row)} {counted} in a row ({row[0]} to {row[-1]})"
            failures.append(f"{detected} >= {retraining.consecutive_detections}")
            alarm = alarm or kind == "performance"
    others = sorted((request for request in requests if request.day != day), key=lambda request: request.day)
    catch_up = None if failures else _catch_up(others, spec, day)
    failures += [catch_up] if catch_up else []

    cooled_from = day - timedelta(days=retraining.cooldown_days)
    recent = [request.day for request in others if request.day >= cooled_from]
    facts: dict[str, object] = {
        "streaks": streaks,
        "recent_requests": [on.isoformat() for on in recent],
        "held_back": failures if recent else [],
        "alarm": alarm,
        "recent_days": retraining.catch_up.recent_days if alarm or catch_up else 0,
    }
    is_due = bool(failures) and not recent
    unknowns = (
        [] if measured_today or is_due or not retraining.triggers else [f"no declared trigger was measured on {day}"]
    )
    return Verdict.of(RULE, failures=[] if recent else failures, unknowns=unknowns, facts=facts)


def _catch_up(requests: Sequence[Request], spec: ModelSpec, day: date) -> str | None:
    """Why ``day`` is due for another retraining after a loss; None if it is not. ``requests`` ascend."""
    catch_up = spec.monitoring.retraining.catch_up
    earlier = [request for request in requests if request.day < day]
    alarms = [request.day for request in earlier if request.alarm]
    if not alarms or "performance" not in spec.monitoring.retraining.triggers:
        return None
    since_alarm, since_last = (day - alarms[-1]).days, (day - earlier[-1].day).days
    if since_alarm > catch_up.for_days or since_last < catch_up.every_days:
        return None
    return (
        f"{since_last} days of new rows since the last retraining, {since_alarm} since performance was detected on "
        f"{alarms[-1]}: every {catch_up.every_days} days for {catch_up.for_days} (monitoring.retraining.catch_up)"
    )


def _days_apart(measured: Sequence[date], apart: int) -> list[date]:
    """Of these ascending days the last, and before it each that is at least ``apart`` days earlier than the next."""
    chosen: list[date] = []
    for on in reversed(measured):
        if not chosen or (chosen[-1] - on).days >= apart:
            chosen.append(on)
    return chosen[::-1]


def _detection_streak(measured: list[date], outcomes: Mapping[date, Outcome]) -> list[date]:
    """The consecutive detections at the end of ``measured``, ascending."""
    row: list[date] = []
    for on in reversed(measured):
        if outcomes[on] is not Outcome.FAIL:
            break
        row.append(on)
    return row[::-1]
