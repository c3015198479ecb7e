"""Sends what waits in the outbox: each channel by one sender at a time, in order, again after a failure or a crash."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from pipelines.errors import AirworthyError
from pipelines.incidents.record import take
from pipelines.messages.incident import Finding, OutboxMessage
from pipelines.ports import Ports
from pipelines.rules.incident_kinds import INSTALLATION, KINDS
from pipelines.rules.incident_text import notice

LEASE = timedelta(seconds=90)
"""For how long a channel belongs to its sender; longer than one message may take."""
SILENT_AFTER = 3
"""Failures in a row after which a channel is an incident itself, told by the others."""
log = logging.getLogger(__name__)


def deliver(ports: Ports, holder: str, *, airflow: str) -> int:
    """Send all that is due to every channel; returns how many messages were taken.

    ``holder`` names this sender, differently for each process; ``airflow`` is the address for links. A channel that
    fails rests and keeps its messages; the others go on.
    """
    return sum(_deliver_to(channel, ports, holder, airflow) for channel in ports.catalog.alerts.channels)


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
