"""Answers requests for predictions of both protocols the same way; counts all requests and logs all predictions."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec

from pipelines.logs.traces import Tracer
from pipelines.serving.data_plane.routing import LiveModel, LoadedTable
from pipelines.serving.http.response import Problem, Response
from pipelines.serving.ipc.metrics import WorkerCounters
from pipelines.serving.models import mlflow_protocol, open_inference_protocol
from pipelines.serving.models.response_cache import IS_CACHE_HIT
from pipelines.serving.models.rows import InputRows, RowSchema
from pipelines.serving.prediction_log.writer import LoggedAnswer, LogWriter
from pipelines.serving.traffic.candidate_client import CandidateFailed
from pipelines.serving.traffic.split import RoutedAnswer

log = logging.getLogger("airworthy.gateway")

PREDICTION_TIME = b"x-prediction-time"
CACHE_HIT_HEADER = (b"x-cache", b"hit")
INPUT_REPORT = b"x-input-report"
"""Header by which a caller asks for a report on its rows, and header of the response that is the report."""
CORRELATION_HEADERS = frozenset({b"x-correlation-id", b"x-request-id", b"traceparent"})
MAX_CORRELATION_ID = 128
TRACE_PARENT = re.compile(
    rb"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace_id>[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?P<more>-.*)?"
)
FAILURE_LOG_SECONDS = 1.0
"""At most one failure of a model is logged in such a time, so that a broken one does not fill the log."""
MODEL_IN_PATH = slice(len("/models/"), -len("/invocations"))
"""Position of the model's name in a path."""
TARGET_IN_V2_PATH = slice(len("/v2/models/"), -len("/infer"))
"""Position of ``<model>`` or ``<model>/versions/<version>``."""
MICROSECONDS_PER_DAY = 86_400_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST_PREDICTION_TIME = datetime(1900, 1, 1, tzinfo=UTC)
PREDICTION_TIME_END = datetime(2200, 1, 1, tzinfo=UTC)
"""Prediction times from the one to before the other are taken: each has a date in every time zone and table format."""


class InferenceProtocol(Protocol):
    """A format of the rows in a request and of the predictions in its response."""

    def read(self, body: bytes, schema: RowSchema) -> InputRows:
        """The rows of a body. Raises ``Problem`` with every fault of the body."""
        ...

    def write(self, model: str, version: str, rows: InputRows, predictions: Sequence[float]) -> bytes: ...


class PendingRequest(msgspec.Struct, frozen=True):
    """A request for predictions without its body; ``model``: None if not in the path; ``problem``: why it fails.

    ``version``: the one that the path names. ``chooses_version``: whether the caller may choose another version than
    the one that its request is routed to. ``caller``: its name for the log; None without credentials.
    ``prediction_time_days``: how far from now its prediction times may lie; None: any.
    """

    protocol: InferenceProtocol
    model: str | None
    headers: Mapping[bytes, bytes]
    problem: Problem | None = None
    version: str | None = None
    chooses_version: bool = False
    caller: str | None = None
    prediction_time_days: float | None = None


def match_inference_path(path: str) -> tuple[InferenceProtocol, str | None, str | None] | None:
    """Protocol, model and version of a path for predictions; None for every other path."""
    if path.endswith("/invocations"):
        if path == "/invocations":
            return mlflow_protocol, None, None
        model = path[MODEL_IN_PATH]
        if path.startswith("/models/") and model and "/" not in model:
            return mlflow_protocol, model, None
    elif path.endswith("/infer") and path.startswith("/v2/models/"):
        target = path[TARGET_IN_V2_PATH]
        if "/" not in target:
            return (open_inference_protocol, target, None) if target else None
        model, _, version = target.partition("/versions/")
        if model and version and "/" not in model + version:
            return open_inference_protocol, model, version
    return None


class PendingLogEntry(msgspec.Struct, frozen=True):
    """An answer that was sent and is still to be counted, mirrored and logged; it took ``seconds``."""

    model: str
    live: LiveModel
    routed: RoutedAnswer
    logged: LoggedAnswer
    seconds: float


