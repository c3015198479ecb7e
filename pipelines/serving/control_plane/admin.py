"""The admin listener: releases, rollbacks, rollouts and metrics; each change of a model carries an idempotency key."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import unquote

import msgspec
import orjson

from pipelines.errors import Refused, Unavailable
from pipelines.rollout.transitions import Served
from pipelines.serving.control_plane.admin_access import AdminAccess
from pipelines.serving.control_plane.rollout_routes import (
    ChangeHeaders,
    RollbackBody,
    RolloutRoutes,
    parse,
    signed_reason,
)
from pipelines.serving.control_plane.state import ACTOR, GenerationMismatch
from pipelines.serving.control_plane.supervisor import Supervisor
from pipelines.serving.http.server import Receive, Send

MODEL_PATH = re.compile(r"/models/([a-z][a-z0-9_]{0,63})(/release|/rollback|/history|/unreleased)?")
ROLLOUT_PATH = re.compile(r"/models/([a-z][a-z0-9_]{0,63})(?:/rollout|/rollouts/([^/]+)(?:/([a-z]+))?)")

ACTOR_HEADER = b"x-airworthy-actor"
MAX_BODY_BYTES = 1024 * 1024
"""Limit of a request body; valid bodies have a few thousand bytes."""


class ReleaseBody(msgspec.Struct, forbid_unknown_fields=True):
    version: str
    bundle: str
    sha256: str


class UnreleasedBody(ReleaseBody, forbid_unknown_fields=True):
    seconds: float


class ModelRollbackBody(RollbackBody, forbid_unknown_fields=True):
    rollout_id: str | None = None


class Admin:
    """ASGI application of the admin listener.

    ``GET /models[/<model>[/history]]``, ``POST /models/<model>/release``, ``POST /models/<model>/rollback``,
    ``POST /flush``, ``GET /health``, ``GET /ready``, ``GET /metrics``, and the routes of ``RolloutRoutes``.
    ``GET /models/<model>/rollback`` says what a rollback would do; ``POST`` and ``DELETE /models/<model>/unreleased``
    load a first version for a test and unload it. Changes of models need ``Idempotency-Key``, changes
    of a rollout ``If-Match`` too; who asked is the header ``x-airworthy-actor``, of a rollback also ``actor`` in its
    body. Refused is 422, another generation 412, no generation 428, too large 413, unavailable 503, all with
    ``subject`` and ``reasons``.
    """

    def __init__(self, supervisor: Supervisor, access: AdminAccess) -> None:
        self._supervisor, self._access = supervisor, access
        self._rollouts = RolloutRoutes(supervisor.rollouts)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        fault = None if scope["path"] == "/health" else self._access.fault(headers)
        body = bytearray()
        more = fault is None
        while more and len(body) <= MAX_BODY_BYTES:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        ACTOR.set(_actor(headers, scope.get("client")))
        status: int
        content: Any
        try:
            if fault is not None:
                status, content = fault
            elif len(body) > MAX_BODY_BYTES:
                status, content = 413, {"subject": f"the body is larger than {MAX_BODY_BYTES} bytes", "reasons": []}
            else:
                status, content = await self._route(scope["method"], scope["path"], headers, bytes(body))
        except GenerationMismatch as error:
            status, content = 412, {"subject": str(error), "reasons": [], "generation": error.generation}
        except Refused as error:
            status, content = 422, {"subject": error.subject, "reasons": error.reasons}
        except Unavailable as error:
            status, content = 503, {"subject": str(error), "reasons": []}
        text = isinstance(content, str)
        content_type = b"text/plain; version=0.0.4; charset=utf-8" if text else b"application/json"
        payload = content.encode() if isinstance(content, str) else orjson.dumps(content)
        response_headers = [(b"content-type", content_type), (b"content-length", str(len(payload)).encode())]
        if isinstance(content, dict) and "generation" in content:
            response_headers.append((b"etag", f'"{content["generation"]}"'.encode()))
        await send({"type": "http.response.start", "status": status, "headers": response_headers})
        await send({"type": "http.response.body", "body": payload})

    async def _route(self, method: str, path: str, headers: dict[bytes, bytes], body: bytes) -> tuple[int, Any]:
        releases = self._supervisor.releases
        if path == "/health":
            return 200, {"status": "alive"}
        routes: dict[tuple[str, str], Callable[[], Awaitable[tuple[int, Any]]]] = {
            ("GET", "/ready"): self._ready,
            ("GET", "/metrics"): self._metrics,
            ("GET", "/models"): self._models,
            ("POST", "/flush"): self._flush,
        }
        if (method, path) in routes:
            return await routes[method, path]()
        rollout = ROLLOUT_PATH.fullmatch(path)
        if rollout is not None:
            changes = ChangeHeaders(headers.get(b"if-match"), headers.get(b"idempotency-key", b"").decode("latin-1"))
            return await self._rollouts.answer(method, rollout[1], rollout[2], rollout[3], changes, body)
        match = MODEL_PATH.fullmatch(path)
        if match is None:
            return 404, {"subject": f"the admin listener has no page {path}", "reasons": []}
        model, verb = match[1], match[2]
        if method == "GET" and verb is None:
            return 200, self._live_state(model)
        if method == "GET" and verb == "/history":
            return 200, releases.history(model)
        if method == "GET" and verb == "/rollback":
            return 200, releases.next_rollback(model)
        if verb == "/unreleased" and method in ("POST", "DELETE"):
            return 200, await self._test_unreleased(model, body if method == "POST" else None)
        if method != "POST" or verb not in ("/release", "/rollback"):
            return 405, {"subject": f"{method} {path} is not served", "reasons": []}
        key = headers.get(b"idempotency-key", b"").decode("latin-1")
        if not key:
            raise Refused("a change of the live version needs the header Idempotency-Key; send a new key")
        if verb == "/rollback":
            rollback = parse(body, ModelRollbackBody)
            only = {"rollout_id": rollback.rollout_id, "version": rollback.version}
            return 200, await releases.restore_previous(model, key=key, reason=signed_reason(rollback), **only)
        release = parse(body, ReleaseBody)
        state = await releases.release(model, release.version, release.bundle, release.sha256, key=key)
        return (200 if state["applied"] else 202), state

    async def _test_unreleased(self, model: str, body: bytes | None) -> dict[str, Any]:
        """Load a model's first version for a test, or without a body unload it; a repeat changes nothing."""
        releases = self._supervisor.releases
        if body is None:
            return await releases.unload_unreleased(model)
        first = parse(body, UnreleasedBody)
        return await releases.load_unreleased(model, Served(first.version, first.bundle, first.sha256), first.seconds)

    async def _ready(self) -> tuple[int, Any]:
        ready = self._supervisor.ready()
        return (200 if ready["ready"] else 503), ready

    async def _metrics(self) -> tuple[int, Any]:
        return 200, await self._supervisor.metrics()

    async def _models(self) -> tuple[int, Any]:
        return 200, [self._live_state(model) for model in self._supervisor.releases.table.routes]

    def _live_state(self, model: str) -> dict[str, Any]:
        state = self._supervisor.releases.live_state(model)
        return state | {"log_set_aside": self._supervisor.side_file_counts.of_model(model)}

    async def _flush(self) -> tuple[int, Any]:
        return 200, await self._supervisor.flush()


def _actor(headers: Mapping[bytes, bytes], client: tuple[str, int] | None) -> str:
    """Who asks, as the caller says; the token is shared, so a caller who says nothing is known by its address alone."""
    named = unquote(headers.get(ACTOR_HEADER, b"").decode("latin-1")).strip()
    return named or f"unnamed at {client[0] if client else 'an unknown address'}"
