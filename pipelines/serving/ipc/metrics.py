"""Counters of one process, their sum over processes, and the sum as Prometheus text."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from math import fsum, isfinite
from typing import Any

LATENCY_BUCKETS_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds of the latency histogram in seconds; the last bucket is +Inf."""

ROWS_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""Upper bounds of the histogram of rows in one request."""
PROBABILITY_BUCKETS = tuple(tenth / 10 for tenth in range(1, 11))
"""Upper bounds of the histogram of predicted probabilities."""
_MAGNITUDES = tuple(factor * 10.0**power for power in range(-1, 4) for factor in (1, 2, 5))
VALUE_BUCKETS = (*(-bound for bound in reversed(_MAGNITUDES)), 0.0, *_MAGNITUDES)
"""Upper bounds of the histogram of predictions that are no probabilities: 0 and plus or minus 0.1, 0.2, 0.5 to 5000."""
SLOWEST_SECONDS = 30.0
"""The slowest request is that of the last one to two of such periods."""

SUMMED = ("requests", "rows", "without_ids", "unseen", "shed", "cache_hits", "seconds", "prediction_sum")
"""Counters that are sums by labels."""
HISTOGRAMS = ("latency", "batches", "probabilities", "values")
"""Counts by bucket by model and version."""

Snapshot = dict[str, Any]


class WorkerCounters:
    """Counters of one data worker since its start. Label values are bounded: no ids, no unknown names."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str, str], int] = {}
        self.rows: dict[tuple[str, str], int] = {}
        self.latency: dict[tuple[str, str], list[int]] = {}
        self.seconds: dict[tuple[str, str], float] = {}
        self.batches: dict[tuple[str, str], list[int]] = {}
        self.probabilities: dict[tuple[str, str], list[int]] = {}
        self.values: dict[tuple[str, str], list[int]] = {}
        self.prediction_sum: dict[tuple[str, str], float] = {}
        self.without_ids: dict[tuple[str], int] = {}
        self.unseen: dict[tuple[str, str], int] = {}
        self.shed: dict[tuple[str], int] = {}
        self.cache_hits: dict[tuple[str, str], int] = {}
        self._slowest: dict[tuple[str, str], float] = {}
        self._slowest_before: dict[tuple[str, str], float] = {}
        self._period_began = 0.0

    def count_shed(self, limit: str) -> None:
        """Count a connection or request that was given up for the sake of a limit of the listener."""
        self.shed[limit,] = self.shed.get((limit,), 0) + 1

    def count_request(self, model: str, version: str, code: int, rows: int, seconds: float) -> None:
        """Count one request; ``version`` is empty for a request that no version answered."""
        key = (model, version, str(code))
        self.requests[key] = self.requests.get(key, 0) + 1
        arm = (model, version)
        latency = self.latency.get(arm)
        if latency is None:
            latency = self.latency[arm] = [0] * (len(LATENCY_BUCKETS_SECONDS) + 1)
            self.seconds[arm] = self._slowest[arm] = 0.0
        latency[bisect_left(LATENCY_BUCKETS_SECONDS, seconds)] += 1
        self.seconds[arm] += seconds
        if seconds > self._slowest.get(arm, 0.0):
            self._slowest[arm] = seconds
        if rows:
            self.rows[arm] = self.rows.get(arm, 0) + rows
            batches = self.batches.get(arm)
            if batches is None:
                batches = self.batches[arm] = [0] * (len(ROWS_BUCKETS) + 1)
            batches[bisect_left(ROWS_BUCKETS, rows)] += 1

    def count_predictions(self, model: str, version: str, output: str, predictions: Sequence[float]) -> None:
        """Count the predictions of one answer by bucket. ``output``: ``probability`` or ``value``."""
        arm = (model, version)
        is_probability = output == "probability"
        bounds = PROBABILITY_BUCKETS if is_probability else VALUE_BUCKETS
        histograms = self.probabilities if is_probability else self.values
        counts = histograms.get(arm)
        if counts is None:
            counts = histograms[arm] = [0] * (len(bounds) + 1)
            self.prediction_sum[arm] = 0.0
        for prediction in predictions:
            counts[bisect_left(bounds, prediction)] += 1
        total = fsum(predictions)
        if isfinite(total):  # one NaN would stay in the sum for ever
            self.prediction_sum[arm] += total

    def count_cache_hit(self, model: str, version: str) -> None:
        """Count one request that was answered from the response cache."""
        self.cache_hits[model, version] = self.cache_hits.get((model, version), 0) + 1

    def count_odd_rows(self, model: str, *, has_ids: bool, unseen: Mapping[str, int] | None) -> None:
        """Count one answered request whose rows have no entity ids, and its unseen categories by column."""
        if not has_ids:
            self.without_ids[model,] = self.without_ids.get((model,), 0) + 1
        for column, count in (unseen or {}).items():
            self.unseen[model, column] = self.unseen.get((model, column), 0) + count

    def snapshot(self, now: float) -> Snapshot:
        """All counters, as lists of labels and count. ``now``: monotonic seconds, for the slowest request."""
        if now - self._period_began >= SLOWEST_SECONDS:
            stale = now - self._period_began >= 2 * SLOWEST_SECONDS
            self._slowest_before = {} if stale else self._slowest
            self._slowest, self._period_began = {}, now
        slowest = {arm: max(self._slowest.get(arm, 0.0), self._slowest_before.get(arm, 0.0)) for arm in self.latency}
        counters = {name: getattr(self, name) for name in (*SUMMED, *HISTOGRAMS)} | {"slowest": slowest}
        return {name: [[*key, count] for key, count in counts.items()] for name, counts in counters.items()}