class DataPlane:
    """Answers requests for predictions by the newest ``table``."""

    def __init__(
        self, log: LogWriter, *, clock: Callable[[], int] = time.time_ns, tracer: Tracer | None = None
    ) -> None:
        self.table = LoadedTable()
        self.counters = WorkerCounters()
        self._log, self._clock, self._tracer = log, clock, tracer
        self._worker = uuid.uuid4().hex[:12]
        self._request_numbers = itertools.count()
        self._pending: list[PendingLogEntry] = []
        self._next_failure_line = 0.0
        self._unlogged_failures = 0

    def infer_inline(self, request: PendingRequest, body: bytes) -> Response:
        """``infer`` by the champion alone, without awaiting, even if a candidate got traffic since it began."""
        try:
            self.infer(request, body, by_champion=True).send(None)
        except StopIteration as end:
            response: Response = end.value
            return response
        raise RuntimeError("the champion's answer must not await anything")

    async def infer(self, request: PendingRequest, body: bytes, *, by_champion: bool = False) -> Response:
        """The response: one prediction per row, or the faults of the request, or the failure of the model."""
        started = time.perf_counter()
        headers = request.headers
        request_id = f"{self._worker}{next(self._request_numbers):x}"
        correlation = _correlation_id(headers) or request_id
        correlation_header = (b"x-correlation-id", correlation.encode("latin-1"))
        table, model, live, rows = self.table, "", None, None
        try:
            model, live = table.find(request.model, headers)
            prediction_time = _prediction_time(request, self._clock) if PREDICTION_TIME in headers else None
            rows = request.protocol.read(body, live.schema_for(headers))
            if by_champion:
                routed = live.answer_by_champion(rows, started)
            else:
                routed = await live.answer(
                    headers, rows, request_id, started, request.version, chooses_version=request.chooses_version
                )
        except Exception as error:
            version = live.version if live else ""
            response = _to_problem(error, model, live, rows).response(correlation_header)
            if response.status == 500:
                self._log_failure(error, model, version, request_id, correlation)
            seconds = time.perf_counter() - started
            self.counters.count_request(model, version, response.status, 0, seconds)
            if self._tracer is not None:
                self._trace(headers, seconds, model, version, response.status, correlation)
            return response
        cache_hit = IS_CACHE_HIT.get()
        content = request.protocol.write(model, routed.version, rows, routed.predictions)
        seconds, now = time.perf_counter() - started, self._clock() // 1000
        logged = LoggedAnswer(
            routed.columns.number,
            now if prediction_time is None else prediction_time,
            now,
            request_id,
            correlation,
            table.generation,
            int(seconds * 1e6),
            routed.rows.ids,
            routed.rows.values,
            routed.predictions,
            routed.bucket,
            routed.fallback,
            cache_hit,
            1.0,
            routed.unit,
            request.caller,
        )
        if not self._pending:
            asyncio.get_running_loop().call_soon(self.record_answers)
        self._pending.append(PendingLogEntry(model, live, routed, logged, seconds))
        if self._tracer is not None:
            self._trace(headers, seconds, model, routed.version, 200, correlation)
        sent_headers = (correlation_header, *routed.headers)
        if INPUT_REPORT in headers:
            sent_headers = (*sent_headers, (INPUT_REPORT, _input_report(rows)))
        return Response(200, content, (*sent_headers, CACHE_HIT_HEADER) if cache_hit else sent_headers)

    def _trace(
        self, headers: Mapping[bytes, bytes], seconds: float, model: str, version: str, status: int, correlation: str
    ) -> None:
        """Record the request's span. It is in the caller's trace where a valid ``traceparent`` names one."""
        assert self._tracer is not None
        parent = headers.get(b"traceparent")
        facts: dict[str, str | int] = {"model": model, "version": version, "status": status}
        self._tracer.record(
            "predict",
            seconds,
            {**facts, "correlation_id": correlation},
            error="the model failed" if status == 500 else None,
            parent=parent.decode("latin-1") if parent else None,
        )

    def _log_failure(self, error: Exception, model: str, version: str, request_id: str, correlation: str) -> None:
        """Log a failure with the ids by which its caller finds it; of many in a second the first, and their number."""
        now = time.monotonic()
        if now < self._next_failure_line:
            self._unlogged_failures += 1
            return
        others = f", after {self._unlogged_failures} that are not here" if self._unlogged_failures else ""
        self._next_failure_line, self._unlogged_failures = now + FAILURE_LOG_SECONDS, 0
        fields = {"model": model, "version": version, "request_id": request_id, "correlation_id": correlation}
        text = f"model {model!r} version {version} failed: {_reason(error)} (correlation id {correlation}){others}"
        log.error("%s", text, extra=fields)

    def record_answers(self) -> None:
        """Count, mirror and log every pending answer, after its connection has written it."""
        pending, self._pending = self._pending, []
        for entry in pending:
            try:
                self._record_answer(entry)
            except Exception as error:  # logged without the values; the next entries follow
                self._log.dropped += entry.routed.rows.count
                log.error("an answer could not be logged: %s", type(error).__name__)

    def _record_answer(self, entry: PendingLogEntry) -> None:
        routed = entry.routed
        self.counters.count_request(entry.model, routed.version, 200, routed.rows.count, entry.seconds)
        output = entry.live.predictor.manifest.output
        self.counters.count_predictions(entry.model, routed.version, output, routed.predictions)
        if entry.logged.cache_hit:
            self.counters.count_cache_hit(entry.model, routed.version)
        if (routed.rows.ids is None or routed.rows.unseen is not None) and routed.columns.role != "probe":
            self.counters.count_odd_rows(entry.model, has_ids=routed.rows.ids is not None, unseen=routed.rows.unseen)
        if entry.live.split is not None:
            entry.live.split.mirror(routed, entry.logged)
        self._log.append(routed.columns, entry.logged)


