"""Every page tells what holds at the moment, and whoever asks for one that there is not is told which there are."""

from __future__ import annotations

import orjson

from pipelines.serving.data_plane.inference import DataPlane, inference_endpoint
from pipelines.serving.http.response import Problem, Response
from pipelines.serving.http.server import Ask
from pipelines.serving.models.open_inference_protocol import metadata
from pipelines.serving.models.openapi import document

PAGES = {
    "/health": "health",
    "/ready": "ready",
    "/ping": "ready",
    "/metrics": "metrics",
    "/openapi.json": "openapi",
    "/v2/health/live": "health",
    "/v2/health/ready": "ready",
}
"""Under which name ``open_pages`` declares each of them."""
KNOWN = ", ".join([*(path for path in PAGES if not path.startswith("/v2")), "/models/<model>/invocations"])


class Pages:
    """``ask`` puts a question to the supervisor, who knows all workers; ``secured``: callers need credentials."""

    def __init__(self, data_plane: DataPlane, ask: Ask, *, secured: bool) -> None:
        self._data_plane, self._ask, self._secured = data_plane, ask, secured

    async def answer(self, method: str, path: str) -> Response:
        """Raises ``Problem`` for a page of the Open Inference Protocol that there is not."""
        if path.startswith("/v2"):
            return await self._open_inference(method, path)
        page = PAGES.get(path)
        if inference_endpoint(path):
            return Problem(405, ["predictions are asked for by POST"], (b"allow", b"POST")).response()
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
        return Problem(404, [f"no page {path}; there are {KNOWN}"]).response()

    async def _ready(self) -> Response:
        try:
            ready = await self._ask("ready")
        except (ConnectionError, TimeoutError):
            ready = {"ready": False, "reasons": ["the supervisor does not answer"]}
        return Response(200 if ready["ready"] else 503, orjson.dumps(ready))

    async def _metrics(self) -> Response:
        try:
            metrics = await self._ask("metrics")
        except (ConnectionError, TimeoutError):
            return Problem(503, ["the supervisor does not answer"]).response()
        text = b"text/plain; version=0.0.4; charset=utf-8"
        return Response(200, metrics["text"].encode(), content_type=text)

    def _openapi(self) -> bytes:
        models = self._data_plane.table.live.items()
        served = {model: (live.version, live.predictor.manifest.features) for model, live in models}
        return orjson.dumps(document(served, secured=self._secured))

    async def _open_inference(self, method: str, path: str) -> Response:
        infers = path.startswith("/v2/models/") and path.endswith("/infer")
        allowed = "POST" if infers else "GET"
        if method != allowed:
            raise Problem(405, ["ask for predictions by POST, for pages by GET"], (b"allow", allowed.encode()))
        if path == "/v2/health/live":
            return Response(200, b'{"live":true}')
        if path == "/v2/health/ready":
            status = (await self._ready()).status
            return Response(status, orjson.dumps({"ready": status == 200}))
        if path in ("/v2", "/v2/"):
            return Response(200, b'{"name":"airworthy","version":"1","extensions":[]}')
        model, _, verb = path.removeprefix("/v2/models/").partition("/")
        if not path.startswith("/v2/models/") or not model or verb not in ("", "ready"):
            fault = "there is no such page; there are /v2, /v2/health/ready and /v2/models/<model>/infer"
            raise Problem(404, [fault])
        _, live = self._data_plane.table.find(model, {})
        if verb == "ready":
            return Response(200, orjson.dumps({"name": model, "ready": True}))
        return Response(200, orjson.dumps(metadata(model, live.version, live.predictor.manifest.features)))
