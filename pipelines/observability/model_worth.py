"""How often and how fast a model is renewed, how often it fails, what its answers bring and what it costs; pure.

Read from the ledger's lines and the incidents. A number that nobody measured is None, and ``missing`` says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import median

from pydantic import BaseModel, ConfigDict

from pipelines.messages.incident import Incident
from pipelines.ports import LedgerEntry
from pipelines.rules.incident_kinds import KINDS
from pipelines.spec.worth import Worth

WINDOW = timedelta(days=90)
MONTH = timedelta(days=30)
DAY = timedelta(days=1)
NOT_DECLARED = "the model declares no worth.{}"


class ModelWorth(BaseModel):
    """Numbers of the last 90 days, or of the days since the model's first line if those are fewer."""

    model_config = ConfigDict(frozen=True)

    days: float
    """Of the window; one at least, so that a rate is not that of an hour."""
    time_to_deploy_seconds: float | None
    """Of the newest release, from its training."""
    releases_a_month: float | None
    incidents_a_month: float | None
    """Warnings and critical ones, without what was found late in old data."""
    time_to_recover_seconds: float | None
    """Median from an incident's begin until it was well again, where its end is measured."""
    recovered: int = 0
    """Incidents that this median is of."""
    currency: str | None = None
    right: int | None = None
    """Right answers of the newest window that has labels, and ``wrong``: the others."""
    wrong: int | None = None
    answer_days: tuple[str, str] | None = None
    """First and last day of that window."""
    answers_value: float | None = None
    """What the right answers brought less what the wrong ones cost."""
    answers_value_a_day: float | None = None
    trainings: int = 0
    training_seconds: float | None = None
    training_cost: float | None = None
    serving_cost: float | None = None
    missing: dict[str, str] = {}
    """Name of a number that is None to what it lacks."""


def read_worth(
    lines: Sequence[LedgerEntry], incidents: Sequence[Incident], worth: Worth | None, now: datetime
) -> ModelWorth:
    """``lines``: all of the model, oldest first; ``incidents``: its own, those that are over included."""
    missing: dict[str, str] = {}
    window = min(max(now - min((line.at for line in lines), default=now), DAY), WINDOW)
    since, months = now - window, window / MONTH
    releases = [line for line in lines if line.kind == "release"]
    recent = [each for each in incidents if each.opened >= since and each.severity != "info" and not each.is_history]
    recoveries = [
        (each.resolved - each.opened).total_seconds()
        for each in recent
        if each.resolved is not None and KINDS[each.kind].ends_after is None
    ]
    if not releases:
        missing["releases"] = "no version was released"
    if not recoveries:
        missing["time_to_recover"] = "no incident has a measured end"
    return ModelWorth(
        days=window / DAY,
        time_to_deploy_seconds=_time_to_deploy(lines, releases, missing),
        releases_a_month=sum(line.at >= since for line in releases) / months if releases else None,
        incidents_a_month=len(recent) / months if lines else None,
        time_to_recover_seconds=median(recoveries) if recoveries else None,
        recovered=len(recoveries),
        currency=worth.currency if worth else None,
        **_answers(lines, worth, missing),
        **_costs(lines, releases, worth, since, now, missing),
        missing=missing,
    )


def _time_to_deploy(
    lines: Sequence[LedgerEntry], releases: Sequence[LedgerEntry], missing: dict[str, str]
) -> float | None:
    if not releases:
        return None
    newest = releases[-1]
    trained = next((line.at for line in lines if line.kind == "training" and line.version == newest.version), None)
    if trained is None:
        missing["time_to_deploy"] = f"the ledger has no training of version {newest.version}"
        return None
    return (newest.at - trained).total_seconds()


def _answers(lines: Sequence[LedgerEntry], worth: Worth | None, missing: dict[str, str]) -> dict[str, object]:
    """Of the newest day that was checked and has right answers counted."""
    verdicts = [
        line.details
        for line in lines
        if line.kind == "monitoring_verdict" and line.details.get("check") == "performance_check"
    ]
    counted = [details for details in verdicts if isinstance((details.get("facts") or {}).get("right"), int)]
    if not counted:
        missing["answers"] = "no day was checked whose right answers were counted"
        return {}
    newest = max(counted, key=lambda details: str(details.get("day")))
    facts, days = newest["facts"], [str(day) for day in newest.get("window") or [newest.get("day")]]
    right, wrong = facts["right"], facts["labelled"] - facts["right"]
    shown: dict[str, object] = {"right": right, "wrong": wrong, "answer_days": (days[0], days[-1])}
    if worth is None or worth.right_answer is None or worth.wrong_answer is None:
        missing["answers_value"] = NOT_DECLARED.format("right_answer")
        return shown
    value = right * worth.right_answer - wrong * worth.wrong_answer
    return shown | {"answers_value": value, "answers_value_a_day": value / len(days)}


def _costs(
    lines: Sequence[LedgerEntry],
    releases: Sequence[LedgerEntry],
    worth: Worth | None,
    since: datetime,
    now: datetime,
    missing: dict[str, str],
) -> dict[str, object]:
    trainings = [line for line in lines if line.kind == "training" and line.at >= since]
    timed = [line.details["seconds"] for line in trainings if isinstance(line.details.get("seconds"), int | float)]
    costs: dict[str, object] = {"trainings": len(trainings)}
    if not timed:
        missing["training_seconds"] = "no training of the window has its duration on record"
    else:
        costs["training_seconds"] = sum(timed)
        if len(timed) < len(trainings):
            missing["some_trainings"] = f"{len(trainings) - len(timed)} of {len(trainings)} have no duration on record"
    if worth is None or worth.training_hour is None:
        missing["training_cost"] = NOT_DECLARED.format("training_hour")
    elif "training_seconds" in costs:
        costs["training_cost"] = sum(timed) / 3600 * worth.training_hour
    if worth is None or worth.serving_day is None:
        missing["serving_cost"] = NOT_DECLARED.format("serving_day")
    else:
        served = (now - max(since, releases[0].at)) / DAY if releases else 0.0
        costs["serving_cost"] = served * worth.serving_day
    return costs
