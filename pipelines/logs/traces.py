"""Sends spans of requests and steps to the OpenTelemetry collector that AIRWORTHY_TRACES names; without one nothing.

A span is sent in the background; a collector that does not answer loses spans and delays nobody.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pipelines.errors import Refused
from pipelines.logs.personal_data import mask_message

TRACES = "AIRWORTHY_TRACES"
"""Address of a collector that takes OTLP over HTTP, as in ``http://collector:4318``."""
EXPORT_SECONDS = 2
NANOSECONDS = 1_000_000_000
Attributes = Mapping[str, str | int]


class Tracer:
    """Spans of one part. Made by ``open_tracer``."""

    def __init__(self, part: str, endpoint: str) -> None:
        # Here: they take a tenth of a second, which is nobody's who sends no spans.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS)
        resource = Resource.create({"service.name": "airworthy", "airworthy.part": part})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=True)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000))
        self._tracer = self._provider.get_tracer("airworthy")
        self._propagator = TraceContextTextMapPropagator()

    def record(
        self, name: str, seconds: float, attributes: Attributes, *, error: str | None = None, parent: str | None = None
    ) -> None:
        """A span that has just ended. ``parent``: the caller's ``traceparent``; ``error``: why it failed."""
        from opentelemetry.trace import Status, StatusCode

        ended = time.time_ns()
        context = self._propagator.extract({"traceparent": parent}) if parent else None
        named = {f"airworthy.{key}": value for key, value in attributes.items()}
        began = ended - int(seconds * NANOSECONDS)
        span = self._tracer.start_span(name, context=context, attributes=named, start_time=began)
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, mask_message(error)))
        span.end(end_time=ended)

    def flush(self) -> None:
        """Send what waits; at most for ``EXPORT_SECONDS``."""
        self._provider.force_flush(EXPORT_SECONDS * 1000)


def open_tracer(part: str, environment: Mapping[str, str] = os.environ) -> Tracer | None:
    """None where no collector is named. ``Refused`` for an address that is none, or without the packages."""
    endpoint = environment.get(TRACES)
    if not endpoint:
        return None
    if not endpoint.startswith(("http://", "https://")):
        raise Refused(f"{TRACES} {endpoint!r} is no address", ["write it as in http://127.0.0.1:4318"])
    try:
        return Tracer(part, endpoint)
    except ImportError as error:
        raise Refused(f"{TRACES} needs the package opentelemetry-exporter-otlp-proto-http", [str(error)]) from error


@contextmanager
def step_span(step: str, environment: Mapping[str, str] = os.environ) -> Iterator[None]:
    """A span around a step; its correlation id is that of the run: ``<dag_id>/<run_id>``, or a pod's run."""
    tracer = open_tracer("step", environment)
    if tracer is None:
        yield
        return
    began, error = time.monotonic(), None
    try:
        yield
    except Exception as failure:
        error = f"{type(failure).__name__}: {failure}"
        raise
    finally:
        attributes: dict[str, Any] = {"step": step}
        if run := run_of(environment):
            attributes["correlation_id"] = run
        tracer.record(f"step {step}", time.monotonic() - began, attributes, error=error)
        tracer.flush()


def run_of(environment: Mapping[str, str]) -> str | None:
    """The run in which a step is, as Airflow or its pod names it."""
    dag, run = environment.get("AIRFLOW_CTX_DAG_ID"), environment.get("AIRFLOW_CTX_DAG_RUN_ID")
    return f"{dag}/{run}" if dag and run else environment.get("AIRWORTHY_RUN")
