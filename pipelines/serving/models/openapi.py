"""The OpenAPI document of the live models: each with its columns and with example requests to copy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pipelines.serving.models.bundle import InputColumn
from pipelines.serving.models.open_inference_protocol import datatype

GATEWAY_VARIABLE, KEY_VARIABLE = "AIRWORTHY_GATEWAY", "AIRWORTHY_GATEWAY_KEY"
"""Environment variables that the examples read: the gateway's address and, where it needs one, an API key."""
_ERROR_SCHEMA = {
    "type": "object",
    "properties": {"error": {"type": "string"}, "faults": {"type": "array", "items": {"type": "string"}}},
}
_RESPONSES = {
    "200": {
        "description": "One prediction per row",
        "headers": {
            "x-model-version": {"schema": {"type": "string"}},
            "x-correlation-id": {"schema": {"type": "string"}},
            "x-input-report": {"schema": {"type": "string"}},
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
    code: {"description": meaning, "content": {"application/json": {"schema": _ERROR_SCHEMA}}}
    for code, meaning in {
        "400": "The request is wrong; every fault is listed",
        "401": "Credentials are missing or not valid",
        "403": "These credentials do not have the scope, or the request is routed to another version than it names",
        "404": "No such model is live, or no such version is loaded",
        "408": "The request was not complete in time",
        "413": "Too many rows or too large a body",
        "415": "The body is neither JSON nor JSON compressed by gzip",
        "429": "Too many requests; header retry-after has the seconds to wait",
        "431": "The request's head is too large",
        "503": "No version is live, or too many requests wait",
    }.items()
}
_HEADERS = [
    {
        "name": "x-prediction-time",
        "in": "header",
        "schema": {"type": "string", "format": "date-time"},
        "description": "Time as of which the rows are predicted; far from now it needs the scope replay; default: now",
    },
    {
        "name": "x-correlation-id",
        "in": "header",
        "schema": {"type": "string", "maxLength": 128},
        "description": "Id that answer and log repeat; default: x-request-id, traceparent's trace id, or a new one",
    },
    {
        "name": "x-input-report",
        "in": "header",
        "schema": {"type": "string"},
        "description": "Any value: the response says in a header of this name what was odd about the rows",
    },
    {
        "name": "x-model-version",
        "in": "header",
        "schema": {"type": "string"},
        "description": "Version that answers; needs the scope admin",
    },
]
_SECURITY_SCHEMES = {
    "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "token": {"type": "http", "scheme": "bearer", "description": "An API key, or a JWT where the gateway accepts JWTs"},
}
_JSON = {"application/json": {"schema": {"type": "object"}}}


class ServedModel(NamedTuple):
    """The live version of a model, its features, and the columns whose values are the id of a row."""

    version: str
    features: Sequence[InputColumn]
    id_columns: Sequence[str] = ()


def openapi_document(served: Mapping[str, ServedModel], *, secured: bool) -> dict[str, Any]:
    """OpenAPI 3.1 of the public listener. ``served``: the live models; ``secured``: callers need credentials."""
    paths: dict[str, Any] = {}
    for model, live in served.items():
        version, features = live.version, live.features
        paths[f"/models/{model}/invocations"] = {"post": _invocations_operation(model, live, secured)}
        for named, suffix in (("", ""), (f" version {version}", f"/versions/{version}")):
            base = f"/v2/models/{model}{suffix}"
            infer = _infer_operation(f"{base}/infer", model, version, features, secured)
            paths[f"{base}/infer"] = {"post": infer}
            paths[base] = {"get": _get_operation(f"Tensors of {model}{named}")}
            paths[f"{base}/ready"] = {"get": _get_operation(f"Whether {model}{named} is served")}
    model_header = {
        "name": "x-model",
        "in": "header",
        "schema": {"type": "string"},
        "description": "Model that answers on /invocations; needed where several are live",
    }
    paths["/invocations"] = {
        "post": {
            "operationId": "predict",
            "summary": "Score rows with the only live model, or with the one that header x-model names",
            "parameters": [model_header, *_HEADERS],
            "requestBody": {"required": True, "content": _JSON},
            "responses": _RESPONSES,
        }
    }
    for path, summary in {
        "/docs": "This API for a person to read",
        "/health": "The process answers",
        "/version": "Version of this server",
        "/ready": "Every worker answers with the newest routing table",
        "/metrics": "Prometheus metrics, summed over workers",
        "/v2": "Name of this server",
        "/v2/health/live": "The process answers",
        "/v2/health/ready": "Every worker answers with the newest routing table",
    }.items():
        paths[path] = {"get": _get_operation(summary)}
    root: dict[str, Any] = {"openapi": "3.1.0", "info": {"title": "Airworthy gateway", "version": "1"}, "paths": paths}
    if secured:
        root["components"] = {"securitySchemes": _SECURITY_SCHEMES}
        root["security"] = [{name: []} for name in _SECURITY_SCHEMES]
    return root


def _get_operation(summary: str) -> dict[str, Any]:
    texts = {"200": "yes", "401": "Credentials are missing or not valid", "503": "not now"}
    return {"summary": summary, "responses": {code: {"description": text} for code, text in texts.items()}}


def _invocations_operation(model: str, live: ServedModel, secured: bool) -> dict[str, Any]:
    names = [feature.name for feature in live.features]
    example = {"dataframe_split": {"columns": names, "data": [[_example_value(feature) for feature in live.features]]}}
    body = {"schema": _request_schema(live), "example": example}
    return {
        "operationId": f"predict_{model}",
        "summary": f"Score rows with {model} (version {live.version})",
        "parameters": _HEADERS,
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": _RESPONSES,
        "x-codeSamples": code_samples(f"/models/{model}/invocations", example, secured),
    }


def _infer_operation(
    path: str, model: str, version: str, features: Sequence[InputColumn], secured: bool
) -> dict[str, Any]:
    tensor = {
        "type": "object",
        "required": ["name", "shape", "datatype", "data"],
        "properties": {
            "name": {"enum": [feature.name for feature in features]},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "datatype": {"type": "string"},
            "data": {"type": "array"},
        },
    }
    schema = {
        "type": "object",
        "required": ["inputs"],
        "properties": {"id": {"type": "string"}, "inputs": {"type": "array", "items": tensor}},
    }
    tensors = [
        {"name": feature.name, "shape": [1], "datatype": datatype(feature), "data": [_example_value(feature)]}
        for feature in features
    ]
    example = {"inputs": tensors}
    return {
        "operationId": f"infer_{model}" + (f"_version_{version}" if "/versions/" in path else ""),
        "summary": f"Score tensors with {model} (version {version}) by the Open Inference Protocol",
        "parameters": _HEADERS,
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}},
        "responses": {**_RESPONSES, "200": {"description": "One prediction per row", "content": _JSON}},
        "x-codeSamples": code_samples(path, example, secured),
    }


