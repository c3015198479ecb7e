"""Why a retraining that is due is not asked for now: cool-down, history, budget, cost; and what follows a loss."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from pipelines.messages.retraining import TrainingHistory
from pipelines.rules.detections import Request
from pipelines.rules.retrain_calendar import retrain_interval
from pipelines.spec.retraining import Retraining

CLOCK_DAY = timedelta(hours=24)


def why_held(
    recent: Sequence[date], others: Sequence[Request], declared: Retraining, day: date, known: TrainingHistory
) -> list[str]:
    """Why nothing is asked for on ``day``, whatever is due. ``recent``: days of requests of the same incident."""
    budget, newest = declared.budget, known.newest_day
    holds = [f"requested already on {[f'{on}' for on in recent]}"] if recent else []
    if newest is not None and (newest - day).days > declared.cooldown_days:
        holds.append(f"{day} is history: features are built up to {newest}")
    spent = [request for request in others if day - timedelta(days=budget.days) < request.day]
    if len(spent) >= budget.requests:
        holds.append(f"{len(spent)} requests in {budget.days} days >= {budget.requests} (budget.requests)")
    today = [request for request in others if request.at is not None and request.at > known.now - CLOCK_DAY]
    if len(today) >= budget.requests_a_day:
        holds.append(f"{len(today)} requests within 24 hours >= {budget.requests_a_day} (budget.requests_a_day)")
    return holds


def too_dear(drop: float | None, declared: Retraining, day: date, known: TrainingHistory) -> list[str]:
    """Why the training is not worth it: its expected gain until the next one of the calendar is below its cost.

    ``drop``: the loss against the certificate that was shown; None: what the age of the newest training costs by the
    measured slope. Empty where no price is declared or neither number is known.
    """
    price, interval = declared.price, retrain_interval(known.gains, declared.price)
    last = max((training.day for training in known.trained), default=None)
    if drop is None and interval.loss_a_day is not None and last is not None:
        drop = interval.loss_a_day * (day - last).days
    if price is None or drop is None:
        return []
    gain = drop * price.metric_unit_a_day * interval.days
    if gain >= price.training:
        return []
    return [f"it is expected to gain {gain:.3g} in {interval.days} days and costs {price.training:g} (price)"]


def is_unmended(others: Sequence[Request], declared: Retraining, day: date) -> bool:
    """Whether so many trainings after a loss, in twice the days of a catch-up, did not mend it."""
    since = day - timedelta(days=2 * declared.catch_up.for_days + declared.cooldown_days)
    after_loss = [r for r in others if since <= r.day < day and (r.alarm or r.recent_days)]
    return len(after_loss) >= declared.give_up_after


def follow_up(others: Sequence[Request], declared: Retraining, day: date) -> str | None:
    """Why a loss on ``day`` is that of an earlier request, whose catch-up goes on; None if it is another."""
    since = day - timedelta(days=declared.catch_up.for_days)
    alarms = [request.day for request in others if request.alarm and since <= request.day < day]
    return f"the loss of {alarms[-1]} is followed up every {declared.catch_up.every_days} days" if alarms else None


def next_catch_up(others: Sequence[Request], declared: Retraining, day: date) -> str | None:
    """Why ``day`` is due for another retraining after a loss; None if it is not. ``others`` ascend."""
    catch_up = declared.catch_up
    earlier = [request for request in others if request.day < day]
    alarms = [request.day for request in earlier if request.alarm]
    if not alarms or not declared.has_trigger("performance"):
        return None
    since_alarm, since_last = (day - alarms[-1]).days, (day - earlier[-1].day).days
    if since_alarm > catch_up.for_days or since_last < catch_up.every_days:
        return None
    return (
        f"{since_last} days of new rows since the last retraining, {since_alarm} since performance was detected on "
        f"{alarms[-1]}: every {catch_up.every_days} days for {catch_up.for_days} (monitoring.retraining.catch_up)"
    )
