"""Every request gets an answer it can act on: a prediction, all its faults as 4xx, or 503 while nothing is live."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import orjson

from pipelines.serving.http.protocol import Reply
from pipelines.serving.http.server import Ask, Receive, Send
from pipelines.serving.ipc.metrics import Counters
from pipelines.serving.models.mlflow_protocol import BadRequest, Reader, Rows
from pipelines.serving.models.openapi import document
from pipelines.serving.models.predictor import Predictor
from pipelines.serving.models.response_cache import HIT
from pipelines.serving.prediction_log.writer import Answer, Columns, LogWriter
from pipelines.serving.traffic.candidate_client import CandidateFailed
from pipelines.serving.traffic.split import Answered, Arms, Headers

log = logging.getLogger("airworthy.gateway")

JSON = (b"content-type", b"application/json")
TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
PREFIX, SUFFIX = "/models/", "/invocations"


class Live(msgspec.Struct, frozen=True):
    """One version as this worker serves it; ``arms`` while a rollout has a candidate beside it."""

    version: str
    predictor: Predictor
    reader: Reader
    columns: Columns
    headers: Headers
    arms: Arms | None = None


class Table(msgspec.Struct, frozen=True):
    """What this worker answers with: replaced as a whole, never changed. ``broken`` says why a model is not served."""

    generation: int = 0
    live: dict[str, Live] = {}
    broken: dict[str, str] = {}
    direct: bool = True
    """Whether the champions answer every request, so that none has to wait for another process."""


class Kept(msgspec.Struct, frozen=True):
    """One answer that has been handed to its connection and is still to be counted, mirrored and logged as ``answer``.

    ``took`` in seconds.
    """

    name: str
    live: Live
    answered: Answered
    answer: Answer
    took: float


class Application:
    """The ASGI application of one data worker.

    ``ask`` puts a question to the supervisor, who knows all workers (``metrics``, ``ready``).
    """

    def __init__(self, log: LogWriter, ask: Ask, *, max_bytes: int, clock: Callable[[], int] = time.time_ns) -> None:
        self.table = Table()
        self.counters = Counters()
        self._log, self._ask, self._max_bytes, self._clock = log, ask, max_bytes, clock
        self._worker = uuid.uuid4().hex[:12]
        self._numbers = itertools.count()
        self._kept: list[Kept] = []

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path, method = scope["path"], scope["method"]
        if path.endswith(SUFFIX) and (path == SUFFIX or path.startswith(PREFIX)):
            if method == "POST":
                await self._invoke(path, scope, receive, send)
            else:
                await _answer(send, 405, _problem(["predictions are asked for by POST"]), (b"allow", b"POST"))
        elif method not in ("GET", "HEAD"):
            await _answer(send, 405 if path in PAGES else 404, _problem([f"{method} {path} is not served"]))
        elif path in PAGES:
            await PAGES[path](self, send)
        else:
            known = ", ".join([*PAGES, f"{PREFIX}<model>{SUFFIX}"])
            await _answer(send, 404, _problem([f"no page {path}; there are {known}"]))

    async def _invoke(self, path: str, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        body, too_large = await self._body(receive)
        started = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = f"{self._worker}{next(self._numbers):x}"
        correlation = _correlation(headers) or request_id
        echo = (b"x-correlation-id", correlation.encode("latin-1"))
        table, name, live = self.table, "", None
        try:
            if too_large:
                raise BadRequest([f"the body is larger than {self._max_bytes} bytes; send fewer rows"], 413)
            name, live = _route(table, path, headers)
            moment = _prediction_time(headers)
            rows = live.reader.read(body)
            answered = await _predict(live, headers, rows, request_id, started)
        except Exception as error:
            status, problem = _failed(error, name, live)
            await _answer(send, status, problem, echo)
            self.counters.answered(name, live.version if live else "", status, 0, time.perf_counter() - started)
            return
        answer = orjson.dumps({"predictions": answered.predictions})
        await _answer(send, 200, answer, echo, *answered.headers)
        self._keep(answered, name, live, moment, request_id, correlation, table.generation, started)

    def answer(self, path: str, headers: Mapping[bytes, bytes], body: bytes, reply: Reply) -> None:
        """Answer a request of which the whole body is there and that only the champion can have, at once.

        Where its candidate has got traffic since the request began, it still is the champion's.
        """
        started = time.perf_counter()
        request_id = f"{self._worker}{next(self._numbers):x}"
        correlation = _correlation(headers) or request_id
        echo = (b"x-correlation-id", correlation.encode("latin-1"))
        table, name, live = self.table, "", None
        try:
            name, live = _route(table, path, headers)
            moment = _prediction_time(headers)
            rows = live.reader.read(body)
            answered = _predict_now(live, rows, started)
        except Exception as error:
            status, problem = _failed(error, name, live)
            reply(status, (echo,), problem)
            self.counters.answered(name, live.version if live else "", status, 0, time.perf_counter() - started)
            return
        reply(200, (echo, *answered.headers), orjson.dumps({"predictions": answered.predictions}))
        self._keep(answered, name, live, moment, request_id, correlation, table.generation, started)

    def _keep(
        self,
        answered: Answered,
        name: str,
        live: Live,
        moment: int | None,
        request_id: str,
        correlation: str,
        generation: int,
        started: float,
    ) -> None:
        """Remember what was answered until the callers of this turn of the loop have their answers.

        ``moment`` in microseconds since 1970, now if None.
        """
        took, now = time.perf_counter() - started, self._clock() // 1000
        answer = Answer(
            answered.columns.number,
            now if moment is None else moment,
            now,
            request_id,
            correlation,
            generation,
            int(took * 1e6),
            answered.rows.ids,
            answered.rows.values,
            answered.predictions,
            answered.bucket,
            answered.fallback,
            HIT.get(),
            unit=answered.unit,
        )
        if not self._kept:
            asyncio.get_running_loop().call_soon(self.settle)
        self._kept.append(Kept(name, live, answered, answer, took))

    def settle(self) -> None:
        """Count, mirror and log every answer that was given; its connection has written it by now."""
        kept, self._kept = self._kept, []
        for one in kept:
            try:
                self._record(one)
            except Exception as error:  # said without the values; the others are still to be logged
                self._log.dropped += one.answered.rows.count
                log.error("an answer could not be logged: %s", type(error).__name__)

    def _record(self, kept: Kept) -> None:
        answered = kept.answered
        self.counters.answered(kept.name, answered.version, 200, answered.rows.count, kept.took)
        if kept.live.arms is not None:
            kept.live.arms.mirror(answered, kept.answer)
        self._log.append(answered.columns, kept.answer)

    async def _body(self, receive: Receive) -> tuple[bytes, bool]:
        """The whole body; one that is too large is read to its end, so that its sender can read our answer."""
        message = await receive()
        body: bytes = message.get("body", b"")
        if not message.get("more_body"):
            return body, len(body) > self._max_bytes
        parts, size = [body], len(body)
        while message.get("more_body"):
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            part = message.get("body", b"")
            size += len(part)
            if size <= self._max_bytes:
                parts.append(part)
        return b"".join(parts), size > self._max_bytes

    async def _health(self, send: Send) -> None:
        await _answer(send, 200, b'{"status":"alive"}')

    async def _ready(self, send: Send) -> None:
        try:
            found = await self._ask("ready")
        except (ConnectionError, TimeoutError):
            found = {"ready": False, "reasons": ["the supervisor does not answer"]}
        await _answer(send, 200 if found["ready"] else 503, orjson.dumps(found))

    async def _metrics(self, send: Send) -> None:
        try:
            found = await self._ask("metrics")
        except (ConnectionError, TimeoutError):
            await _answer(send, 503, _problem(["the supervisor does not answer"]))
            return
        await _answer(send, 200, found["text"].encode(), TEXT)

    async def _openapi(self, send: Send) -> None:
        served = {name: (live.version, live.predictor.manifest.features) for name, live in self.table.live.items()}
        await _answer(send, 200, orjson.dumps(document(served)))


PAGES: dict[str, Callable[[Application, Send], Awaitable[None]]] = {
    "/health": Application._health,
    "/ready": Application._ready,
    "/ping": Application._ready,
    "/metrics": Application._metrics,
    "/openapi.json": Application._openapi,
}


def _failed(error: Exception, name: str, live: Live | None) -> tuple[int, bytes]:
    """What the caller is told: its own faults, or that the model failed (said, counted, survived)."""
    if isinstance(error, BadRequest):
        return error.status, _problem(error.faults)
    why = error if isinstance(error, CandidateFailed) else type(error).__name__
    return 500, _problem([f"model {name!r} version {live.version if live else ''} failed: {why}"])


def _predict_now(live: Live, rows: Rows, started: float) -> Answered:
    """The champion's answer. Raises as ``_predict`` does."""
    champion = live.predictor
    try:
        if live.arms is not None and live.arms.direct:
            return live.arms.at_once(rows, started, lambda: champion.predict(rows.values, rows.count))
        return Answered(champion.predict(rows.values, rows.count), live.version, live.headers, live.columns, rows)
    except OverflowError:
        raise live.reader.out_of_range(rows) from None


