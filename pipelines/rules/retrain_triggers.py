"""Whether each declared trigger of a retraining is due on a day, by what the checks measured so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipelines.messages.retraining import TrainingHistory
from pipelines.rules.detections import Detection
from pipelines.rules.retrain_calendar import retrain_interval
from pipelines.spec.model import LOWER_IS_BETTER, ModelSpec
from pipelines.spec.relative_limit import baseline_factor
from pipelines.spec.retraining import STREAKS, RetrainTrigger
from pipelines.verdict import Outcome


class TriggerState(BaseModel):
    """``reason``: why it is due; None: it is not. ``measured``: whether the day says anything about it."""

    model_config = ConfigDict(frozen=True)

    reason: str | None = None
    measured: bool
    streak: int = 0


def read_trigger(
    trigger: RetrainTrigger, history: Sequence[Detection], known: TrainingHistory, spec: ModelSpec, day: date
) -> TriggerState:
    """An event is no matter of days and is never due here."""
    if trigger.when in STREAKS:
        return _streak(trigger, history, spec, day)
    last = max((training.day for training in known.trained), default=None)
    if last is None or trigger.when == "event":
        return TriggerState(measured=trigger.when != "event")
    if trigger.when == "new_rows":
        return _new_rows(trigger, known, last, day)
    interval = retrain_interval(known.gains, spec.monitoring.retraining.price)
    days, why = (trigger.every_days, "declared") if trigger.every_days else (interval.days, interval.why)
    age = (day - last).days
    due = f"{age} days since the rows of the newest training >= {days} ({why})" if age >= days else None
    return TriggerState(reason=due, measured=True)


def _new_rows(trigger: RetrainTrigger, known: TrainingHistory, last: date, day: date) -> TriggerState:
    trained = max((training.rows for training in known.trained if training.day == last), default=0)
    new = sum(rows for on, rows in known.rows_by_day.items() if last < on <= day)
    assert trigger.more is not None
    if not trained:
        return TriggerState(measured=False)
    text = f"{new} rows since {last}, {new / trained:.0%} of the {trained} of the newest training >= {trigger.more:.0%}"
    return TriggerState(reason=text if new / trained >= trigger.more else None, measured=True)


def _streak(trigger: RetrainTrigger, history: Sequence[Detection], spec: ModelSpec, day: date) -> TriggerState:
    """Due when the last ``consecutive`` measured days up to ``day`` all detected, ``day`` among them.

    Only days count whose windows do not overlap; but a loss that the check itself shows holds at every look, and there
    all days count. A day that was UNKNOWN neither extends nor ends the row.
    """
    outcomes = {d.day: _outcome(trigger, d, spec) for d in history if d.kind == trigger.when and d.day <= day}
    measured = sorted(on for on, outcome in outcomes.items() if outcome is not Outcome.UNKNOWN)
    watched = spec.monitoring.performance if trigger.when == "performance" else spec.monitoring.drift
    apart = 1 if trigger.when == "performance" and not trigger.limits else watched.window_days
    row = _detection_streak(_days_apart(measured, apart), outcomes)
    needed = trigger.consecutive or spec.monitoring.retraining.consecutive_detections
    reason = None
    if len(row) >= needed and row[-1] == day:
        counted = "checked days" if apart == 1 else f"windows of {apart} days"
        reason = f"{trigger.text} detected on {len(row)} {counted} in a row ({row[0]} to {row[-1]}) >= {needed}"
    return TriggerState(reason=reason, measured=day in measured, streak=len(row))


def _outcome(trigger: RetrainTrigger, detection: Detection, spec: ModelSpec) -> Outcome:
    """Of the check, or of the declared limit where the check measured its number."""
    if not trigger.limits or detection.outcome is Outcome.UNKNOWN:
        return detection.outcome
    facts = detection.facts
    if trigger.severity is not None:
        named = {"watch": ("watched", "faults"), "fault": ("faults",), "act": ("act",)}[trigger.severity]
        return _fails(any(facts.get(name) for name in named))
    number, limit, larger_is_worse = _measured(trigger, facts, spec)
    if number is None or limit is None:
        return Outcome.UNKNOWN
    return _fails(number >= limit if larger_is_worse else number < limit)


def _measured(
    trigger: RetrainTrigger, facts: Mapping[str, Any], spec: ModelSpec
) -> tuple[float | None, float | None, bool]:
    """The number that is limited, the limit, and whether a larger number is worse."""
    if trigger.when != "performance":
        name = "drifting_share" if trigger.when == "data_drift" else "prediction_psi"
        return facts.get(name), trigger.at, True
    if trigger.drop is not None:
        return facts.get("drop"), trigger.drop, True
    limit, reference = trigger.worse_than, facts.get("reference")
    if isinstance(limit, str):
        factor = baseline_factor(limit)
        limit = None if factor is None or reference is None else factor * float(reference)
    return facts.get("value"), limit, spec.monitoring.performance.metric in LOWER_IS_BETTER


def _fails(detected: bool) -> Outcome:
    return Outcome.FAIL if detected else Outcome.PASS


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
