"""Sums what pods have counted by its growth between two readings, so that a restarted pod takes no counts away."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

LINE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class MetricNames(msgspec.Struct, frozen=True):
    """What a server calls its counter of requests, that counter's label of the status, and its histogram of seconds."""

    requests: str
    status: str
    seconds: str
    only: tuple[str, str]
    """A label that a counted request has, and what it contains."""


GATEWAY = MetricNames("airworthy_requests_total", "code", "airworthy_request_seconds", ("model", ""))
MLSERVER = MetricNames(
    "rest_server_requests_total", "status_code", "rest_server_request_duration_seconds", ("path", "/infer")
)


class PodCounts(msgspec.Struct, array_like=True, frozen=True):
    """What one pod has counted since it started. ``slow``: answers over each limit, by the limit in milliseconds."""

    requests: int = 0
    failed: int = 0
    seconds: float = 0.0
    slow: dict[str, int] = {}

    def since(self, before: PodCounts | None) -> PodCounts:
        """What was counted after ``before``; everything if the pod began anew in between."""
        if before is None or self.requests < before.requests:
            return self
        slow = {limit: max(0, count - before.slow.get(limit, 0)) for limit, count in self.slow.items()}
        seconds = max(0.0, self.seconds - before.seconds)
        return PodCounts(self.requests - before.requests, max(0, self.failed - before.failed), seconds, slow)

    def plus(self, other: PodCounts) -> PodCounts:
        slow = {limit: self.slow.get(limit, 0) + other.slow.get(limit, 0) for limit in self.slow | other.slow}
        return PodCounts(self.requests + other.requests, self.failed + other.failed, self.seconds + other.seconds, slow)


class ArmTotals(msgspec.Struct, frozen=True):
    """What one version did in one step."""

    step: int
    version: str
    role: str
    share: int
    started: datetime | None
    counted: PodCounts = PodCounts()


def grown(
    arms: Iterable[ArmTotals], before: Mapping[str, PodCounts], now: Mapping[str, tuple[ArmTotals, PodCounts]]
) -> tuple[list[ArmTotals], dict[str, PodCounts]]:
    """``arms`` with what every pod counted since ``before``, and the readings that the next comparison begins with.

    ``now`` maps a pod to the arm that it works for and what it has counted. Pods that are gone stay remembered, since
    a pod that only did not answer this time comes back.
    """
    sums = {(arm.step, arm.version, arm.role): arm for arm in arms}
    latest = dict(before)
    for pod, (arm, reading) in now.items():
        total = sums.get((arm.step, arm.version, arm.role), arm)
        counted = total.counted.plus(reading.since(before.get(pod)))
        sums[(arm.step, arm.version, arm.role)] = msgspec.structs.replace(total, counted=counted)
        latest[pod] = reading
    return list(sums.values()), latest


def parse(text: str, limits: Sequence[float], names: MetricNames = GATEWAY) -> PodCounts:
    """A server's page of metrics. ``limits`` in milliseconds.

    Answers 2xx and 5xx count, 5xx as failed; 4xx are the callers' own. An answer is slower than a limit if it is over
    the greatest bound of the histogram that is not above the limit.
    """
    requests = failed = everything = 0
    seconds = 0.0
    below: dict[float, int] = {}
    label, contained = names.only
    for name, labels, value in _lines(text):
        if not labels.get(label) or contained not in labels[label]:
            continue
        if name == names.requests:
            requests += int(value) if labels[names.status][0] in "25" else 0
            failed += int(value) if labels[names.status][0] == "5" else 0
        elif name == f"{names.seconds}_sum":
            seconds += value
        elif name == f"{names.seconds}_count":
            everything += int(value)
        elif name == f"{names.seconds}_bucket" and labels["le"] != "+Inf":
            below[float(labels["le"])] = below.get(float(labels["le"]), 0) + int(value)
    slow = {}
    for limit in limits:
        bounds = [bound for bound in below if bound * 1000 <= limit]
        slow[f"{limit:g}"] = everything - below[max(bounds)] if bounds else everything
    return PodCounts(requests, failed, seconds, slow)


def _lines(text: str) -> Iterable[tuple[str, dict[str, str], float]]:
    for line in text.splitlines():
        match = None if line.startswith("#") else LINE.fullmatch(line)
        if match is not None:
            yield match[1], dict(LABEL.findall(match[2] or "")), float(match[3])
