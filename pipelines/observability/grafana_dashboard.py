"""The Grafana dashboard as code; `python -m` this module writes ``deploy/monitoring/dashboard.json``.

Every model is a value of one variable, so that a new model needs no new dashboard.
"""

from __future__ import annotations

import itertools
import json
from typing import Any, NamedTuple

from pipelines.settings import REPOSITORY

FILE = REPOSITORY / "deploy" / "monitoring" / "dashboard.json"
MODEL = '{model=~"$model"}'
PANEL_HEIGHT, PANEL_SPAN = 7, 8
"""A row of the page is 24 wide, so that three panels stand side by side."""


class Panel(NamedTuple):
    """One chart. ``queries``: legend to expression."""

    title: str
    unit: str
    queries: dict[str, str]
    description: str = ""


ROWS: dict[str, tuple[Panel, ...]] = {
    "Answers": (
        Panel(
            "Requests per second", "reqps", {"{{model}}": f"sum by (model) (rate(airworthy_requests_total{MODEL}[5m]))"}
        ),
        Panel("Errors", "percentunit", {"{{model}}": f"airworthy:error_ratio:5m{MODEL}"}, "Share of 5xx in 5 minutes."),
        Panel(
            "Latency",
            "s",
            {
                f"{{{{model}}}} {{{{version}}}} p{quantile}": f"airworthy:latency_seconds:p{quantile}{MODEL}"
                for quantile in (50, 95, 99)
            }
            | {"{{model}} {{version}} slowest": f"airworthy_request_seconds_max{MODEL}"},
        ),
        Panel(
            "Traffic by version",
            "percentunit",
            {"{{model}} {{version}}": f"airworthy_traffic_basis_points{MODEL} / 10000"},
            "What a rollout sends to each version.",
        ),
        Panel(
            "Rows in a request",
            "short",
            {
                "{{model}}": f"sum by (model) (rate(airworthy_request_rows_sum{MODEL}[5m]))"
                f" / sum by (model) (rate(airworthy_request_rows_count{MODEL}[5m]))"
            },
        ),
        Panel("Way back", "bool_yes_no", {"{{model}}": f"airworthy_way_back{MODEL}"}, "A former version is loaded."),
    ),
    "Predictions": (
        Panel("Mean prediction", "short", {"{{model}} {{version}}": f"airworthy:prediction:mean5m{MODEL}"}),
        Panel(
            "Confident answers",
            "percentunit",
            {"{{model}} {{version}}": f"airworthy:confident_share:5m{MODEL}"},
            "Share of probabilities up to 0.1 or above 0.9.",
        ),
        Panel(
            "Unknown categories per second",
            "short",
            {"{{model}} {{column}}": f"sum by (model, column) (rate(airworthy_unseen_categories_total{MODEL}[5m]))"},
        ),
        Panel(
            "Performance",
            "short",
            {"{{model}} {{version}} {{metric}} {{of}}": f"airworthy_performance{MODEL}"},
            "The newest window beside the certificate.",
        ),
        Panel("Columns that differ", "short", {"{{model}} {{kind}}": f"airworthy_drift_columns{MODEL}"}),
        Panel("Since the last verdict", "s", {"{{model}} {{check}}": f"airworthy_monitoring_age_seconds{MODEL}"}),
    ),
    "Life cycle": (
        Panel(
            "Releases, rollbacks, retrainings",
            "short",
            {
                "{{model}} released": f"airworthy_releases_total{MODEL}",
                "{{model}} rolled back": f"airworthy_rollbacks_total{MODEL}",
                "{{model}} retrainings": f"airworthy_retrain_requests_total{MODEL}",
            },
        ),
        Panel("From training to release", "s", {"{{model}}": f"airworthy_time_to_deploy_seconds{MODEL}"}),
        Panel("Since the newest release", "s", {"{{model}}": f"airworthy_release_age_seconds{MODEL}"}),
        Panel("Incidents", "short", {"{{model}} {{severity}} {{status}}": f"airworthy_incidents{MODEL}"}),
        Panel("Runs of the last day", "short", {"{{dag_id}} {{state}}": "airworthy_airflow_runs"}),
        Panel("Waiting for a person", "s", {"{{dag_id}}": "airworthy_airflow_waiting_seconds"}),
        Panel("Airflow's heartbeats", "s", {"{{component}}": "airworthy_airflow_heartbeat_age_seconds"}),
    ),
    "Worth": (
        Panel(
            "Releases and incidents a month",
            "short",
            {
                "{{model}} releases": f"airworthy_releases_a_month{MODEL}",
                "{{model}} incidents": f"airworthy_incidents_a_month{MODEL}",
            },
            "In 30 days, over the last 90; warnings and critical incidents.",
        ),
        Panel("Time to recover", "s", {"{{model}}": f"airworthy_time_to_recover_seconds{MODEL}"}, "Median of 90 days."),
        Panel(
            "Right and wrong answers",
            "short",
            {"{{model}} {{outcome}}": f"airworthy_labelled_answers{MODEL}"},
            "Of the newest labelled window.",
        ),
        Panel(
            "Value of the answers a day",
            "short",
            {"{{model}} {{currency}}": f"airworthy_answers_value_a_day{MODEL}"},
            "What right answers bring less what wrong ones cost.",
        ),
        Panel(
            "Cost of 90 days",
            "short",
            {
                "{{model}} training {{currency}}": f"airworthy_training_cost{MODEL}",
                "{{model}} serving {{currency}}": f"airworthy_serving_cost{MODEL}",
            },
        ),
        Panel("Time in training", "s", {"{{model}}": f"airworthy_training_seconds{MODEL}"}, "Of the last 90 days."),
    ),
    "Gateway": (
        Panel("Memory", "percentunit", {"{{instance}}": "airworthy:memory_share"}),
        Panel("CPU", "percentunit", {"{{instance}}": "airworthy:cpu_share:5m"}),
        Panel("Prediction log's lag", "s", {"{{instance}}": "airworthy_log_lag_seconds"}),
        Panel("Shed per second", "short", {"{{limit}}": "sum by (limit) (rate(airworthy_shed_total[5m]))"}),
        Panel("Answers missing from the log", "short", {"{{instance}}": "airworthy_log_dropped_total"}),
        Panel("Connections", "short", {"{{instance}}": "airworthy_connections"}),
    ),
}