async def _predict(live: Live, headers: Mapping[bytes, bytes], rows: Rows, request_id: str, started: float) -> Answered:
    """The champion's answer, or that of the arm a rollout gives the request to. Raises ``BadRequest`` for numbers out
    of range, and whatever the champion raises."""
    try:
        if b"x-model-version" in headers:
            return await _by_version(live, headers[b"x-model-version"].decode("latin-1"), rows)
        if live.arms is None:
            predictions = live.predictor.predict(rows.values, rows.count)
            return Answered(predictions, live.version, live.headers, live.columns, rows)
        champion = live.predictor
        return await live.arms.answer(
            headers, rows, request_id, started, lambda: champion.predict(rows.values, rows.count)
        )
    except OverflowError:
        raise live.reader.out_of_range(rows) from None


async def _by_version(live: Live, version: str, rows: Rows) -> Answered:
    """The answer of the version that a caller names; the door lets only the scope admin do so."""
    if version == live.version:
        predictions = live.predictor.predict(rows.values, rows.count)
        return Answered(predictions, live.version, live.headers, live.columns, rows)
    named = await live.arms.named(version, rows) if live.arms is not None else None
    if named is None:
        raise BadRequest([f"version {version[:40]!r} is not loaded; live is {live.version}"], 404)
    return named


