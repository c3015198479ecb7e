"""The pages of the public listener besides predictions: health, readiness, metrics, OpenAPI, model metadata."""

from __future__ import annotations

import orjson

from pipelines.serving.data_plane.inference import DataPlane, match_inference_path
from pipelines.serving.http.response import Problem, Response
from pipelines.serving.http.server import AskSupervisor
from pipelines.serving.models.open_inference_protocol import metadata
from pipelines.serving.models.openapi import openapi_document

PAGES = {
    "/health": "health",
    "/ready": "ready",
    "/ping": "ready",
    "/metrics": "metrics",
    "/openapi.json": "openapi",
    "/v2/health/live": "health",
    "/v2/health/ready": "ready",
}
"""Name of each path in ``open_pages``."""
LISTED_PATHS = ", ".join([*(path for path in PAGES if not path.startswith("/v2")), "/models/<model>/invocations"])


class Pages:
    """``ask_supervisor`` sends a question to the supervisor; ``secured``: callers need credentials."""

    def __init__(self, data_plane: DataPlane, ask_supervisor: AskSupervisor, *, secured: bool) -> None:
        self._data_plane, self._ask_supervisor, self._secured = data_plane, ask_supervisor, secured

    async def answer(self, method: str, path: str) -> Response:
        """The page. Raises ``Problem`` for an unknown page of the Open Inference Protocol."""
        if path.startswith("/v2"):
            return await self._open_inference_page(method, path)
        page = PAGES.get(path)
        if match_inference_path(path):
            return Problem(405, ["predictions need the method POST"], (b"allow", b"POST")).response()
        if method not in ("GET", "HEAD"):
            return Problem(404 if page is None else 405, [f"{method} {path} is not served"]).response()
        if page == "health":
            return Response(200, b'{"status":"alive"}')
        if page == "ready":
            return await self._ready()
        if page == "metrics":
            return await self._metrics()
        if page == "openapi":
            return Response(200, self._openapi())
        return Problem(404, [f"no page {path}; the pages are {LISTED_PATHS}"]).response()

    async def _ready(self) -> Response:
        try:
            ready = await self._ask_supervisor("ready")
        except (ConnectionError, TimeoutError):
            ready = {"ready": False, "reasons": ["the supervisor does not answer"]}
        return Response(200 if ready["ready"] else 503, orjson.dumps(ready))

    async def _metrics(self) -> Response:
        try:
            metrics = await self._ask_supervisor("metrics")
        except (ConnectionError, TimeoutError):
            return Problem(503, ["the supervisor does not answer"]).response()
        text = b"text/plain; version=0.0.4; charset=utf-8"
        return Response(200, metrics["text"].encode(), content_type=text)

    def _openapi(self) -> bytes:
        models = self._data_plane.table.models.items()
        served = {model: (live_model.version, live_model.predictor.manifest.features) for model, live_model in models}
        return orjson.dumps(openapi_document(served, secured=self._secured))

    async def _open_inference_page(self, method: str, path: str) -> Response:
        is_inference = path.startswith("/v2/models/") and path.endswith("/infer")
        allowed = "POST" if is_inference else "GET"
        if method != allowed:
            raise Problem(405, ["predictions need the method POST, pages GET"], (b"allow", allowed.encode()))
        if path == "/v2/health/live":
            return Response(200, b'{"live":true}')
        if path == "/v2/health/ready":
            status = (await self._ready()).status
            return Response(status, orjson.dumps({"ready": status == 200}))
        if path in ("/v2", "/v2/"):
            return Response(200, b'{"name":"airworthy","version":"1","extensions":[]}')
        model, _, verb = path.removeprefix("/v2/models/").partition("/")
        if not path.startswith("/v2/models/") or not model or verb not in ("", "ready"):
            fault = "no such page; the pages are /v2, /v2/health/ready and /v2/models/<model>/infer"
            raise Problem(404, [fault])
        _, live_model = self._data_plane.table.find(model, {})
        if verb == "ready":
            return Response(200, orjson.dumps({"name": model, "ready": True}))
        return Response(200, orjson.dumps(metadata(model, live_model.version, live_model.predictor.manifest.features)))
