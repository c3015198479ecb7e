"""What Airflow's API says of its health, its runs and the people it waits for, as metrics; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

Json = Mapping[str, Any]


def airflow_metrics(
    health: Json, runs: Sequence[Json], requests: Sequence[Json], import_errors: int, now: datetime
) -> Iterator[Metric]:
    """``health``: the answer of ``/monitor/health``; ``runs``: of the last day; ``requests``: the unanswered ones.

    ``now``: aware, for ages.
    """
    heartbeat = GaugeMetricFamily(
        "airworthy_airflow_heartbeat_age_seconds",
        "Since a part of Airflow last gave a sign of life.",
        labels=["component"],
    )
    for component, facts in sorted(health.items()):
        beats = [value for name, value in (facts or {}).items() if name.startswith("latest_") and value]
        if beats:
            heartbeat.add_metric([component], _age(max(beats), now))
    yield heartbeat
    errors = GaugeMetricFamily("airworthy_airflow_import_errors", "Files of the DAG folder that cannot be read.")
    errors.add_metric([], import_errors)
    yield errors
    yield from _runs(runs)
    waiting = GaugeMetricFamily(
        "airworthy_airflow_waiting_seconds", "Since the oldest unanswered request for a person.", labels=["dag_id"]
    )
    count = GaugeMetricFamily(
        "airworthy_airflow_waiting_requests", "Unanswered requests for a person.", labels=["dag_id"]
    )
    oldest: dict[str, float] = {}
    numbers: Counter[str] = Counter()
    for request in requests:
        dag_id = request["task_instance"]["dag_id"]
        numbers[dag_id] += 1
        oldest[dag_id] = max(oldest.get(dag_id, 0.0), _age(request["created_at"], now))
    for dag_id, seconds in sorted(oldest.items()):
        waiting.add_metric([dag_id], seconds)
        count.add_metric([dag_id], numbers[dag_id])
    yield from (waiting, count)


def _runs(runs: Sequence[Json]) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "airworthy_airflow_runs",
        "Runs of the last day by state, running and queued ones included.",
        labels=["dag_id", "state"],
    )
    seconds = GaugeMetricFamily(
        "airworthy_airflow_run_seconds", "Duration of the newest run that ended.", labels=["dag_id"]
    )
    states = Counter((run["dag_id"], run["state"]) for run in runs)
    for (dag_id, state), count in sorted(states.items()):
        family.add_metric([dag_id, state], count)
    newest: dict[str, tuple[str, float]] = {}
    for run in runs:
        if run.get("start_date") and run.get("end_date"):
            began, ended = (datetime.fromisoformat(run[name]) for name in ("start_date", "end_date"))
            candidate = (run["end_date"], (ended - began).total_seconds())
            newest[run["dag_id"]] = max(newest.get(run["dag_id"], ("", 0.0)), candidate)
    for dag_id, (_, duration) in sorted(newest.items()):
        seconds.add_metric([dag_id], duration)
    yield from (family, seconds)


def _age(moment: str, now: datetime) -> float:
    return max(0.0, (now - datetime.fromisoformat(moment)).total_seconds())