def _example_value(feature: InputColumn) -> Any:
    """A valid value of a feature."""
    if feature.type == "categorical":
        return feature.allowed[0] if feature.allowed else "A"
    low = feature.minimum if feature.minimum is not None else min(1.0, feature.maximum or 1.0)
    return float(low)


def code_samples(path: str, example: Any, secured: bool) -> list[dict[str, str]]:
    """The example request as a cURL command and as a Python script with the standard library."""
    body = json.dumps(example)
    quoted = body.replace("'", "'\\''")
    key = f' -H "x-api-key: ${KEY_VARIABLE}"' if secured else ""
    curl = f'curl -sS "${GATEWAY_VARIABLE}{path}" -H "content-type: application/json"{key} -d \'{quoted}\''
    key_header = f', "x-api-key": os.environ["{KEY_VARIABLE}"]' if secured else ""
    python = f"""import json, os, urllib.request

rows = json.loads({body!r})
request = urllib.request.Request(
    os.environ["{GATEWAY_VARIABLE}"] + "{path}",
    json.dumps(rows).encode(),
    {{"content-type": "application/json"{key_header}}},
)
with urllib.request.urlopen(request, timeout=10) as response:
    print(json.load(response))
"""
    return [{"lang": "cURL", "source": curl}, {"lang": "Python", "source": python}]


def id_text(id_columns: Sequence[str]) -> str:
    """What the id of a row is; without columns only that there is one."""
    parts = f": the values of {', '.join(id_columns)}, joined by |" if len(id_columns) > 1 else ""
    parts = parts or "".join(f": the value of {name}" for name in id_columns)
    return f"One entity id per row{parts}; by it a label finds its answer"


def _request_schema(live: ServedModel) -> dict[str, Any]:
    """The four forms of MLflow's scoring protocol for one schema."""
    columns = {
        feature.name: {"type": ["string" if feature.type == "categorical" else "number", "null"]}
        for feature in live.features
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
    ids = {"type": "array", "items": {"type": "string"}, "description": id_text(live.id_columns)}
    return {"type": "object", "properties": forms | {"ids": ids}, "oneOf": [{"required": [form]} for form in forms]}