def merge(snapshots: Iterable[Mapping[str, Any]]) -> Snapshot:
    """Sum of several snapshots, and the slowest request of all."""
    summed: dict[str, dict[tuple[str, ...], float]] = {name: {} for name in SUMMED}
    histograms: dict[str, dict[tuple[str, ...], list[int]]] = {name: {} for name in HISTOGRAMS}
    slowest: dict[tuple[str, ...], float] = {}
    dropped = 0
    for snapshot in snapshots:
        for name, sums in summed.items():
            for *key, count in snapshot.get(name, ()):
                sums[tuple(key)] = sums.get(tuple(key), 0) + count
        for name, by_arm in histograms.items():
            for *key, counts in snapshot.get(name, ()):
                before = by_arm.get(tuple(key), [0] * len(counts))
                by_arm[tuple(key)] = [old + new for old, new in zip(before, counts, strict=True)]
        for *key, seconds in snapshot.get("slowest", ()):
            slowest[tuple(key)] = max(slowest.get(tuple(key), 0.0), seconds)
        dropped += snapshot.get("dropped", 0)
    counters: dict[str, Mapping[tuple[str, ...], Any]] = {**summed, **histograms, "slowest": slowest}
    lists = {name: [[*key, count] for key, count in counts.items()] for name, counts in counters.items()}
    return {**lists, "dropped": dropped}


def format_labels(**values: str) -> str:
    escaped = {
        name: value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for name, value in values.items()
    }
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped.items()) + "}"


COUNTERS = {
    "requests": ("airworthy_requests_total", ("model", "version", "code"), "Requests by model, version and status."),
    "rows": ("airworthy_predictions_total", ("model", "version"), "Answered rows."),
    "cache_hits": ("airworthy_cache_hits_total", ("model", "version"), "Requests answered from the response cache."),
    "without_ids": (
        "airworthy_requests_without_ids_total",
        ("model",),
        "Answered requests whose rows have no entity ids.",
    ),
    "unseen": (
        "airworthy_unseen_categories_total",
        ("model", "column"),
        "Values of answered rows that are no known category of their column.",
    ),
    "shed": ("airworthy_shed_total", ("limit",), "Connections and requests given up for the sake of a limit."),
}
"""Key of a snapshot to its metric's name, labels and help."""


def render(merged: Snapshot, gauges: Mapping[str, tuple[str, float]]) -> str:
    """Prometheus text. ``gauges`` maps a name to its help and value."""
    lines: list[str] = []
    for key, (name, labels, help_text) in COUNTERS.items():
        lines += metric_head(name, "counter", help_text)
        for *values, count in sorted(merged[key]):
            lines.append(f"{name}{format_labels(**dict(zip(labels, values, strict=True)))} {count}")
    seconds = {tuple(arm): total for *arm, total in merged["seconds"]}
    rows = {tuple(arm): total for *arm, total in merged["rows"]}
    sums = {tuple(arm): total for *arm, total in merged["prediction_sum"]}
    lines += metric_head("airworthy_request_seconds", "histogram", "Time from the whole body to the sent answer.")
    lines += _histogram("airworthy_request_seconds", LATENCY_BUCKETS_SECONDS, merged["latency"], seconds)
    slowest = "airworthy_request_seconds_max"
    lines += metric_head(slowest, "gauge", "Time of the slowest request of the last half to whole minute.")
    lines += [f"{slowest}{_arm(*arm)} {longest:.9f}" for *arm, longest in sorted(merged["slowest"])]
    lines += metric_head("airworthy_request_rows", "histogram", "Rows of one answered request.")
    lines += _histogram("airworthy_request_rows", ROWS_BUCKETS, merged["batches"], rows)
    lines += metric_head("airworthy_prediction", "histogram", "Predictions: probabilities, or values of a regression.")
    lines += _histogram("airworthy_prediction", PROBABILITY_BUCKETS, merged["probabilities"], sums)
    lines += _histogram("airworthy_prediction", VALUE_BUCKETS, merged["values"], sums)
    lines += metric_head("airworthy_log_dropped_total", "counter", "Answered rows missing from the prediction log.")
    lines.append(f"airworthy_log_dropped_total {merged['dropped']}")
    for name, (help_text, value) in gauges.items():
        lines += [*metric_head(name, "gauge", help_text), f"{name} {value:g}"]
    return "\n".join(lines) + "\n"


def metric_head(name: str, kind: str, help_text: str) -> list[str]:
    """The lines before a metric's values."""
    return [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]


def _arm(model: str, version: str, **more: str) -> str:
    return format_labels(model=model, version=version, **more)


def _histogram(
    name: str, bounds: Sequence[float], counts_by_arm: list[Any], sums: Mapping[tuple[str, ...], float]
) -> list[str]:
    """Cumulative buckets, sum and count of each model and version."""
    lines = []
    for model, version, counts in sorted(counts_by_arm):
        cumulative = 0
        for bound, count in zip([*(f"{bound:g}" for bound in bounds), "+Inf"], counts, strict=True):
            cumulative += count
            lines.append(f"{name}_bucket{_arm(model, version, le=bound)} {cumulative}")
        lines.append(f"{name}_sum{_arm(model, version)} {sums[model, version]:.9f}")
        lines.append(f"{name}_count{_arm(model, version)} {cumulative}")
    return lines