def _route(table: Table, path: str, headers: Mapping[bytes, bytes]) -> tuple[str, Live]:
    """The model asked for. Raises ``BadRequest`` 404 for an unknown one, 503 for one that cannot be served now."""
    if path != SUFFIX:
        name = path[len(PREFIX) : -len(SUFFIX)]
    elif b"x-model" in headers:
        name = headers[b"x-model"].decode("latin-1")
    elif len(table.live) == 1:
        name = next(iter(table.live))
    elif table.live:
        raise BadRequest([f"several models are live; say which by header x-model: {', '.join(table.live)}"])
    else:
        raise BadRequest(["no model is live yet; release one first"], 503)
    if name in table.live:
        return name, table.live[name]
    if name in table.broken:
        raise BadRequest([f"model {name!r} cannot be served: {table.broken[name]}"], 503)
    if not table.live:
        raise BadRequest([f"model {name!r} is not live; no model is"], 503)
    raise BadRequest([f"no model {name[:80]!r} is live; there are {', '.join(table.live)}"], 404)


def _prediction_time(headers: Mapping[bytes, bytes]) -> int | None:
    """Microseconds since 1970 of the header x-prediction-time; None without it."""
    value = headers.get(b"x-prediction-time")
    if value is None:
        return None
    text = value.decode("latin-1")
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError("it has no time zone")
        return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1e6)
    except (ValueError, OverflowError) as error:
        raise BadRequest([f"header x-prediction-time {text[:60]!r}: {error}; send 2013-03-01T10:00:00Z"]) from None


def _correlation(headers: Mapping[bytes, bytes]) -> str:
    """The caller's correlation id if it is fit to be sent back: up to 128 visible characters."""
    value = headers.get(b"x-correlation-id", b"")
    text = value.decode("latin-1")
    return text if 0 < len(text) <= 128 and text.isascii() and text.isprintable() else ""


def _problem(faults: list[str]) -> bytes:
    return orjson.dumps({"error": faults[0] if len(faults) == 1 else f"{len(faults)} faults", "faults": faults})


async def _answer(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    kind = () if any(name == b"content-type" for name, _ in headers) else (JSON,)
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*kind, length, *headers]})
    await send({"type": "http.response.body", "body": body})
