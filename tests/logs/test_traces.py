"""Spans of requests and steps reach a collector with the ids by which logs and rows are found; without one nothing."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pipelines.errors import Refused
from pipelines.logs.traces import TRACES, open_tracer, run_of, step_span
from pipelines.testing.ports import FakePorts
from pipelines.wiring import run_step
from tests.free_port import free_port
from tests.serving.gateway_process import ROWS, Gateway, write_bundle

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
RUN = {"AIRFLOW_CTX_DAG_ID": "m__monitor", "AIRFLOW_CTX_DAG_RUN_ID": "scheduled__1"}


class Collector:
    """Takes OTLP over HTTP, and keeps the spans: name, trace, parent, whether it failed, and attributes."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        spans = self.spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
                for resource in sent.resource_spans:
                    part = {each.key: each.value.string_value for each in resource.resource.attributes}
                    for scope in resource.scope_spans:
                        spans.extend(_facts(span, part["airworthy.part"]) for span in scope.spans)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        deadline = time.monotonic() + 180
        while len(self.spans) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.spans


def _facts(span: Any, part: str) -> dict[str, Any]:
    named = {each.key: each.value.string_value or each.value.int_value for each in span.attributes}
    return {
        "name": span.name,
        "part": part,
        "trace": span.trace_id.hex(),
        "parent": span.parent_span_id.hex(),
        "seconds": (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        "error": span.status.message if span.status.code == 2 else None,
        **{key.removeprefix("airworthy."): value for key, value in named.items()},
    }


@pytest.fixture
def collector() -> Iterator[Collector]:
    receiver = Collector()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


def test_a_request_has_a_span_in_its_callers_trace_with_the_correlation_id_of_its_row(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that is refused; the answer names the same id."""
    monkeypatch.setenv(TRACES, collector.address)
    gateway = Gateway(tmp_path / "gateway").start()
    try:
        assert gateway.release("1", write_bundle(tmp_path / "bundles", "1")).status_code == 200, gateway.log
        address = f"{gateway.base}/models/flight_delay/invocations"
        rows = {"dataframe_split": {"columns": ["carrier", "distance", "hour"], "data": ROWS}}
        traced = httpx.post(address, json=rows, headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
        refused = httpx.post(address, json={"dataframe_split": {}}, headers={"x-correlation-id": "c-7"})
        answered, other = sorted(collector.wait_for(2), key=lambda span: span["status"])
    finally:
        gateway.stop()
    assert (answered["name"], answered["part"], answered["trace"], answered["parent"]) == (
        "predict",
        "gateway",
        TRACE,
        SPAN,
    )
    facts = {name: answered[name] for name in ("model", "version", "status", "correlation_id", "error")}
    correlation = traced.headers["x-correlation-id"]
    assert facts == {
        "model": "flight_delay",
        "version": "1",
        "status": 200,
        "correlation_id": correlation,
        "error": None,
    }
    assert correlation == TRACE
    assert (other["status"], other["correlation_id"], other["parent"]) == (refused.status_code, "c-7", "")


def test_a_step_has_a_span_with_its_run_and_one_that_fails_says_why_without_personal_data(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the door through which tasks and pods run every step."""
    for name, value in {**RUN, TRACES: collector.address}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Refused):
        run_step("measure_drift", '{"model": "jo.doe@mail.example", "day": "2013-01-01"}', FakePorts.make(tmp_path))
    [span] = collector.wait_for(1)
    assert (span["name"], span["correlation_id"], span["parent"]) == (
        "step measure_drift",
        "m__monitor/scheduled__1",
        "",
    )
    assert span["error"].startswith("Refused: ")
    assert "jo.doe" not in span["error"]


def test_nothing_is_sent_or_imported_where_no_collector_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry.sdk.trace", raising=False)
    assert open_tracer("gateway", {}) is None
    with step_span("s", {}):
        pass
    assert "opentelemetry.sdk.trace" not in sys.modules


def test_a_collector_that_does_not_answer_fails_no_step() -> None:
    began = time.monotonic()
    with step_span("s", {TRACES: f"http://127.0.0.1:{free_port()}"}):
        pass
    assert time.monotonic() - began < 20


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(Refused, match="is no address"):
        open_tracer("gateway", {TRACES: "collector:4318"})


@pytest.mark.parametrize(
    ("environment", "run"),
    [({}, None), (RUN, "m__monitor/scheduled__1"), ({"AIRWORTHY_RUN": "runs/m/1"}, "runs/m/1")],
    ids=["no run", "a task", "a pod"],
)
def test_a_run_is_named_by_airflow_or_by_its_pod(environment: dict[str, str], run: str | None) -> None:
    assert run_of(environment) == run
