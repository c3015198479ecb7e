"""Prometheus' recording and alert rules, from what the models declare under ``monitoring.serving``; pure.

Errors are judged by the speed at which they use up the budget of 30 days, over a long and a short window together, so
that an alert is both sure and over soon (Google, *The Site Reliability Workbook*, chapter 5): 14.4 times the even speed
over 1 h and 5 min (2 % of the budget), 6 times over 6 h and 30 min (5 %), 1 time over 3 days and 6 h (10 %).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pipelines.spec.serving_objective import ServingObjective

Rule = dict[str, Any]
RUNBOOK = "docs/dashboards-and-alerts.md"
RESOURCE_LIMIT = 0.8
"""Share of the memory, the CPUs or a limit of the gateway from which people are warned."""


class BurnRate(NamedTuple):
    """An alert: errors come ``factor`` times as fast as the budget allows, in both windows."""

    factor: float
    long: str
    short: str
    severity: str


BURN_RATES = (
    BurnRate(14.4, "1h", "5m", "critical"),
    BurnRate(6, "6h", "30m", "critical"),
    BurnRate(1, "3d", "6h", "warning"),
)
WINDOWS = ("5m", "30m", "1h", "6h", "3d")


def rule_groups(objectives: Mapping[str, ServingObjective]) -> dict[str, Any]:
    """The content of a rules file. ``objectives``: model to what it declares, in the order of the groups."""
    models = [
        {"name": f"airworthy-{model}", "rules": _model_alerts(model, objective)}
        for model, objective in sorted(objectives.items())
    ]
    return {
        "groups": [
            {"name": "airworthy-recorded", "interval": "15s", "rules": _recorded()},
            *models,
            {"name": "airworthy-gateway", "rules": _gateway_alerts()},
            {"name": "airworthy-installation", "rules": _installation_alerts()},
        ]
    }


def _recorded() -> list[Rule]:
    rules: list[Rule] = []
    for window in WINDOWS:
        requests = f'sum by (model) (increase(airworthy_requests_total{{model!=""}}[{window}]))'
        errors = f'sum by (model) (increase(airworthy_requests_total{{model!="",code=~"5.."}}[{window}]))'
        rules += [
            {"record": f"airworthy:requests:increase{window}", "expr": requests},
            {"record": f"airworthy:error_ratio:{window}", "expr": f"({errors} or {requests} * 0) / ({requests} > 0)"},
        ]
    buckets = 'sum by (model, version, le) (rate(airworthy_request_seconds_bucket{version!=""}[5m]))'
    by_model = 'sum by (model, le) (rate(airworthy_request_seconds_bucket{version!=""}[5m]))'
    rules += [
        {"record": f"airworthy:latency_seconds:p{quantile}", "expr": f"histogram_quantile(0.{quantile}, {buckets})"}
        for quantile in (50, 95, 99)
    ]
    rules += [
        {"record": "airworthy:model_latency_seconds:p95", "expr": f"histogram_quantile(0.95, {by_model})"},
        # The hours before the last one: what is slow now must not be its own baseline.
        {
            "record": "airworthy:model_latency_seconds:p95_baseline",
            "expr": "avg_over_time(airworthy:model_latency_seconds:p95[6h] offset 1h)",
        },
        {
            "record": "airworthy:prediction:mean5m",
            "expr": "sum by (model, version) (rate(airworthy_prediction_sum[5m]))"
            " / (sum by (model, version) (rate(airworthy_prediction_count[5m])) > 0)",
        },
        {
            "record": "airworthy:confident_share:5m",
            "expr": '1 - sum by (model, version) (rate(airworthy_prediction_bucket{le="0.9"}[5m])'
            ' - ignoring(le) rate(airworthy_prediction_bucket{le="0.1"}[5m]))'
            " / (sum by (model, version) (rate(airworthy_prediction_count[5m])) > 0)",
        },
        {
            "record": "airworthy:memory_share",
            "expr": "sum by (instance) (airworthy_process_resident_bytes) / on (instance) airworthy_memory_limit_bytes",
        },
        {
            "record": "airworthy:cpu_share:5m",
            "expr": "sum by (instance) (rate(airworthy_process_cpu_seconds_total[5m])) / on (instance) airworthy_cpus",
        },
    ]
    return rules


def _model_alerts(model: str, objective: ServingObjective) -> list[Rule]:
    of_model = f'{{model="{model}"}}'
    budget = objective.error_budget
    rules = [
        _alert(
            "ErrorBudgetBurns",
            f"airworthy:error_ratio:{burn.long}{of_model} > {burn.factor * budget:.6g}"
            f" and airworthy:error_ratio:{burn.short}{of_model} > {burn.factor * budget:.6g}"
            f" and airworthy:requests:increase{burn.short}{of_model} >= {objective.minimum_requests}",
            burn.severity,
            f"{model} fails at {burn.factor:g} times the speed that its budget of {budget:.3%} allows"
            f" ({{{{ $value | humanizePercentage }}}} of the requests of {burn.long})",
            {"model": model, "window": burn.long},
        )
        for burn in BURN_RATES
    ]
    rules.append(
        _alert(
            "ErrorsHigh",
            f"airworthy:error_ratio:5m{of_model} > {objective.max_error_rate:g}"
            f" and airworthy:requests:increase5m{of_model} >= {objective.minimum_requests}",
            "critical",
            f"{model} fails for {{{{ $value | humanizePercentage }}}} of the requests of 5 minutes;"
            f" the limit is {objective.max_error_rate:.3g}",
            {"model": model},
            wait="2m",
        )
    )
    factor = objective.latency_factor
    limit = (
        f"{objective.max_latency_p95 / 1000:g}"  # type: ignore[operator]  # a number without a factor
        if factor is None
        else f"{factor:g} * airworthy:model_latency_seconds:p95_baseline{of_model}"
    )
    rules.append(
        _alert(
            "LatencyHigh",
            f"airworthy:model_latency_seconds:p95{of_model} > {limit}"
            f" and airworthy:requests:increase5m{of_model} >= {objective.minimum_requests}",
            "critical",
            f"95 of 100 answers of {model} took up to {{{{ $value | humanizeDuration }}}};"
            f" the limit is {objective.max_latency_p95}{'' if factor else ' ms'}",
            {"model": model},
            wait="5m",
        )
    )
    return rules


def _gateway_alerts() -> list[Rule]:
    return [
        _alert("GatewayDown", 'up{job="airworthy-gateway"} == 0', "critical", "the gateway does not answer", wait="1m"),
        _alert(
            "NoWorkers",
            "airworthy_workers == 0",
            "critical",
            "the gateway has no data worker, so that nobody is answered",
            wait="1m",
        ),
        _alert(
            "MemoryHigh",
            f"airworthy:memory_share > {RESOURCE_LIMIT}",
            "warning",
            "the gateway uses {{ $value | humanizePercentage }} of its memory",
            wait="5m",
        ),
        _alert(
            "CpuHigh",
            f"airworthy:cpu_share:5m > {RESOURCE_LIMIT}",
            "warning",
            "the gateway uses {{ $value | humanizePercentage }} of its CPUs",
            wait="10m",
        ),
        _alert(
            "RequestsShed",
            "sum by (instance, limit) (increase(airworthy_shed_total[5m])) > 0",
            "warning",
            "{{ $value | humanize }} connections or requests of 5 minutes were given up for {{ $labels.limit }}",
            wait="5m",
        ),
        _alert(
            "PredictionLogBehind",
            "airworthy_log_lag_seconds > 300",
            "warning",
            "the oldest answer that is not in the prediction log is {{ $value | humanizeDuration }} old",
            wait="2m",
        ),
        _alert(
            "PredictionsLost",
            "increase(airworthy_log_dropped_total[10m]) > 0",
            "critical",
            "{{ $value | humanize }} answers of 10 minutes are missing from the prediction log",
        ),
        _alert(
            "NoWayBack",
            "airworthy_way_back == 0 and on (model) airworthy_traffic_basis_points"
            " and on (model) (airworthy_releases_total > 1)",
            "warning",
            "{{ $labels.model }} has been released before, but no former version is loaded to roll back to",
            wait="5m",
        ),
    ]


def _installation_alerts() -> list[Rule]:
    return [
        _alert("ExporterDown", 'up{job="airworthy"} == 0', "warning", "the exporter does not answer", wait="2m"),
        _alert("AirflowDown", "airworthy_airflow_up == 0", "critical", "Airflow's API does not answer", wait="1m"),
        _alert(
            "AirflowSilent",
            "airworthy_airflow_heartbeat_age_seconds > 60",
            "critical",
            "Airflow's {{ $labels.component }} gave no sign of life for {{ $value | humanizeDuration }}",
            wait="1m",
        ),
        _alert(
            "DagsBroken",
            "airworthy_airflow_import_errors > 0",
            "critical",
            "{{ $value }} files of the DAG folder cannot be read",
            wait="2m",
        ),
        _alert(
            "RunsFail",
            'sum by (dag_id) (airworthy_airflow_runs{state="failed"})'
            ' / sum by (dag_id) (airworthy_airflow_runs{state=~"failed|success"}) > 0.5'
            ' and sum by (dag_id) (airworthy_airflow_runs{state="failed"}) >= 3',
            "warning",
            "{{ $value | humanizePercentage }} of the runs of {{ $labels.dag_id }} of the last day failed",
        ),
        _alert(
            "PersonAwaited",
            "airworthy_airflow_waiting_seconds > 3600",
            "warning",
            "{{ $labels.dag_id }} has waited for a person's answer for {{ $value | humanizeDuration }}",
        ),
        _alert(
            "PerformanceLost",
            "airworthy_performance_loss_share > 0.1",
            "critical",
            "version {{ $labels.version }} of {{ $labels.model }} is {{ $value | humanizePercentage }} worse"
            " in {{ $labels.metric }} than its certificate",
        ),
    ]


def _alert(
    name: str, expression: str, severity: str, summary: str, labels: Mapping[str, str] | None = None, wait: str = "0m"
) -> Rule:
    return {
        "alert": f"Airworthy{name}",
        "expr": expression,
        "for": wait,
        "labels": {"severity": severity, **(labels or {})},
        "annotations": {"summary": summary, "runbook_url": f"{RUNBOOK}#{name.lower()}"},
    }
