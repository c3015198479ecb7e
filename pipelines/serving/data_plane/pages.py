"""The pages of the public listener besides predictions: health, metrics, the API's description, model metadata."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version

import orjson

from pipelines.serving.data_plane.inference import DataPlane, match_inference_path
from pipelines.serving.http.response import Problem, Response
from pipelines.serving.http.server import AskSupervisor
from pipelines.serving.models.api_page import SECURITY_HEADERS, api_page
from pipelines.serving.models.open_inference_protocol import metadata
from pipelines.serving.models.openapi import ServedModel, openapi_document

PAGES = {
    "/": "docs",
    "/docs": "docs",
    "/health": "health",
    "/ready": "ready",
    "/ping": "ready",
    "/version": "version",
    "/metrics": "metrics",
    "/openapi.json": "openapi",
    "/v2/health/live": "health",
    "/v2/health/ready": "ready",
}
"""Name of each path in ``open_pages``."""
LISTED_PATHS = ", ".join([*(path for path in PAGES if not path.startswith("/v2")), "/models/<model>/invocations"])
V2_PATHS = (
    "/v2, /v2/health/live, /v2/health/ready and, under /v2/models/<model> or /v2/models/<model>/versions/<version>, the"
    " metadata, /ready and /infer"
)
READ_METHODS = ("GET", "HEAD")
Page = Callable[[], Awaitable[Response]]


def product_version() -> str:
    """Version of the installed package; ``unknown`` where the code runs from a folder."""
    try:
        return version("airworthy")
    except PackageNotFoundError:
        return "unknown"


class Pages:
    """``ask_supervisor`` sends a question to the supervisor; ``secured``: callers need credentials."""

    def __init__(self, data_plane: DataPlane, ask_supervisor: AskSupervisor, *, secured: bool) -> None:
        self._data_plane, self._ask_supervisor, self._secured = data_plane, ask_supervisor, secured
        self._pages: dict[str, Page] = {
            "/": self._docs,
            "/docs": self._docs,
            "/health": self._health,
            "/ready": self._ready,
            "/ping": self._ready,
            "/version": self._version,
            "/metrics": self._metrics,
            "/openapi.json": self._openapi,
            "/v2": self._v2_server,
            "/v2/": self._v2_server,
            "/v2/health/live": self._v2_live,
            "/v2/health/ready": self._v2_ready,
        }

    async def answer(self, method: str, path: str) -> Response:
        """The page. Raises ``Problem`` 404 for an unknown one, 405 for a method that it does not have."""
        if match_inference_path(path):
            raise Problem(405, ["predictions need the method POST"], (b"allow", b"POST"))
        page = self._pages.get(path) or self._model_page(path)
        if page is None:
            listed = V2_PATHS if path.startswith("/v2") else LISTED_PATHS
            raise Problem(404, [f"no page {path[:200]}; the pages are {listed}"])
        if method not in READ_METHODS:
            raise Problem(405, [f"{method} {path[:200]} is not served; use GET"], (b"allow", b"GET, HEAD"))
        return await page()

    async def _health(self) -> Response:
        return Response(200, b'{"status":"alive"}')

    async def _ready(self) -> Response:
        try:
            ready = await self._ask_supervisor("ready")
        except (ConnectionError, TimeoutError):
            ready = {"ready": False, "reasons": ["the supervisor does not answer"]}
        return Response(200 if ready["ready"] else 503, orjson.dumps(ready))

    async def _version(self) -> Response:
        return Response(200, orjson.dumps({"name": "airworthy", "version": product_version()}))

    async def _metrics(self) -> Response:
        try:
            metrics = await self._ask_supervisor("metrics")
        except (ConnectionError, TimeoutError):
            raise Problem(503, ["the supervisor does not answer"]) from None
        text = b"text/plain; version=0.0.4; charset=utf-8"
        return Response(200, metrics["text"].encode(), content_type=text)

    def _served(self) -> dict[str, ServedModel]:
        models = self._data_plane.table.models.items()
        return {
            model: ServedModel(live.version, manifest.features, manifest.id_columns)
            for model, live in models
            for manifest in [live.predictor.manifest]
        }

    async def _openapi(self) -> Response:
        return Response(200, orjson.dumps(openapi_document(self._served(), secured=self._secured)))

    async def _docs(self) -> Response:
        page = api_page(self._served(), secured=self._secured, version=product_version())
        return Response(200, page.encode(), SECURITY_HEADERS, b"text/html; charset=utf-8")

    # ---- the Open Inference Protocol ---------------------------------------------------------------------------

    async def _v2_server(self) -> Response:
        return Response(200, orjson.dumps({"name": "airworthy", "version": product_version(), "extensions": []}))

    async def _v2_live(self) -> Response:
        return Response(200, b'{"live":true}')

    async def _v2_ready(self) -> Response:
        status = (await self._ready()).status
        return Response(status, orjson.dumps({"ready": status == 200}))

    def _model_page(self, path: str) -> Page | None:
        """The metadata or the readiness of a model, perhaps of one version; None for any other path."""
        match path.split("/")[1:]:
            case ["v2", "models", model] if model:
                return lambda: self._metadata(model, None)
            case ["v2", "models", model, "ready"] if model:
                return lambda: self._model_ready(model, None)
            case ["v2", "models", model, "versions", named] if model and named:
                return lambda: self._metadata(model, named)
            case ["v2", "models", model, "versions", named, "ready"] if model and named:
                return lambda: self._model_ready(model, named)
        return None

    async def _metadata(self, model: str, named: str | None) -> Response:
        _, live = self._data_plane.table.find(model, {})
        features = live.version_features(live.version if named is None else named)
        return Response(200, orjson.dumps(metadata(model, live.loaded_versions, features)))

    async def _model_ready(self, model: str, named: str | None) -> Response:
        _, live = self._data_plane.table.find(model, {})
        if named is not None:
            live.version_features(named)
        return Response(200, orjson.dumps({"name": model, "ready": True}))
