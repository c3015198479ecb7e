"""Counters of one process, their sum over processes, and the sum as Prometheus text."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Any

LATENCY_BUCKETS_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds of the latency histogram in seconds; the last bucket is +Inf."""

SUMMED = ("requests", "rows", "without_ids", "unseen", "shed")
"""Counters that are sums by labels."""

Snapshot = dict[str, Any]


class WorkerCounters:
    """Counters of one data worker since its start. Label values are bounded: no ids, no unknown names."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str, str], int] = {}
        self.rows: dict[tuple[str, str], int] = {}
        self.latency: dict[tuple[str, str], list[int]] = {}
        self.seconds: dict[tuple[str, str], float] = {}
        self.without_ids: dict[str, int] = {}
        self.unseen: dict[tuple[str, str], int] = {}
        self.shed: dict[str, int] = {}

    def count_shed(self, limit: str) -> None:
        """Count a connection or request that was given up for the sake of a limit of the listener."""
        self.shed[limit] = self.shed.get(limit, 0) + 1

    def count_request(self, model: str, version: str, code: int, rows: int, seconds: float) -> None:
        """Count one request; ``version`` is empty for a request that no version answered."""
        key = (model, version, str(code))
        self.requests[key] = self.requests.get(key, 0) + 1
        arm = (model, version)
        if rows:
            self.rows[arm] = self.rows.get(arm, 0) + rows
        if arm not in self.latency:
            self.latency[arm] = [0] * (len(LATENCY_BUCKETS_SECONDS) + 1)
            self.seconds[arm] = 0.0
        self.latency[arm][bisect_left(LATENCY_BUCKETS_SECONDS, seconds)] += 1
        self.seconds[arm] += seconds

    def count_odd_rows(self, model: str, *, has_ids: bool, unseen: Mapping[str, int] | None) -> None:
        """Count one answered request whose rows have no entity ids, and its unseen categories by column."""
        if not has_ids:
            self.without_ids[model] = self.without_ids.get(model, 0) + 1
        for column, count in (unseen or {}).items():
            self.unseen[model, column] = self.unseen.get((model, column), 0) + count

    def snapshot(self) -> Snapshot:
        return {
            "requests": [[*key, count] for key, count in self.requests.items()],
            "rows": [[*key, count] for key, count in self.rows.items()],
            "latency": [[*key, counts] for key, counts in self.latency.items()],
            "seconds": [[*key, total] for key, total in self.seconds.items()],
            "without_ids": [[model, count] for model, count in self.without_ids.items()],
            "unseen": [[*key, count] for key, count in self.unseen.items()],
            "shed": [[limit, count] for limit, count in self.shed.items()],
        }


def merge(snapshots: Iterable[Mapping[str, Any]]) -> Snapshot:
    """Sum of several snapshots."""
    summed: dict[str, dict[tuple[str, ...], int]] = {name: {} for name in SUMMED}
    latency: dict[tuple[str, ...], list[int]] = {}
    seconds: dict[tuple[str, ...], float] = {}
    dropped = 0
    for snapshot in snapshots:
        for name, sums in summed.items():
            for *key, count in snapshot.get(name, ()):
                sums[tuple(key)] = sums.get(tuple(key), 0) + count
        for *key, counts in snapshot.get("latency", ()):
            before = latency.get(tuple(key), [0] * len(counts))
            latency[tuple(key)] = [old + new for old, new in zip(before, counts, strict=True)]
        for *key, total in snapshot.get("seconds", ()):
            seconds[tuple(key)] = seconds.get(tuple(key), 0.0) + total
        dropped += snapshot.get("dropped", 0)
    return {
        **{name: [[*key, count] for key, count in sums.items()] for name, sums in summed.items()},
        "latency": [[*key, counts] for key, counts in latency.items()],
        "seconds": [[*key, total] for key, total in seconds.items()],
        "dropped": dropped,
    }


def format_labels(**values: str) -> str:
    escaped = {
        name: value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for name, value in values.items()
    }
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped.items()) + "}"


def render(merged: Snapshot, gauges: Mapping[str, tuple[str, float]]) -> str:
    """Prometheus text. ``gauges`` maps a name to its help and value."""
    lines = [
        "# HELP airworthy_requests_total Requests by model, version and HTTP status.",
        "# TYPE airworthy_requests_total counter",
    ]
    for model, version, code, count in sorted(merged["requests"]):
        lines.append(f"airworthy_requests_total{format_labels(model=model, version=version, code=code)} {count}")
    lines += ["# HELP airworthy_predictions_total Answered rows.", "# TYPE airworthy_predictions_total counter"]
    for model, version, count in sorted(merged["rows"]):
        lines.append(f"airworthy_predictions_total{format_labels(model=model, version=version)} {count}")
    lines += [
        "# HELP airworthy_request_seconds Time from the whole body to the sent answer.",
        "# TYPE airworthy_request_seconds histogram",
    ]
    totals = {(model, version): total for model, version, total in merged["seconds"]}
    for model, version, counts in sorted(merged["latency"]):
        cumulative = 0
        for bound, count in zip([*map(str, LATENCY_BUCKETS_SECONDS), "+Inf"], counts, strict=True):
            cumulative += count
            arm = format_labels(model=model, version=version, le=bound)
            lines.append(f"airworthy_request_seconds_bucket{arm} {cumulative}")
        arm = format_labels(model=model, version=version)
        lines.append(f"airworthy_request_seconds_sum{arm} {totals[(model, version)]:.9f}")
        lines.append(f"airworthy_request_seconds_count{arm} {cumulative}")
    lines += [
        "# HELP airworthy_requests_without_ids_total Answered requests whose rows have no entity ids.",
        "# TYPE airworthy_requests_without_ids_total counter",
    ]
    for model, count in sorted(merged["without_ids"]):
        lines.append(f"airworthy_requests_without_ids_total{format_labels(model=model)} {count}")
    lines += [
        "# HELP airworthy_unseen_categories_total Values of answered rows that are no known category of their column.",
        "# TYPE airworthy_unseen_categories_total counter",
    ]
    for model, column, count in sorted(merged["unseen"]):
        lines.append(f"airworthy_unseen_categories_total{format_labels(model=model, column=column)} {count}")
    lines += [
        "# HELP airworthy_shed_total Connections and requests given up for the sake of a limit.",
        "# TYPE airworthy_shed_total counter",
    ]
    for limit, count in sorted(merged["shed"]):
        lines.append(f"airworthy_shed_total{format_labels(limit=limit)} {count}")
    lines += [
        "# HELP airworthy_log_dropped_total Answered rows missing from the prediction log.",
        "# TYPE airworthy_log_dropped_total counter",
    ]
    lines.append(f"airworthy_log_dropped_total {merged['dropped']}")
    for name, (help_text, value) in gauges.items():
        lines += [f"# HELP {name} {help_text}", f"# TYPE {name} gauge", f"{name} {value:g}"]
    return "\n".join(lines) + "\n"
