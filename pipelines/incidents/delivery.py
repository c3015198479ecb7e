"""Sends what waits in the outbox: each channel by one sender at a time, in order, again after a failure or a crash."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol, runtime_checkable

from pipelines.errors import AirworthyError
from pipelines.incidents.record import take
from pipelines.messages.incident import Finding, Notice, OutboxMessage
from pipelines.ports import Ports
from pipelines.rules.incident_kinds import INSTALLATION, KINDS
from pipelines.rules.incident_text import last_event, notice

LEASE = timedelta(seconds=90)
"""For how long a channel belongs to its sender; longer than one message may take."""
REPEATED_FOR = timedelta(hours=1)
"""For how long a service that forgets is told again that an incident is over."""
SILENT_AFTER = 3
"""Failures in a row after which a channel is an incident itself, told by the others."""
log = logging.getLogger(__name__)


@runtime_checkable
class ForgetfulNotifier(Protocol):
    """A channel whose service loses what it was sent when it restarts, so that all of it is sent again and again."""

    def repeat(self, notices: Sequence[Notice]) -> None:
        """One notice for each incident, as it is now; it changes nothing that the service has not lost."""
        ...


def deliver(ports: Ports, holder: str, *, airflow: str) -> int:
    """Send all that is due to every channel; returns how many messages were taken.

    ``holder`` names this sender, differently for each process; ``airflow`` is the address for links. A channel that
    fails rests and keeps its messages; the others go on.
    """
    channels = ports.catalog.alerts.channels
    taken = sum(_deliver_to(channel, ports, holder, airflow) for channel in channels)
    for channel in channels:
        if channels[channel].forgets:
            _repeat_to(channel, ports, airflow)
    return taken


def _deliver_to(channel: str, ports: Ports, holder: str, airflow: str) -> int:
    taken = 0
    pause = timedelta(seconds=ports.catalog.alerts.digest_seconds)
    while messages := ports.incidents.claim(channel, holder, ports.clock(), lease=LEASE, pause=pause):
        try:
            _send(messages, ports, airflow)
        except AirworthyError as error:
            failures = ports.incidents.failed(channel, str(error), now=ports.clock())
            log.warning("channel %s did not take %d message(s): %s", channel, len(messages), error)
            if failures >= SILENT_AFTER:
                take(ports, [_silence(channel, ports, f"it refused {failures} times: {error}")])
            return taken
        ports.incidents.sent(channel, messages[0].batch or messages[0].number, ports.clock())
        taken += 1
    if taken:
        take(ports, [_silence(channel, ports, "")])
    return taken


def _send(messages: Sequence[OutboxMessage], ports: Ports, airflow: str) -> None:
    """One notice about all of them, with the incidents as they are now."""
    numbers = {message.incident for message in messages}
    with ports.incidents.change() as changes:
        incidents = {number: changes.get(number) for number in sorted(numbers)}
    pairs = [(incidents[message.incident], message.event) for message in messages]
    incident_events = [(incident, event) for incident, event in pairs if incident is not None]
    channel, batch = messages[0].channel, messages[0].batch or messages[0].number
    ports.notifier(channel).send(notice(channel, batch, incident_events, ports.catalog.alerts, airflow))


def _repeat_to(channel: str, ports: Ports, airflow: str) -> None:
    """Tell a service that forgets again what it heard, also of what ended of late: a repeat may overtake an end."""
    incidents = ports.incidents.told(channel, ports.clock() - REPEATED_FOR)
    policy = ports.catalog.alerts
    notices = [notice(channel, each.number or 0, [(each, last_event(each))], policy, airflow) for each in incidents]
    try:
        if notices and isinstance(notifier := ports.notifier(channel), ForgetfulNotifier):
            notifier.repeat(notices)
    except AirworthyError as error:
        log.warning("channel %s was not told again of %d incident(s): %s", channel, len(notices), error)


def _silence(channel: str, ports: Ports, what: str) -> Finding:
    """Fires while a channel takes nothing."""
    kind = KINDS["channel_silent"]
    return Finding(
        model=INSTALLATION,
        kind="channel_silent",
        subject=channel,
        firing=bool(what),
        at=ports.clock(),
        severity=kind.severity,
        what=f"channel {channel} takes no messages: {what}",
        affects=kind.affects,
        done="its messages are kept and tried again",
    )
