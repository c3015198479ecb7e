"""One incident is one alert: a finding opens, repeats, worsens or resolves it, and says so once."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from pydantic import BaseModel, ConfigDict

from pipelines.errors import Refused
from pipelines.messages.incident import Circumstances, Event, Finding, Incident
from pipelines.spec.alerts import AlertsSpec
from pipelines.verdict import SEVERITIES, Severity

REOPENED_WITHIN = timedelta(hours=24)
"""An incident that comes back within this time is the same one."""


class IncidentChange(BaseModel):
    """The incident as it is now, and the event that people are told of; None: they are told nothing."""

    model_config = ConfigDict(frozen=True)

    incident: Incident
    event: Event | None = None


def judge_finding(
    finding: Finding, incident: Incident | None, policy: AlertsSpec, newest_day: date | None
) -> IncidentChange | None:
    """What a finding makes of the newest incident of its key; None: nothing.

    ``newest_day`` of the data that was judged of this model. A finding about a day older than ``history_days`` is
    history unless it is the newest: it is kept as information and nobody is told. About the newest day it is told once
    that day has stayed the newest for ``settle_seconds`` (``judge_time``).
    """
    if not finding.firing:
        return _cleared(finding, incident, policy)
    is_old = finding.day is not None and finding.at.date() - finding.day > timedelta(days=policy.history_days)
    is_history = is_old and newest_day is not None and finding.day is not None and finding.day < newest_day
    news = finding.model_dump(include={"what", *Circumstances.model_fields})
    if incident is not None and incident.is_active:
        if incident.quiet_until is not None and not is_history:
            news["quiet_until"] = finding.at + timedelta(seconds=policy.settle_seconds)
        return _repeated(finding, incident, news, is_history=is_history)
    news |= {
        "status": "open",
        "severity": "info" if is_history else finding.severity,
        "last_seen": finding.at,
        "opened": finding.at,
        "is_history": is_history,
        "quiet_until": finding.at + timedelta(seconds=policy.settle_seconds) if is_old and not is_history else None,
    }
    if incident is not None and incident.resolved is not None and finding.at - incident.resolved <= REOPENED_WITHIN:
        nobody = dict.fromkeys(("resolved", "acknowledged_by", "acknowledged_because", "announced"))
        began_again = {**nobody, "escalations": 0}
        counted = {"count": incident.count + 1, "reopened": (*incident.reopened, finding.at), "told": False}
        opened = incident.model_copy(update={**news, **began_again, **counted, "inhibited_by": None})
    else:
        key = finding.model_dump(include={"model", "kind"}) | {"subject": finding.subject or ""}
        opened = Incident.model_validate({**key, **news, "first_seen": finding.at})
    is_silent = is_history or opened.quiet_until is not None or is_flapping(opened, policy, finding.at)
    return announced(opened, None if is_silent else "opened")


def _repeated(finding: Finding, incident: Incident, news: dict[str, object], *, is_history: bool) -> IncidentChange:
    """An active incident is seen again: worse is told, the same is not."""
    counted: dict[str, object] = {"count": incident.count + 1, "last_seen": finding.at}
    if is_history and not incident.is_history:  # an older day says nothing about the present one
        return IncidentChange(incident=incident.model_copy(update=counted))
    if incident.is_history and not is_history:
        counted |= {"is_history": False}
    if incident.is_history or not is_worse(finding.severity, incident.severity):
        return IncidentChange(incident=incident.model_copy(update={**news, **counted}))
    worse = incident.model_copy(update={**news, **counted, "severity": finding.severity, "status": "open"})
    is_held = worse.inhibited_by is not None or worse.quiet_until is not None
    return announced(worse, None if is_held else "worse")


def _cleared(finding: Finding, incident: Incident | None, policy: AlertsSpec) -> IncidentChange | None:
    if incident is None or not incident.is_active:
        return None
    if finding.day is not None and incident.day is not None and finding.day < incident.day:
        return None  # an earlier day is well, which says nothing about the later one
    return resolve(incident, policy, finding.at)


def resolve(incident: Incident, policy: AlertsSpec, at: datetime) -> IncidentChange:
    """It is over; who was told that it began is told that it ended, unless it comes and goes."""
    over = incident.model_copy(update={"status": "resolved", "resolved": at, "inhibited_by": None, "quiet_until": None})
    speaks = incident.told and not is_flapping(incident, policy, at)
    return IncidentChange(incident=over, event="resolved" if speaks else None)


def acknowledge(incident: Incident, person: str, because: str) -> IncidentChange:
    """A person takes it; who was told hears so, and it escalates no more. ``Refused`` if it is over."""
    if not incident.is_active:
        raise Refused(f"incident {incident.number} is resolved since {incident.resolved:%Y-%m-%d %H:%M} UTC")
    if incident.status == "acknowledged":
        by = f"{incident.acknowledged_by}: {incident.acknowledged_because}"
        raise Refused(f"incident {incident.number} is acknowledged already, by {by}")
    named = {"status": "acknowledged", "acknowledged_by": person, "acknowledged_because": because}
    return IncidentChange(incident=incident.model_copy(update=named), event="acknowledged" if incident.told else None)


def announced(incident: Incident, event: Event | None) -> IncidentChange:
    return IncidentChange(
        incident=incident.model_copy(update={"told": incident.told or event is not None}), event=event
    )


def is_worse(severity: Severity, than: Severity) -> bool:
    return SEVERITIES.index(severity) > SEVERITIES.index(than)


def is_flapping(incident: Incident, policy: AlertsSpec, now: datetime) -> bool:
    """Whether it came back so often of late that its coming and going is no news."""
    since = now - timedelta(minutes=policy.flapping.minutes)
    return len([at for at in incident.reopened if at > since]) >= policy.flapping.times
