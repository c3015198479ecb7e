"""The process of one candidate: loads and tries one version and predicts by it, apart from all other answers."""

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

from pipelines.serving.ipc.channel import Channel, Message
from pipelines.serving.models.bundle import GOLDEN, BundleManifest, BundleRefused, GoldenRows, InputColumn
from pipelines.serving.models.predictor import Predictor, fault_of, load

TRIES = 15


class CandidateRequirements(msgspec.Struct, frozen=True):
    """What a candidate has to be: the champion's columns and kind of answer, and faster than ``deadline_ms``."""

    sha256: str
    features: list[InputColumn]
    output: str
    deadline_ms: float


def candidate_faults(predictor: Predictor, folder: Path, requirements: CandidateRequirements) -> list[str]:
    """Why callers of the champion could not be served by this version; one row has to be answered in time."""
    manifest = predictor.manifest
    faults = shape_faults(manifest, requirements)
    golden = msgspec.json.decode((folder / GOLDEN).read_bytes(), type=GoldenRows)
    row: list[list[Any]] = [[value] for value in golden.rows[0]]
    took = []
    for _ in range(TRIES):
        started = time.perf_counter()
        answers = predictor.predict(row, 1)
        took.append((time.perf_counter() - started) * 1000)
        if sum(took) > 10 * requirements.deadline_ms:
            break
    fault = fault_of(answers, 1, manifest.output)
    if fault:
        faults.append(f"golden row 0: {fault}")
    if statistics.median(took) > requirements.deadline_ms:
        faults.append(
            f"one row takes it {statistics.median(took):.1f} ms; the deadline is {requirements.deadline_ms:g} ms"
        )
    return faults


def shape_faults(manifest: BundleManifest, requirements: CandidateRequirements) -> list[str]:
    """Columns that differ from the champion's in name or type, whatever their order, and another kind of answer."""
    here = {feature.name: feature.type for feature in manifest.features}
    there = {feature.name: feature.type for feature in requirements.features}
    faults = [f"the champion's callers do not send its column {name!r}" for name in here if name not in there]
    faults += [f"it does not take the champion's column {name!r}" for name in there if name not in here]
    faults += [
        f"column {name!r} is {here[name]}, the champion's is {there[name]}"
        for name in here
        if name in there and here[name] != there[name]
    ]
    if manifest.output != requirements.output:
        faults.append(f"it answers a {manifest.output}, the champion a {requirements.output}")
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
            return {"predictions": self._predictor.predict(values, count)}
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
            "features": [[feature.name, feature.type] for feature in manifest.features],
        }


async def serve(endpoint: socket.socket, cache: Path) -> None:
    await Channel(endpoint, CandidateServer(cache).handle).run()


def main(arguments: list[str]) -> None:
    """``python -m pipelines.serving.traffic.candidate_process <control> <cache of bundles>``."""
    control, cache = arguments
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    uvloop.run(serve(socket.socket(fileno=int(control)), Path(cache)))


if __name__ == "__main__":
    main(sys.argv[1:])