def queries() -> list[str]:
    """Every expression of the dashboard."""
    return [query for panels in ROWS.values() for panel in panels for query in panel.queries.values()]


def dashboard_json() -> str:
    """The dashboard as Grafana imports it."""
    from grafana_foundation_sdk.builders import dashboard
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh

    source = DataSourceRef(type_val="prometheus", uid="$datasource")
    model = (
        dashboard.QueryVariable("model")
        .label("Model")
        .datasource(source)
        .query("label_values(airworthy_requests_total, model)")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )
    page = (
        dashboard.Dashboard("Airworthy")
        .uid("airworthy")
        .tags(["airworthy"])
        .description("Answers, predictions, life cycle and gateway of every model.")
        .time("now-3h", "now")
        .refresh("30s")
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(model)
    )
    numbers = itertools.count(1)
    for title, panels in ROWS.items():
        page = page.with_row(dashboard.Row(title).id(next(numbers)))
        for panel in panels:
            page = page.with_panel(_chart(panel, source).id(next(numbers)))
    return json.dumps(page.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _chart(panel: Panel, source: Any) -> Any:
    from grafana_foundation_sdk.builders import prometheus, timeseries

    chart = timeseries.Panel().title(panel.title).unit(panel.unit).datasource(source)
    chart = chart.height(PANEL_HEIGHT).span(PANEL_SPAN)
    if panel.unit != "short":  # shares and times start at zero, counts and predictions where they are
        chart = chart.min(0)
    if panel.description:
        chart = chart.description(panel.description)
    for number, (legend, expression) in enumerate(panel.queries.items()):
        query = prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(chr(ord("A") + number))
        chart = chart.with_target(query)
    return chart


if __name__ == "__main__":
    FILE.write_text(dashboard_json())
