"""Rolls the rollout of a drill back and times it by requests to the public endpoint before, during and after."""

from __future__ import annotations

import http.client
import os
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import orjson
import polars as pl

from pipelines.errors import Refused
from pipelines.messages.rollback_drill import DrillRequest, DrillResult
from pipelines.ports import DeploymentTarget, Ports
from pipelines.steps.bundling.sendable_rows import sendable_rows

REQUEST_PAUSE_SECONDS = 0.02
"""Between two requests; it is also the resolution of the measured time."""
WARMUP_ANSWERS = 5
WARMUP_SECONDS = 10.0
ANSWERS_AFTER_ROLLBACK = 5
MAX_WAIT_SECONDS = 30.0
"""Longest wait for the last answer of the candidate."""
REJECTED_STATUSES = (429, 503)


def run(request: DrillRequest, ports: Ports) -> DrillResult:
    """Roll the drill's rollout back, whatever the probe requests show. Raises what the target raises."""
    target = ports.target(request.model)
    embedded = ports.catalog.model(request.model).deployment.target.kind == "embedded"
    probes = ProbeRequests(ports.settings.gateway, request, golden_request(request, ports)) if embedded else None
    if probes is not None:
        probes.start()
        probes.wait(lambda times: times.count(request.candidate) >= WARMUP_ANSWERS, WARMUP_SECONDS)
    started = time.monotonic()
    target.roll_back(request.model, request.rollout_id, request.reason, key=f"{request.rollout_id}/roll_back")
    call_seconds = time.monotonic() - started
    restored = _wait_restored(target, request.model, started)
    restored_seconds = time.monotonic() - started
    known = {"candidate": request.candidate, "call_seconds": call_seconds, "restored": restored}
    known |= {"restored_seconds": restored_seconds}
    if probes is None:
        return DrillResult.model_validate({**known, "asked": False})
    probes.wait(
        lambda times: times.trailing_answers_of_others(request.candidate) >= ANSWERS_AFTER_ROLLBACK, MAX_WAIT_SECONDS
    )
    probes.stop()
    times = probes.times
    late = [at - started for at, version in times.answers if version == request.candidate and at > started]
    return DrillResult.model_validate(
        {
            **known,
            "before": sum(1 for at, version in times.answers if version == request.candidate and at <= started),
            "last_answer_seconds": max(late, default=0.0),
            "after": times.trailing_answers_of_others(request.candidate),
            "failed": times.failed,
            "turned_away": times.rejected,
        }
    )


def golden_request(request: DrillRequest, ports: Ports) -> bytes:
    """One reference row of the candidate, as a caller sends it."""

    def read(name: str) -> bytes:
        return ports.store.get(f"{request.bundle}/{name}")

    names = [feature["name"] for feature in orjson.loads(read("bundle.json"))["features"]]
    golden = orjson.loads(read("golden.json"))["rows"]
    rows = sendable_rows(pl.DataFrame(golden, names, orient="row", infer_schema_length=None), read)
    if rows.is_empty():
        raise Refused(f"bundle {request.bundle} holds no row to send; deploy version {request.candidate} again")
    data = {"columns": rows.columns, "data": [list(rows.row(0))]}
    return orjson.dumps({"dataframe_split": data, "ids": [f"drill-{request.rollout_id}"]})


def _wait_restored(target: DeploymentTarget, model: str, started: float) -> bool:
    """Whether the champion gets all traffic, at every worker, within ``MAX_WAIT_SECONDS``."""
    while True:
        state = target.rollout(model)
        if state.applied and state.split.get(state.champion) == 10_000:
            return True
        if time.monotonic() - started > MAX_WAIT_SECONDS:
            return False
        time.sleep(REQUEST_PAUSE_SECONDS)


@dataclass
class AnswerTimes:
    """Time (monotonic seconds) and version of each answer, oldest first."""

    answers: list[tuple[float, str]] = field(default_factory=list)
    failed: int = 0
    rejected: int = 0

    def count(self, version: str) -> int:
        return sum(1 for _, answering in list(self.answers) if answering == version)

    def trailing_answers_of_others(self, version: str) -> int:
        """Number of the last answers in a row that were not this version's."""
        count = 0
        for _, answering in reversed(list(self.answers)):
            if answering == version:
                break
            count += 1
        return count


class ProbeRequests:
    """Requests one after the other, each on a connection of its own so that every worker gets some."""

    def __init__(self, gateway_url: str, request: DrillRequest, body: bytes) -> None:
        url = urlsplit(gateway_url)
        self._host, self._port = url.hostname or "127.0.0.1", url.port
        self._connect = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        self._path = f"{url.path.rstrip('/')}/models/{request.model}/invocations"
        self._headers = {"content-type": "application/json", request.header: request.rollout_id}
        if key := os.environ.get("AIRWORTHY_GATEWAY_KEY"):
            self._headers["x-api-key"] = key
        self._body = body
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._send_until_stopped, daemon=True)
        self.times = AnswerTimes()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join(MAX_WAIT_SECONDS)

    def wait(self, is_enough: object, seconds: float) -> None:
        """Return when ``is_enough(times)`` is true or the time is up."""
        assert callable(is_enough)
        deadline = time.monotonic() + seconds
        while not is_enough(self.times) and time.monotonic() < deadline:
            time.sleep(REQUEST_PAUSE_SECONDS / 2)

    def _send_until_stopped(self) -> None:
        while not self._done.is_set():
            self._send()
            self._done.wait(REQUEST_PAUSE_SECONDS)

    def _send(self) -> None:
        connection = self._connect(self._host, self._port, timeout=10)
        try:
            connection.request("POST", self._path, self._body, self._headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self.times.failed += 1
            return
        finally:
            connection.close()
        if answer.status in REJECTED_STATUSES:
            self.times.rejected += 1
        elif answer.status != 200:
            self.times.failed += 1
        else:
            self.times.answers.append((time.monotonic(), answer.getheader("x-model-version") or ""))