def _to_problem(error: Exception, model: str, live: LiveModel | None, rows: InputRows | None) -> Problem:
    """What the caller gets: the faults of its request, or the failure of the model."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, OverflowError) and live is not None and rows is not None:
        return live.schema.out_of_range_problem(rows)
    return Problem(500, [f"model {model!r} version {live.version if live else ''} failed: {_reason(error)}"])


def _reason(error: Exception) -> str:
    """Why a model failed, without the values that the message of a library could contain."""
    return str(error) if isinstance(error, CandidateFailed) else type(error).__name__


def _prediction_time(request: PendingRequest, clock: Callable[[], int]) -> int:
    """Microseconds since 1970 of the header x-prediction-time.

    Raises ``Problem`` 403 for a time that this caller may not give. ``clock``: nanoseconds since 1970.
    """
    text = request.headers[PREDICTION_TIME].decode("latin-1")
    try:
        prediction_time = datetime.fromisoformat(text)
        if prediction_time.tzinfo is None:
            raise ValueError("it has no time zone")
        if not EARLIEST_PREDICTION_TIME <= prediction_time < PREDICTION_TIME_END:
            raise ValueError(f"it is not in the years {EARLIEST_PREDICTION_TIME:%Y} to {PREDICTION_TIME_END.year - 1}")
        microseconds = (prediction_time - EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError) as error:
        raise Problem(400, [f"header x-prediction-time {text[:60]!r}: {error}; send 2013-03-01T10:00:00Z"]) from None
    days = request.prediction_time_days
    if days is not None and abs(microseconds - clock() // 1000) > days * MICROSECONDS_PER_DAY:
        bound = f"is more than {days:g} days from now; that needs the scope replay"
        raise Problem(403, [f"header x-prediction-time {text[:60]!r} {bound}"])
    return microseconds


def _input_report(rows: InputRows) -> bytes:
    """What was odd about answered rows, as JSON in ASCII; column names cannot end the header."""
    report = {
        "rows": rows.count,
        "rows_without_id": rows.count if rows.ids is None else 0,
        "unseen_categories": rows.unseen or {},
    }
    return json.dumps(report, separators=(",", ":")).encode("ascii")


def _correlation_id(headers: Mapping[bytes, bytes]) -> str:
    """The id by which the caller finds this request; empty if it sent none that can be returned.

    It is that of x-correlation-id, else of x-request-id (at most 128 printable ASCII characters), else the trace id of
    traceparent (https://www.w3.org/TR/trace-context/).
    """
    if CORRELATION_HEADERS.isdisjoint(headers):
        return ""
    for name in (b"x-correlation-id", b"x-request-id"):
        text = headers.get(name, b"").decode("latin-1")
        if 0 < len(text) <= MAX_CORRELATION_ID and text.isascii() and text.isprintable():
            return text
    trace = TRACE_PARENT.fullmatch(headers.get(b"traceparent", b""))
    if trace is None or (trace["version"] == b"00" and trace["more"]):
        return ""
    return trace["trace_id"].decode()
