"""Load test: sends requests to the prepared candidate at the declared rate, and stores the figures and a plot."""

from __future__ import annotations

import asyncio
import io
import math
from typing import Any

import orjson
import polars as pl
import uvloop

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.release import LoadTestRequest, LoadTestResult
from pipelines.ports import Ports
from pipelines.spec.sizing import LoadTestSpec
from pipelines.steps.bundling.sendable_rows import sendable_rows
from pipelines.steps.load_testing.candidate_endpoint import KEY_VARIABLE, find_endpoint
from pipelines.steps.load_testing.evidence import assertion_evidence, latency_limits
from pipelines.steps.load_testing.open_loop import (
    Histogram,
    OpenLoop,
    RequestOutcome,
    RequestSchedule,
    RequestTarget,
    bucket_edge_ms,
)
from pipelines.steps.load_testing.plot import draw
from pipelines.steps.rollouts.design import requests_to_show

MAX_REQUEST_BODIES = 128
MAX_SNAPSHOT_ROWS = 2000
"""Rows at the end of ``golden.parquet`` that are real; those before are edge rows."""
WARM_UP_REQUESTS, WARM_UP_SECONDS = 20, 5.0
MAX_OPEN_CONNECTIONS = 512
TIMEOUT_SECONDS = 10.0
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
UNANSWERED_LATENCY_MS = 1e9
"""Latency that is recorded in place of infinity, for a request without an answer."""


def run(request: LoadTestRequest, ports: Ports) -> LoadTestResult:
    """Send requests to the prepared candidate at the declared rate, and store result and plot under ``rollouts/``.

    Raises ``Refused`` if the rollout has no such candidate, it cannot be reached, or every request is rejected.
    """
    deployment = ports.catalog.model(request.model).deployment
    declared = deployment.load_test
    if declared is None:
        raise Refused(f"deployment.load_test of {request.model} is not declared")
    url, headers = find_endpoint(request, deployment, ports)
    bodies, check = _request_bodies(request, declared.rows, ports), _answer_check(request.version, declared.rows)
    target = RequestTarget(url, bodies, check, headers)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcome, schedule = runner.run(_test(target, declared, deployment.analysis.alpha))
    return _result(request, declared, schedule, outcome, deployment.analysis.alpha, ports)


def _request_bodies(request: LoadTestRequest, rows: int, ports: Ports) -> list[bytes]:
    """Requests of ``rows`` real rows each, from those on which bundle and model were compared."""

    def read(name: str) -> bytes:
        return ports.store.get(store_paths.bundle(request.model, request.version, name))

    reference = pl.read_parquet(io.BytesIO(read("golden.parquet"))).drop("prediction")
    real = sendable_rows(reference.tail(MAX_SNAPSHOT_ROWS), read)
    if real.is_empty():
        subject = f"the bundle of {request.model} {request.version} has no row within its own ranges and categories"
        raise Refused(f"{subject} to send")
    records = [list(row) for row in real.iter_rows()]
    bodies = []
    for number in range(min(MAX_REQUEST_BODIES, len(records))):
        data = [records[(number * rows + place) % len(records)] for place in range(rows)]
        ids = [f"load-test-{number}-{place}" for place in range(rows)]
        bodies.append(orjson.dumps({"dataframe_split": {"columns": real.columns, "data": data}, "ids": ids}))
    return bodies


def _answer_check(version: str, rows: int) -> Any:
    expected = version.encode("latin-1")

    def judge(status: int, headers: dict[bytes, bytes], body: bytes) -> str:
        if status != 200:
            return f"status {status}"
        try:
            predictions = orjson.loads(body)["predictions"]
        except (ValueError, KeyError, TypeError):
            return "answer"
        if len(predictions) != rows or not all(isinstance(prediction, int | float) for prediction in predictions):
            return "answer"
        return "" if headers.get(b"x-model-version", expected) == expected else "wrong_version"

    return judge


