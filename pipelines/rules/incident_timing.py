"""What time makes of an incident: it escalates, nears its deadline, speaks after its cause is over, or ends."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, datetime, timedelta

from pipelines.messages.incident import Incident
from pipelines.rules.incident_kinds import CAUSES_OF, INSTALLATION, KINDS
from pipelines.rules.incidents import IncidentChange, announced, resolve
from pipelines.spec.alerts import AlertsSpec

LAST_SHARE = 0.25
"""Share of the time until a deadline in which it is near."""


def judge_time(
    incident: Incident, policy: AlertsSpec, now: datetime, *, active: Collection[int], newest_day: date | None
) -> IncidentChange | None:
    """What is due for an incident at ``now``; None: nothing. ``active``: numbers of the incidents that are not over."""
    if not incident.is_active:
        return None
    if incident.quiet_until is not None:
        return _settled(incident, now, newest_day)
    ends_after = KINDS[incident.kind].ends_after
    if incident.is_history:
        ends_after = timedelta(0)
    if ends_after is not None and now - incident.last_seen >= ends_after:
        return resolve(incident, policy, now)
    if incident.inhibited_by is not None:
        if incident.inhibited_by in active:
            return None
        return announced(incident.model_copy(update={"inhibited_by": None, "announced": now}), "opened")
    if incident.status == "acknowledged":
        return None
    if incident.severity != "critical" and is_near_deadline(incident, now):
        return announced(incident.model_copy(update={"severity": "critical", "announced": now}), "worse")
    wait = escalation_wait(incident, policy)
    if wait is None or not incident.told or now - (incident.announced or incident.opened) < wait:
        return None
    return announced(incident.model_copy(update={"escalations": incident.escalations + 1}), "escalated")


def is_near_deadline(incident: Incident, now: datetime) -> bool:
    """Whether no more than a quarter of the time is left."""
    if incident.deadline is None:
        return False
    return now >= incident.deadline - LAST_SHARE * (incident.deadline - incident.opened)


def escalation_wait(incident: Incident, policy: AlertsSpec) -> timedelta | None:
    """Time since the opening after which it is told again, doubled each time; None: information never escalates."""
    waits = {
        "critical": timedelta(minutes=policy.escalation.critical_minutes),
        "warning": timedelta(hours=policy.escalation.warning_hours),
    }
    first = waits.get(incident.severity)
    return None if first is None else first * 2**incident.escalations


def find_cause(incident: Incident, others: Collection[Incident], upstream: Mapping[str, str]) -> int | None:
    """The number of the active incident that explains this one; None: there is none.

    ``upstream`` names the dataset of a model. A cause is of the model itself, of its dataset or of the installation.
    """
    about = {incident.model, upstream.get(incident.model), INSTALLATION}
    causes = [
        other.number
        for other in others
        if other.is_active
        and other.inhibited_by is None
        and other.key != incident.key
        and not other.is_history
        and other.model in about
        and other.kind in CAUSES_OF[incident.kind]
        and other.number is not None
    ]
    return min(causes, default=None)


def _settled(incident: Incident, now: datetime, newest_day: date | None) -> IncidentChange | None:
    """A replayed day that is the newest no more is history; one that stayed the newest is told."""
    if newest_day is not None and incident.day is not None and incident.day < newest_day:
        past = {"quiet_until": None, "is_history": True, "severity": "info"}
        return IncidentChange(incident=incident.model_copy(update=past))
    if incident.quiet_until is None or now < incident.quiet_until:
        return None
    return announced(incident.model_copy(update={"quiet_until": None, "announced": now}), "opened")
