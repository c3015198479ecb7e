"""A Prometheus Alertmanager, which groups, routes, silences and inhibits by itself; one alert an incident."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from pipelines.errors import Refused, Unavailable
from pipelines.messages.incident import Event, Incident, Notice
from pipelines.verdict import SEVERITIES

SECONDS = 10
OPEN_UNTIL = timedelta(days=365)
"""End of an alert that is not over: Alertmanager would end one without an end after five minutes."""


class AlertmanagerNotifier:
    """Posts to ``<url>/api/v2/alerts``. An alert is known by its labels, so that a repeat changes nothing."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def send(self, notice: Notice) -> None:
        """``Unavailable`` if it does not answer, ``Refused`` if it does not take the alerts."""
        self._post(_alerts(notice))

    def repeat(self, notices: Sequence[Notice]) -> None:
        """The same of several, for an Alertmanager keeps its alerts in memory alone."""
        self._post([posted for notice in notices for posted in _alerts(notice)])

    def _post(self, alerts: list[dict[str, Any]]) -> None:
        import httpx

        try:
            answer = httpx.post(f"{self._url}/api/v2/alerts", json=alerts, timeout=SECONDS)
        except httpx.HTTPError as error:
            raise Unavailable(f"the Alertmanager at {self._url} does not answer: {error}") from error
        if answer.is_server_error:
            raise Unavailable(f"the Alertmanager at {self._url} answered {answer.status_code}")
        if answer.is_error:
            raise Refused(f"the Alertmanager at {self._url} refused {len(alerts)} alert(s)", [answer.text[:200]])


def _alerts(notice: Notice) -> list[dict[str, Any]]:
    return [
        posted
        for incident, event in zip(notice.incidents, notice.events, strict=True)
        for posted in [*_less_severe(incident, event, notice), alert(incident, event, notice)]
    ]


def alert(incident: Incident, event: Event, notice: Notice) -> dict[str, Any]:
    """The alert of one incident: labels to route by, annotations to read."""
    labels = {
        "alertname": incident.kind,
        "model": incident.model,
        "subject": incident.subject,
        "severity": incident.severity,
        "incident": str(incident.number),
    }
    ends = incident.resolved if incident.resolved is not None else incident.opened + OPEN_UNTIL
    return {
        "labels": labels,
        "annotations": {"summary": incident.what, "event": event, "done": incident.done, **notice.links},
        "startsAt": _text(incident.opened),
        "endsAt": _text(ends),
    }


def _less_severe(incident: Incident, event: Event, notice: Notice) -> list[dict[str, Any]]:
    """Ends of the alerts that it was before it became worse: the severity is one of their labels."""
    lesser = SEVERITIES[: SEVERITIES.index(incident.severity)] if event == "worse" else ()
    over = {"resolved": incident.last_seen}
    return [alert(incident.model_copy(update={**over, "severity": severity}), event, notice) for severity in lesser]


def _text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
