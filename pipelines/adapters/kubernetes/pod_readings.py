"""Sums pods' counters by their growth between two readings, so that a restarted pod loses no counts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

METRIC_LINE_PATTERN = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
METRIC_LABEL_PATTERN = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


REQUESTS_METRIC, SECONDS_METRIC = "airworthy_requests_total", "airworthy_request_seconds"
"""The gateway's counter of requests by status (label ``code``), and its histogram of seconds."""


class PodCounts(msgspec.Struct, array_like=True, frozen=True):
    """What one pod has counted since it started. ``slow``: answers over each limit, by the limit in milliseconds."""

    requests: int = 0
    failed: int = 0
    seconds: float = 0.0
    slow: dict[str, int] = {}

    def since(self, before: PodCounts | None) -> PodCounts:
        """Counts after ``before``; all counts if the pod restarted in between."""
        if before is None or self.requests < before.requests:
            return self
        slow = {limit: max(0, count - before.slow.get(limit, 0)) for limit, count in self.slow.items()}
        seconds = max(0.0, self.seconds - before.seconds)
        return PodCounts(self.requests - before.requests, max(0, self.failed - before.failed), seconds, slow)

    def plus(self, other: PodCounts) -> PodCounts:
        slow = {limit: self.slow.get(limit, 0) + other.slow.get(limit, 0) for limit in self.slow | other.slow}
        return PodCounts(self.requests + other.requests, self.failed + other.failed, self.seconds + other.seconds, slow)


class ArmTotals(msgspec.Struct, frozen=True):
    """Counts of one version in one role in one stage of a rollout."""

    step: int
    version: str
    role: str
    share: int
    started: datetime | None
    counted: PodCounts = PodCounts()


def add_counter_growth(
    arms: Iterable[ArmTotals], before: Mapping[str, PodCounts], now: Mapping[str, tuple[ArmTotals, PodCounts]]
) -> tuple[list[ArmTotals], dict[str, PodCounts]]:
    """``arms`` with what every pod counted since ``before``, and the readings that the next comparison begins with.

    ``now`` maps a pod to its arm and its counters. Readings of missing pods are kept, because a pod that did not answer
    this time may answer again.
    """
    sums = {(arm.step, arm.version, arm.role): arm for arm in arms}
    latest = dict(before)
    for pod, (arm, reading) in now.items():
        total = sums.get((arm.step, arm.version, arm.role), arm)
        counted = total.counted.plus(reading.since(before.get(pod)))
        sums[(arm.step, arm.version, arm.role)] = msgspec.structs.replace(total, counted=counted)
        latest[pod] = reading
    return list(sums.values()), latest


def parse_metrics(text: str, limits: Sequence[float]) -> PodCounts:
    """A gateway's page of metrics: the requests of models. ``limits`` in milliseconds.

    Answers 2xx and 5xx count, 5xx as failed; 4xx are callers' errors. An answer is slower than a limit if it exceeds
    the largest histogram bound that is not above the limit.
    """
    requests = failed = answers = 0
    seconds = 0.0
    below: dict[float, int] = {}
    for name, labels, value in _metric_lines(text):
        if not labels.get("model"):
            continue
        if name == REQUESTS_METRIC:
            requests += int(value) if labels["code"][0] in "25" else 0
            failed += int(value) if labels["code"][0] == "5" else 0
        elif name == f"{SECONDS_METRIC}_sum":
            seconds += value
        elif name == f"{SECONDS_METRIC}_count":
            answers += int(value)
        elif name == f"{SECONDS_METRIC}_bucket" and labels["le"] != "+Inf":
            below[float(labels["le"])] = below.get(float(labels["le"]), 0) + int(value)
    slow = {}
    for limit in limits:
        bounds = [bound for bound in below if bound * 1000 <= limit]
        slow[f"{limit:g}"] = answers - below[max(bounds)] if bounds else answers
    return PodCounts(requests, failed, seconds, slow)


def _metric_lines(text: str) -> Iterable[tuple[str, dict[str, str], float]]:
    for line in text.splitlines():
        match = None if line.startswith("#") else METRIC_LINE_PATTERN.fullmatch(line)
        if match is not None:
            yield match[1], dict(METRIC_LABEL_PATTERN.findall(match[2] or "")), float(match[3])
