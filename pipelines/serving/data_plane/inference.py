"""Requests for predictions take one way, whatever their protocol: all are counted, and all predictions logged."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from pipelines.serving.data_plane.routing import LiveModel, LoadedTable
from pipelines.serving.http.response import Problem, Response
from pipelines.serving.ipc.metrics import WorkerCounters
from pipelines.serving.models import mlflow_protocol, open_inference_protocol
from pipelines.serving.models.response_cache import HIT
from pipelines.serving.models.rows import InputRows, RowSchema
from pipelines.serving.prediction_log.writer import LoggedAnswer, LogWriter
from pipelines.serving.traffic.candidate_client import CandidateFailed
from pipelines.serving.traffic.split import RoutedAnswer

log = logging.getLogger("airworthy.gateway")

CACHE_HIT = (b"x-cache", b"hit")
BY_MODEL = slice(len("/models/"), -len("/invocations"))
BY_MODEL_V2 = slice(len("/v2/models/"), -len("/infer"))
"""Where the name of the model stands in a path."""


class InferenceProtocol(Protocol):
    """A form in which rows are sent and predictions returned."""

    def read(self, body: bytes, schema: RowSchema) -> InputRows:
        """Raises ``Problem`` with every fault of the body."""
        ...

    def write(self, model: str, version: str, rows: InputRows, predictions: Sequence[float]) -> bytes: ...


class PendingRequest(msgspec.Struct, frozen=True):
    """The head of a request for predictions. ``model``: None where the path names none.

    ``problem``: why it may not pass the door.
    """

    protocol: InferenceProtocol
    model: str | None
    headers: Mapping[bytes, bytes]
    problem: Problem | None = None


def inference_endpoint(path: str) -> tuple[InferenceProtocol, str | None] | None:
    """The protocol and the model of a path by which predictions are asked for; None for every other path."""
    if path.endswith("/invocations"):
        if path == "/invocations":
            return mlflow_protocol, None
        if path.startswith("/models/"):
            return mlflow_protocol, path[BY_MODEL]
    elif path.endswith("/infer") and path.startswith("/v2/models/"):
        model = path[BY_MODEL_V2]
        if model and "/" not in model:
            return open_inference_protocol, model
    return None


class PendingLogEntry(msgspec.Struct, frozen=True):
    """An answer that was given and is still to be counted, mirrored and logged as ``answer``; it took ``seconds``."""

    model: str
    live: LiveModel
    answered: RoutedAnswer
    answer: LoggedAnswer
    seconds: float


class DataPlane:
    """Answers requests for predictions by the newest ``table``."""

    def __init__(self, log: LogWriter, *, clock: Callable[[], int] = time.time_ns) -> None:
        self.table = LoadedTable()
        self.counters = WorkerCounters()
        self._log, self._clock = log, clock
        self._worker = uuid.uuid4().hex[:12]
        self._numbers = itertools.count()
        self._receipts: list[PendingLogEntry] = []

    def infer_at_once(self, request: PendingRequest, body: bytes) -> Response:
        """``infer`` by the champion alone, so that nothing is waited for.

        Where its candidate has got traffic since the request began, the request still is the champion's.
        """
        try:
            self.infer(request, body, at_once=True).send(None)
        except StopIteration as end:
            response: Response = end.value
            return response
        raise RuntimeError("a champion waits for nobody")

    async def infer(self, request: PendingRequest, body: bytes, *, at_once: bool = False) -> Response:
        """A prediction for every row, or what is wrong with the request, or that the model failed."""
        started = time.perf_counter()
        headers = request.headers
        request_id = f"{self._worker}{next(self._numbers):x}"
        correlation = _correlation(headers) or request_id
        echo = (b"x-correlation-id", correlation.encode("latin-1"))
        table, model, live, rows = self.table, "", None, None
        try:
            model, live = table.find(request.model, headers)
            moment = _prediction_time(headers)
            rows = request.protocol.read(body, live.schema)
            if at_once:
                answered = live.answer_at_once(rows, started)
            else:
                answered = await live.answer(headers, rows, request_id, started)
        except Exception as error:
            response = _problem(error, model, live, rows).response(echo)
            version = live.version if live else ""
            self.counters.answered(model, version, response.status, 0, time.perf_counter() - started)
            return response
        cache_hit = HIT.get()
        content = request.protocol.write(model, answered.version, rows, answered.predictions)
        seconds, now = time.perf_counter() - started, self._clock() // 1000
        answer = LoggedAnswer(
            answered.columns.number,
            now if moment is None else moment,
            now,
            request_id,
            correlation,
            table.generation,
            int(seconds * 1e6),
            answered.rows.ids,
            answered.rows.values,
            answered.predictions,
            answered.bucket,
            answered.fallback,
            cache_hit,
            1.0,
            answered.unit,
        )
        if not self._receipts:
            asyncio.get_running_loop().call_soon(self.settle)
        self._receipts.append(PendingLogEntry(model, live, answered, answer, seconds))
        return Response(200, content, (echo, *answered.headers, CACHE_HIT) if cache_hit else (echo, *answered.headers))

    def settle(self) -> None:
        """Count, mirror and log every answer that was given; its connection has written it by now."""
        receipts, self._receipts = self._receipts, []
        for receipt in receipts:
            try:
                self._record(receipt)
            except Exception as error:  # said without the values; the others are still to be logged
                self._log.dropped += receipt.answered.rows.count
                log.error("an answer could not be logged: %s", type(error).__name__)

    def _record(self, receipt: PendingLogEntry) -> None:
        answered = receipt.answered
        self.counters.answered(receipt.model, answered.version, 200, answered.rows.count, receipt.seconds)
        if receipt.live.arms is not None:
            receipt.live.arms.mirror(answered, receipt.answer)
        self._log.append(answered.columns, receipt.answer)


def _problem(error: Exception, model: str, live: LiveModel | None, rows: InputRows | None) -> Problem:
    """What the caller is told: its own faults, or that the model failed (said, counted, survived)."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, OverflowError) and live is not None and rows is not None:
        return live.schema.out_of_range(rows)
    why = error if isinstance(error, CandidateFailed) else type(error).__name__
    return Problem(500, [f"model {model!r} version {live.version if live else ''} failed: {why}"])


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
        raise Problem(400, [f"header x-prediction-time {text[:60]!r}: {error}; send 2013-03-01T10:00:00Z"]) from None


def _correlation(headers: Mapping[bytes, bytes]) -> str:
    """The caller's correlation id if it is fit to be sent back: up to 128 visible characters."""
    if b"x-correlation-id" not in headers:
        return ""
    text = headers[b"x-correlation-id"].decode("latin-1")
    return text if 0 < len(text) <= 128 and text.isascii() and text.isprintable() else ""