async def _test(target: RequestTarget, declared: LoadTestSpec, alpha: float) -> tuple[RequestOutcome, RequestSchedule]:
    """Warm up, leave out bodies answered with a 4xx, then follow the schedule; a shown failure ends the test early."""
    accepted, errors, until = [], dict[str, int](), asyncio.get_running_loop().time() + WARM_UP_SECONDS
    for body in target.bodies:
        probe = RequestTarget(target.url, [body], target.find_fault, target.headers)
        warm = OpenLoop(probe, RequestSchedule(1, 1), [], timeout=TIMEOUT_SECONDS, max_open=1, stop=lambda _: False)
        warm_outcome = await warm.run()
        errors |= warm_outcome.errors
        accepted += [] if any(error.startswith("status 4") for error in warm_outcome.errors) else [body]
        if len(accepted) >= WARM_UP_REQUESTS or asyncio.get_running_loop().time() > until:
            break
    if not accepted:
        reason = f"the endpoint answers {', '.join(errors)}; see the gateway's log and the key in {KEY_VARIABLE}"
        raise Refused("no request was accepted", [reason])
    schedule = RequestSchedule(declared.target_rps, declared.duration, declared.ramp_up_time)
    limits = sorted({limit for _, limit in latency_limits(declared)})

    def failed(outcome: RequestOutcome) -> bool:
        shares = assertion_evidence(declared, outcome)
        return any(share.above >= math.log(len(shares) / alpha) for share in shares)

    checked_target = RequestTarget(target.url, accepted, target.find_fault, target.headers)
    loop = OpenLoop(
        checked_target, schedule, limits, timeout=TIMEOUT_SECONDS, max_open=MAX_OPEN_CONNECTIONS, stop=failed
    )
    return await loop.run(), schedule


def _result(
    request: LoadTestRequest,
    declared: LoadTestSpec,
    schedule: RequestSchedule,
    outcome: RequestOutcome,
    alpha: float,
    ports: Ports,
) -> LoadTestResult:
    shares = [
        share.model_copy(update={"needed_total": requests_to_show(share.bad / share.total, share.limit, alpha)})
        if share.total and share.below < -math.log(alpha)
        else share
        for share in assertion_evidence(declared, outcome)
    ]
    lasted = outcome.last_sent - schedule.ramp_up
    result = LoadTestResult(
        model=request.model,
        version=request.version,
        rollout_id=request.rollout_id,
        sent=outcome.sent,
        answered=outcome.answered,
        errors=dict(sorted(outcome.errors.items())),
        wrong_version_answers=outcome.wrong_version_answers,
        unsent=outcome.unsent,
        stopped_early=outcome.stopped,
        seconds=outcome.elapsed_seconds,
        declared_rps=declared.target_rps,
        plateau_rps=outcome.plateau.total / lasted if lasted > 0 else 0.0,
        lag_p99_ms=_finite_ms(outcome.lag.percentile(0.99)),
        percentiles_ms={name: _finite_ms(outcome.plateau.percentile(share)) for name, share in PERCENTILES.items()},
        shown=shares,
        histogram=_histogram(outcome.plateau),
        per_second=_per_second(outcome),
    )
    plot = draw(result, declared)
    uris = {
        "plot": ports.store.put(store_paths.rollout(request.model, request.rollout_id, "load_test.png"), plot),
        "report": ports.store.uri(store_paths.rollout(request.model, request.rollout_id, "load_test.json")),
    }
    result = result.model_copy(update=uris)
    content = result.model_dump_json(by_alias=True, indent=1).encode()
    ports.store.put(store_paths.rollout(request.model, request.rollout_id, "load_test.json"), content)
    return result


def _histogram(histogram: Histogram) -> dict[str, int]:
    counts = {f"{bucket_edge_ms(place):.4g}": histogram.counts[place] for place in sorted(histogram.counts)}
    return counts | ({"never": histogram.unanswered} if histogram.unanswered else {})


def _per_second(outcome: RequestOutcome) -> list[list[float]]:
    return [
        [second, counts.sent, counts.answered, counts.errors, round(counts.worst_ms, 3)]
        for second, counts in sorted(outcome.seconds.items())
    ]


def _finite_ms(value: float) -> float:
    return round(value, 4) if math.isfinite(value) else UNANSWERED_LATENCY_MS
