"""What to write for each required field of a declaration, so that a file that lacks it is refused with an example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args, get_origin

from pydantic import BaseModel

EXAMPLES: Mapping[str, Mapping[str, str]] = {
    "Aggregate": {"by": "[customer_id]", "window": "90d"},
    "AlertRule": {"when": "partition_late"},
    "ApiKey": {"id": "shop", "sha256": f"{'0' * 64}"},
    "Approver": {"role": "ml_lead", "users": "[ada]"},
    "ArrivalQueue": {"queue": "https://sqs.eu-central-1.amazonaws.com/1/arrivals"},
    "AtMost": {"max": "0.05"},
    "ComparisonSpec": {"metric": "roc_auc"},
    "CrossValidation": {"folds": "5"},
    "DatasetSpec": {
        "dataset": "orders",
        "partition": "{every: day, start: 2024-01-01}",
        "sources": '{orders: {files: "{source}/{partition}/orders.csv", key: [order_id], columns: {order_id: string}}}',
    },
    "DeclaredExpectation": {"type": "expect_column_values_to_be_between", "reason": "amount below zero"},
    "DeclaredSuite": {
        "suite": "orders",
        "expectations": "[{type: expect_column_values_to_be_unique, kwargs: {column: order_id}, reason: order twice}]",
    },
    "DirectColumn": {"column": "amount"},
    "Evaluation": {"minimum_metrics": "{roc_auc: {min: 0.7}}", "comparison": "{metric: roc_auc}"},
    "Feature": {
        "version": "1",
        "description": "Amount of the order in euros.",
        "source_columns": "[orders.amount]",
        "transformation": "{type: column, column: amount}",
    },
    "FeatureView": {
        "view": "order_returns",
        "description": "What is known of an order when it is sent.",
        "owner": "shop-team",
        "dataset": "orders",
        "entity_source": "orders",
        "key": "[order_id]",
        "event_hour_column": "ordered_at",
        "event_minute_column": "minute",
        "delay_column": "delay_minutes",
        "lead_hours": "2",
        "label": "{name: returned, column: returned, at_least: 1}",
        "features": (
            "{amount: {version: 1, description: Amount of the order in euros., type: numeric, "
            "source_columns: [orders.amount], transformation: {type: column, column: amount}}}"
        ),
    },
    "HttpRoute": {"gateway": "public", "image": "registry.example/airworthy:0.1.0"},
    "Jwt": {"audience": "airworthy", "issuer": "https://login.example"},
    "Label": {"name": "returned", "column": "returned", "at_least": "1"},
    "LastValue": {"by": "[customer_id]", "column": "amount", "window_hours": "24"},
    "LatestObservation": {
        "source": "weather",
        "by": "[station]",
        "time_column": "observed_at",
        "column": "temperature",
        "max_age_hours": "6",
    },
    "LoadTestSpec": {"assertions": "{p95_latency: {max: 100}}"},
    "Lookup": {"source": "customers", "on": "[customer_id]", "column": "country"},
    "MetricSpec": {"name": "error_rate"},
    "ModelSpec": {
        "model": "order_returns",
        "description": "Probability that an order is returned.",
        "owner": "shop-team",
        "view": "order_returns",
        "target": "{column: returned, at_least: 1}",
        "evaluation": "{minimum_metrics: {roc_auc: {min: 0.7}}, comparison: {metric: roc_auc}}",
        "monitoring": "{performance: {metric: roc_auc, max_drop: 0.05}}",
    },
    "Monitoring": {"performance": "{metric: roc_auc, max_drop: 0.05}"},
    "Performance": {"metric": "roc_auc", "max_drop": "0.05"},
    "Rate": {"per_minute": "600", "burst": "100"},
    "RowExpression": {"expression": "amount / items"},
    "SageMaker": {
        "role_arn": "arn:aws:iam::123456789012:role/serving",
        "image": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/airworthy:0.1.0",
        "instance_type": "ml.m5.large",
    },
    "Search": {"trials": "20", "space": "{max_depth: {low: 3, high: 9}}"},
    "SegmentRule": {"header": "x-region", "equals": "eu"},
    "Slices": {"columns": "[country]", "metric": "roc_auc", "max_loss": "0.05"},
    "SourceFiles": {"path": '"{source}/{partition}/orders.csv"'},
    "SourceSpec": {
        "files": '"{source}/{partition}/orders.csv"',
        "key": "[order_id]",
        "columns": "{order_id: string, amount: number or null}",
    },
    "Target": {"column": "returned"},
    "Tls": {"certificate": "/etc/airworthy/tls.crt", "key": "/etc/airworthy/tls.key"},
    "Volume": {"name": "scratch", "mount_path": "/scratch"},
    "WindowMean": {"by": "[customer_id]", "column": "amount", "window_hours": "24"},
}
"""Block to field to its value as YAML; of a field that takes one of few words the words are the example."""


def example_of(block: type[BaseModel], name: str) -> str:
    """``, as in `key: [order_id]``` for a required field; empty if there is none."""
    info = block.model_fields[name]
    written = info.alias or name
    if get_origin(info.annotation) is Literal:
        words = [str(word) for word in get_args(info.annotation)]
        return f": write `{written}: {words[0]}`{''.join(f', or {word}' for word in words[1:])}"
    example = EXAMPLES.get(block.__name__, {}).get(name)
    return f", as in `{written}: {example}`" if example else ""
