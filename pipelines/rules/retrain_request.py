"""A retraining is due when a declared trigger is, once per incident, within its budget and for what it is worth."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from pipelines.messages.retraining import TrainingHistory
from pipelines.rules.detections import Detection, Request
from pipelines.rules.retrain_holds import follow_up, is_unmended, next_catch_up, too_dear, why_held
from pipelines.rules.retrain_triggers import read_trigger
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Verdict

RULE = "retrain_request"


def judge_retraining(
    history: Sequence[Detection],
    requests: Sequence[Request],
    spec: ModelSpec,
    day: date,
    known: TrainingHistory,
    event: str | None = None,
) -> Verdict:
    """PASS: no retraining is needed. FAIL: a retraining is due, and the reasons say why. UNKNOWN: ``day`` was not
    measured for any declared trigger.

    Each trigger that is due is a reason (``read_trigger``), and so is a catch-up: a request that a loss of performance
    asked for is followed by more, every ``catch_up.every_days`` for ``catch_up.for_days``. ``event``: another system
    asks, and nothing else is looked at. ``facts["recent_days"]`` says how many days the training tries alone.

    Whatever is due is held back, and ``facts["held_back"]`` lists the reasons, where ``facts["holds"]`` says why:
    a request on another day within ``cooldown_days`` or on a later day (in a backfill) belongs to the same incident;
    ``day`` is history; the budget is spent; or the training costs more than it is expected to gain. A loss that is
    still there is followed up by the catch-up alone; after ``give_up_after`` trainings it is a person's, too
    (``facts["unmended"]``). Requests of ``day`` itself are ignored, so that a repeated task gives the same answer, but
    not where an event asks.
    """
    retraining = spec.monitoring.retraining
    triggers = [] if event else retraining.all_triggers
    states = [(trigger, read_trigger(trigger, history, known, spec, day)) for trigger in triggers]
    due = [event] if event else [state.reason for _, state in states if state.reason]
    losses = [state.reason for trigger, state in states if state.reason and trigger.when == "performance"]
    others = sorted((r for r in requests if event or r.day != day), key=lambda request: request.day)
    unmended = bool(losses) and is_unmended(others, retraining, day)
    followed = follow_up(others, retraining, day) if losses else None
    reasons = [reason for reason in due if not ((unmended or followed) and reason in losses)]
    catch_up = None if event or reasons else next_catch_up(others, retraining, day)
    reasons += [catch_up] if catch_up else []
    recent = [r.day for r in others if r.day >= day - timedelta(days=retraining.cooldown_days)]
    holds = why_held(recent, others, retraining, day, known) if reasons else []
    if reasons and not (holds or event):
        drops = [d.facts.get("drop") for d in history if d.kind == "performance" and d.day == day and losses]
        holds = too_dear(drops[-1] if drops else None, retraining, day, known)
    elif losses and not reasons and followed:
        reasons, holds = losses, [*why_held(recent, others, retraining, day, known), followed]
    alarm = bool(losses) and not unmended and not followed
    facts: dict[str, object] = {
        "streaks": {trigger.text: state.streak for trigger, state in states},
        "recent_requests": [on.isoformat() for on in recent],
        "holds": holds,
        "held_back": reasons if holds else [],
        "alarm": alarm,
        "recent_days": retraining.catch_up.recent_days if alarm or catch_up else 0,
        "unmended": losses if unmended else [],
    }
    failures = [] if holds else reasons
    measured = bool(failures) or not triggers or any(state.measured for _, state in states)
    unknowns = [] if measured else [f"no declared trigger was measured on {day}"]
    return Verdict.of(RULE, failures=failures, unknowns=unknowns, facts=facts)
