"""The OpenAPI page describes what is live now: each model with its own columns and their types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.serving.bundle import Input

_PROBLEM = {
    "type": "object",
    "properties": {"error": {"type": "string"}, "faults": {"type": "array", "items": {"type": "string"}}},
}
_ANSWERS = {
    "200": {
        "description": "One prediction per row",
        "headers": {
            "x-model-version": {"schema": {"type": "string"}},
            "x-correlation-id": {"schema": {"type": "string"}},
        },
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["predictions"],
                    "properties": {"predictions": {"type": "array", "items": {"type": "number"}}},
                }
            }
        },
    }
} | {
    code: {"description": meaning, "content": {"application/json": {"schema": _PROBLEM}}}
    for code, meaning in {
        "400": "The request is wrong; every fault is listed",
        "404": "No such model is live",
        "413": "Too many rows or too large a body",
        "503": "No version is live",
    }.items()
}
_HEADERS = [
    {
        "name": "x-prediction-time",
        "in": "header",
        "schema": {"type": "string", "format": "date-time"},
        "description": "Moment as of which the rows are predicted; now, if left out",
    },
    {"name": "x-correlation-id", "in": "header", "schema": {"type": "string", "maxLength": 128}},
]


def document(served: Mapping[str, tuple[str, Sequence[Input]]]) -> dict[str, Any]:
    """OpenAPI 3.1 of the public listener. ``served`` maps a live model to its version and features."""
    paths: dict[str, Any] = {
        f"/models/{model}/invocations": {
            "post": {
                "operationId": f"predict_{model}",
                "summary": f"Score rows with {model} (version {version})",
                "parameters": _HEADERS,
                "requestBody": {"required": True, "content": {"application/json": {"schema": _request(features)}}},
                "responses": _ANSWERS,
            }
        }
        for model, (version, features) in served.items()
    }
    named = {"name": "x-model", "in": "header", "schema": {"type": "string"}}
    paths["/invocations"] = {
        "post": {
            "operationId": "predict",
            "summary": "Score rows with the only live model, or with the one that header x-model names",
            "parameters": [named, *_HEADERS],
            "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
            "responses": _ANSWERS,
        }
    }
    for path, summary in {
        "/health": "The process answers",
        "/ready": "Every worker answers with the newest routing table",
        "/metrics": "Prometheus metrics, summed over workers",
    }.items():
        paths[path] = {"get": {"summary": summary, "responses": {"200": {"description": "yes"}}}}
    return {"openapi": "3.1.0", "info": {"title": "Airworthy gateway", "version": "1"}, "paths": paths}


def _request(features: Sequence[Input]) -> dict[str, Any]:
    """The four forms of MLflow's scoring protocol for one schema."""
    columns = {
        feature.name: {"type": ["string" if feature.type == "categorical" else "number", "null"]}
        for feature in features
    }
    record = {"type": "object", "properties": columns, "required": list(columns), "additionalProperties": False}
    rows = {"type": "array", "items": {"type": "array"}}
    records = {"type": "array", "items": record}
    split = {
        "type": "object",
        "required": ["columns", "data"],
        "properties": {"columns": {"type": "array", "items": {"enum": list(columns)}}, "data": rows},
    }
    columnar = {"type": "object", "properties": {name: {"type": "array"} for name in columns}}
    forms = {
        "dataframe_split": split,
        "dataframe_records": records,
        "instances": {"oneOf": [records, rows]},
        "inputs": {"oneOf": [columnar, records, rows]},
    }
    ids = {"type": "array", "items": {"type": "string"}, "description": "One entity id per row"}
    return {
        "type": "object",
        "properties": forms | {"ids": ids},
        "oneOf": [{"required": [form]} for form in forms],
    }
