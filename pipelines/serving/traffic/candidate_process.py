"""The process of one candidate: loads, tests and serves one version, isolated from the champion."""

from __future__ import annotations

import signal
import socket
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from pipelines.logs.output import configure
from pipelines.serving.ipc.channel import Channel, Message
from pipelines.serving.models.bundle import GOLDEN_FILE, BundleManifest, BundleRefused, GoldenRows, InputColumn
from pipelines.serving.models.predictor import Predictor, load, prediction_fault

LATENCY_MEASUREMENTS = 15


class CandidateRequirements(msgspec.Struct, frozen=True):
    """Requirements on a candidate: the champion's columns and output, and an answer within ``deadline_ms``.

    None for columns and output: the candidate never answers the champion's callers, so it may have its own.
    """

    sha256: str
    features: list[InputColumn] | None
    output: str | None
    deadline_ms: float


def candidate_faults(predictor: Predictor, folder: Path, requirements: CandidateRequirements) -> list[str]:
    """Why this version cannot serve the champion's callers: columns, output, latency of one row."""
    manifest = predictor.manifest
    faults = schema_faults(manifest, requirements)
    golden = msgspec.json.decode((folder / GOLDEN_FILE).read_bytes(), type=GoldenRows)
    row: list[list[Any]] = [[value] for value in golden.rows[0]]
    times_ms = []
    for _ in range(LATENCY_MEASUREMENTS):
        started = time.perf_counter()
        answers = predictor.predict(row, 1)
        times_ms.append((time.perf_counter() - started) * 1000)
        if sum(times_ms) > 10 * requirements.deadline_ms:
            break
    fault = prediction_fault(answers, 1, manifest.output)
    if fault:
        faults.append(f"golden row 0: {fault}")
    median_ms = statistics.median(times_ms)
    if median_ms > requirements.deadline_ms:
        faults.append(f"one row takes {median_ms:.1f} ms; the deadline is {requirements.deadline_ms:g} ms")
    return faults


def schema_faults(manifest: BundleManifest, requirements: CandidateRequirements) -> list[str]:
    """Columns that differ from the champion's in name or type, in any order, and a different output."""
    if requirements.features is None:
        return []
    own = {feature.name: feature.type for feature in manifest.features}
    champion = {feature.name: feature.type for feature in requirements.features}
    faults = [f"the champion has no column {name!r}, so callers do not send it" for name in own if name not in champion]
    faults += [f"it lacks the champion's column {name!r}" for name in champion if name not in own]
    faults += [
        f"column {name!r} is {own[name]}, the champion's is {champion[name]}"
        for name in own
        if name in champion and own[name] != champion[name]
    ]
    if manifest.output != requirements.output:
        faults.append(f"its output is a {manifest.output}, the champion's is a {requirements.output}")
    return faults


class CandidateServer:
    """Answers ``load`` and ``predict``; one version per process."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._predictor: Predictor

    async def handle(self, message: Message) -> Message:
        if message["ask"] == "predict":
            return self._predict(message["values"], message["count"])
        if message["ask"] == "load":
            return self._load(msgspec.convert(message["wanted"], CandidateRequirements))
        return {"error": f"a candidate does not know {message['ask']!r}"}

    def _predict(self, values: list[Any], count: int) -> Message:
        try:
            predictions, seconds = self._predictor.predict_timed(values, count)
            return {"predictions": predictions, "seconds": seconds}
        except OverflowError:
            return {"overflow": True}

    def _load(self, requirements: CandidateRequirements) -> Message:
        folder = self._cache / requirements.sha256
        try:
            self._predictor = load(folder, requirements.sha256)
        except BundleRefused as error:
            return {"refused": error.reasons}
        manifest = self._predictor.manifest
        return {
            "refused": candidate_faults(self._predictor, folder, requirements),
            "features": msgspec.to_builtins(manifest.features),
            "output": manifest.output,
        }


async def serve(endpoint: socket.socket, cache: Path) -> None:
    await Channel(endpoint, CandidateServer(cache).handle).run()


def main(arguments: list[str]) -> None:
    """``python -m pipelines.serving.traffic.candidate_process <control> <cache of bundles>``."""
    control, cache = arguments
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    configure("gateway", process="candidate")
    uvloop.run(serve(socket.socket(fileno=int(control)), Path(cache)))


if __name__ == "__main__":
    main(sys.argv[1:])
