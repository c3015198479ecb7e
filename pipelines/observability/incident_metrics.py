"""Incidents that are not over and messages that wait, as metrics; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from pipelines.messages.incident import Incident


def incident_metrics(incidents: Sequence[Incident], waiting: Mapping[str, int], now: datetime) -> Iterator[Metric]:
    """``incidents``: those that are not over; ``waiting``: channel to messages; ``now``: aware, for ages."""
    labels = ["model", "severity", "status"]
    count = GaugeMetricFamily("airworthy_incidents", "Incidents that are not over.", labels=labels)
    oldest = GaugeMetricFamily(
        "airworthy_incident_age_seconds", "Since the oldest incident that is not over began.", labels=labels
    )
    keys = [(incident.model, incident.severity, incident.status) for incident in incidents]
    for key, number in sorted(Counter(keys).items()):
        count.add_metric(key, number)
        began = min(each.opened for each, own in zip(incidents, keys, strict=True) if own == key)
        oldest.add_metric(key, (now - began).total_seconds())
    messages = GaugeMetricFamily(
        "airworthy_messages_waiting", "Messages that a channel has not taken yet.", labels=["channel"]
    )
    for channel, number in sorted(waiting.items()):
        messages.add_metric([channel], number)
    yield from (count, oldest, messages)
