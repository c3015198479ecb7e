"""Says in plain sentences what happened, what it affects, since when, what was done already and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import quote

from pipelines.messages.incident import Event, Incident, Notice
from pipelines.rules.incident_kinds import KINDS
from pipelines.spec.alerts import AlertsSpec
from pipelines.store_paths import report_path
from pipelines.verdict import SEVERITIES

SHOWN_LINES = 20
"""Incidents that a digest names; it counts the others."""
EVENT_WORDS: Mapping[Event, str] = {
    "opened": "",
    "updated": "",
    "worse": "worse: ",
    "escalated": "nobody took it yet: ",
    "acknowledged": "acknowledged: ",
    "resolved": "resolved: ",
}


def notice(
    channel: str, batch: int, incident_events: Sequence[tuple[Incident, Event]], policy: AlertsSpec, airflow: str
) -> Notice:
    """One message about what happened to incidents of one model, oldest first; of each only its last event.

    ``airflow`` is the address of Airflow; empty: unknown, so that links to it are paths.
    """
    last = {incident.number: (incident, event) for incident, event in incident_events}
    incidents = [incident for incident, _ in last.values()]
    worst = max((incident.severity for incident in incidents), key=SEVERITIES.index)
    if len(last) == 1:
        [(incident, event)] = last.values()
        title, body = headline(incident, event), full_text(incident, policy, airflow)
        shown = links(incident, policy, airflow)
    else:
        title = f"[{worst}] {incidents[0].model}: {len(last)} incidents"
        body, shown = _digest(list(last.values())), {}
    return Notice(
        id=f"{channel}-{batch}",
        channel=channel,
        severity=worst,
        title=title,
        body=body,
        incidents=tuple(incidents),
        events=tuple(event for _, event in last.values()),
        links=shown,
    )


def last_event(incident: Incident) -> Event:
    """What people heard last of it, by its state."""
    if not incident.is_active:
        return "resolved"
    if incident.status == "acknowledged":
        return "acknowledged"
    return "escalated" if incident.escalations else "opened"


def headline(incident: Incident, event: Event) -> str:
    """``[critical] resolved: churn: amount broke: …``, without line breaks."""
    what = " ".join(incident.what.split())
    return f"[{incident.severity}] {EVENT_WORDS[event]}{incident.model}: {what}"


def full_text(incident: Incident, policy: AlertsSpec, airflow: str) -> str:
    """A line for each question that somebody who is woken up asks; no text of others begins a line of its own."""
    kind = KINDS[incident.kind]
    taken = f"by {incident.acknowledged_by}: {incident.acknowledged_because}" if incident.acknowledged_by else ""
    lines = {
        "What": incident.what,
        "Affects": incident.affects or kind.affects,
        "Since": since(incident),
        "Ended": moment(incident.resolved) if incident.resolved else "",
        "Done already": incident.done or "nothing was changed",
        "To do": f"{kind.to_do} ({runbook(incident, policy)})",
        "Acknowledged": taken,
        "Numbers": ", ".join(f"{name} {value}" for name, value in incident.numbers.items()),
        **{name.capitalize(): link for name, link in links(incident, policy, airflow).items() if name != "runbook"},
    }
    if incident.status == "open":
        lines["Take it"] = f'airworthy incidents ack {incident.number} --why "…"'
    return "\n".join(f"{name}: {' '.join(text.split())}" for name, text in lines.items() if text)


def since(incident: Incident) -> str:
    """``2026-11-28 05:10 UTC, seen 3 times, last 05:40``."""
    text = f"{moment(incident.opened)}, seen {incident.count} times, last {moment(incident.last_seen)}"
    text = moment(incident.opened) if incident.count == 1 else text
    came_back = len(incident.reopened)
    return f"{text}; it came back {'once' if came_back == 1 else f'{came_back} times'}" if came_back else text


def moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def runbook(incident: Incident, policy: AlertsSpec) -> str:
    return f"{policy.runbooks}#{incident.kind.replace('_', '-')}"


def links(incident: Incident, policy: AlertsSpec, airflow: str) -> dict[str, str]:
    """``run``, ``report`` and ``runbook``, as far as there are."""
    shown = {}
    if incident.run:
        dag_id, _, run_id = incident.run.partition("/")
        shown["run"] = f"{airflow}/dags/{quote(dag_id)}/runs/{quote(run_id, safe='')}"
    if path := report_path(incident.report):
        shown["report"] = f"{airflow}/airworthy/store/{quote(path)}"
    return {**shown, "runbook": runbook(incident, policy)}


def _digest(incident_events: Sequence[tuple[Incident, Event]]) -> str:
    worst_first = sorted(incident_events, key=lambda pair: (-SEVERITIES.index(pair[0].severity), pair[0].number or 0))
    lines = [f"{incident.number}  {headline(incident, event)}" for incident, event in worst_first[:SHOWN_LINES]]
    if left_out := len(incident_events) - len(lines):
        lines.append(f"and {left_out} more")
    return "\n".join([*lines, f"All of them: airworthy incidents --model {incident_events[0][0].model}"])
