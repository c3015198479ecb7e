"""Requests that schemathesis draws from the description of a listener, the admin listener's own among them."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import httpx
import msgspec
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.config import SchemathesisConfig

from pipelines.serving.control_plane.admin import ModelRollbackBody, ReleaseBody, UnreleasedBody
from pipelines.serving.control_plane.rollout_routes import VERBS, RollbackBody

SERVER_ERROR = 500
BATCH = 30
"""Examples that are drawn before the clock is looked at: drawing takes longer than sending."""
BUSY = 503
"""Not a failure where it says what is not there yet."""


def send_described(
    document: Mapping[str, Any], base: str, headers: Mapping[str, str], until: float, examples: Mapping[str, int]
) -> tuple[Counter[int], list[str]]:
    """Statuses of the answers to what is drawn for each operation, and every one that is a server error.

    ``until``: monotonic time; each operation has its part of the time. ``examples``: how many by method, else 5.
    """
    schema = schemathesis.openapi.from_dict(dict(document), config=SchemathesisConfig())
    schema.config.base_url = base
    statuses, faults = Counter[int](), list[str]()
    operations = [operation.ok() for operation in schema.get_all_operations()]
    with httpx.Client(timeout=30) as client:
        for place, operation in enumerate(operations):
            end = time.monotonic() + (until - time.monotonic()) / (len(operations) - place)
            count = examples.get(operation.method, 5)
            for number in range(-(-count // BATCH)):
                for mode in schemathesis.GenerationMode:
                    batch = min(BATCH, count - number * BATCH)
                    _send_operation(operation, mode, client, headers, end, batch, number, statuses, faults)
                if time.monotonic() > end:
                    break
    return statuses, faults


def _send_operation(
    operation: Any,
    mode: Any,
    client: httpx.Client,
    headers: Mapping[str, str],
    until: float,
    count: int,
    number: int,
    statuses: Counter[int],
    faults: list[str],
) -> None:
    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        if time.monotonic() > until:
            return
        drawn = case.as_transport_kwargs(headers=dict(headers))
        content = drawn.get("data")
        request = {"json": drawn["json"]} if "json" in drawn else {"content": content}
        try:
            sent = client.build_request(
                drawn["method"],
                drawn["url"],
                params=drawn.get("params"),
                headers=dict(drawn["headers"] or {}),
                **request,
            )
        except (TypeError, ValueError, httpx.InvalidURL):
            return  # not even a client would send it
        try:
            response = client.send(sent)
        except (httpx.LocalProtocolError, httpx.RemoteProtocolError, UnicodeEncodeError):
            return  # a header or method that is no HTTP
        statuses[response.status_code] += 1
        if response.status_code >= SERVER_ERROR and not (response.status_code == BUSY and "reasons" in response.text):
            faults.append(
                f"{response.status_code} to {sent.method} {sent.url} {sent.content[:300]!r}: {response.text[:200]}"
            )

    with suppress(Unsatisfiable):  # an operation without parameters has nothing wrong to draw
        send()


def admin_document(model: str) -> dict[str, Any]:
    """OpenAPI of the admin listener, from the types of its bodies."""
    bodies: dict[str, type[msgspec.Struct]] = {
        f"/models/{model}/release": ReleaseBody,
        f"/models/{model}/rollback": ModelRollbackBody,
        f"/models/{model}/unreleased": UnreleasedBody,
        f"/models/{model}/rollouts/{{rollout}}/rollback": RollbackBody,
    }
    bodies |= {f"/models/{model}/rollouts/{{rollout}}/{verb}": kind for verb, (kind, _) in VERBS.items() if verb}
    creation = {f"/models/{model}/rollouts/{{rollout}}": VERBS[""][0]}
    kinds = [*dict.fromkeys([*bodies.values(), *creation.values()])]
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    by_kind = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, Any] = {path: {"post": _operation(path, by_kind[kind])} for path, kind in bodies.items()}
    paths |= {
        path: {"put": _operation(path, by_kind[kind]), "get": _operation(path)} for path, kind in creation.items()
    }
    for path in (
        "/models",
        "/ready",
        "/metrics",
        f"/models/{model}",
        f"/models/{model}/history",
        f"/models/{model}/rollout",
    ):
        paths.setdefault(path, {})["get"] = _operation(path)
    document = {"openapi": "3.1.0", "info": {"title": "admin", "version": "1"}, "paths": paths}
    return json.loads(json.dumps(document | {"components": {"schemas": components}}))


def _operation(path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    text = {"type": "string"}
    parameters = [{"name": "rollout", "in": "path", "required": True, "schema": text}] if "{rollout}" in path else []
    if body is not None:
        key = {"type": "string", "minLength": 1, "maxLength": 20, "pattern": "^[a-z]+$"}
        parameters.append({"name": "idempotency-key", "in": "header", "required": True, "schema": key})
        generation = {"type": "integer", "minimum": 0, "maximum": 3}
        parameters.append({"name": "if-match", "in": "header", "required": True, "schema": generation})
    operation: dict[str, Any] = {"parameters": parameters, "responses": {"default": {"description": "any"}}}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return operation
