"""What to write for each required field of a declaration, so that a file that lacks it is refused with an example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args, get_origin

from pydantic import BaseModel

EXAMPLES: Mapping[str, Mapping[str, str]] = {
    "AggregateForm": {"aggregate": "mean(amount)"},
    "AlertRule": {"when": "partition_late"},
    "ApiKey": {"id": "shop", "sha256": f"{'0' * 64}"},
    "Approver": {"role": "ml_lead", "users": "[ada]"},
    "ArrivalQueue": {"queue": "https://sqs.eu-central-1.amazonaws.com/1/arrivals"},
    "AtMost": {"max": "0.05"},
    "CalendarForm": {"calendar": "weekday"},
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
    "ExpressionForm": {"expression": "amount / items"},
    "HttpRoute": {"gateway": "public", "image": "registry.example/airworthy:0.1.0"},
    "Jwt": {"audience": "airworthy", "issuer": "https://login.example"},
    "Label": {"name": "returned", "expression": "days_until_return <= 30"},
    "LatestForm": {"latest": "weather", "by": "station", "max_age": "6h"},
    "LateRows": {"allow": "3d"},
    "LoadTestSpec": {"assertions": "{p95_latency: {max: 100}}"},
    "LookupForm": {"lookup": "customers.country"},
    "MetricSpec": {"name": "error_rate"},
    "ModelDeclaration": {"model": "order_returns", "view": "order_returns", "target": "returned"},
    "OwnForm": {"own": "true"},
    "PerEvent": {"per": "orders"},
    "PerTable": {"table": "loans"},
    "PerPeriod": {"each": "orders.customer_id", "every": "week", "active_within": "365d"},
    "Performance": {"metric": "roc_auc", "max_drop": "0.05"},
    "PythonForm": {"python": "baskets:shape"},
    "Rate": {"per_minute": "600", "burst": "100"},
    "RetrainPrice": {"training": "20", "metric_unit_a_day": "1000"},
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
    "SqlTable": {"connection": "shop"},
    "Tls": {"certificate": "/etc/airworthy/tls.crt", "key": "/etc/airworthy/tls.key"},
    "ViewDeclaration": {
        "view": "order_returns",
        "entity": "[order_id]",
        "rows": "{per: orders}",
        "features": "{amount: own}",
    },
    "Volume": {"name": "scratch", "mount_path": "/scratch"},
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
