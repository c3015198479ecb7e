"""A mirrored version answers nobody: its answers are compared with the champion's and logged under role shadow."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from pipelines.rollout_moves import Rollout, RoutingTable
from pipelines.rollout_plan import Comparison
from pipelines.serving.bundle import BundleRefused
from pipelines.serving.control import Channel, Message
from pipelines.serving.feed import Mirrored, receive
from pipelines.serving.masking import writer
from pipelines.serving.prediction_log import ROTATE_SECONDS, Answer, LogWriter
from pipelines.serving.predictors import Predictor, fault_of, load
from pipelines.serving.tally import Tallies

REPORT_SECONDS = 0.5
BATCH = 8
"""Messages of some requests handled before the loop looks elsewhere."""
EARLY = 1000
"""Packets kept that came before the table that explains them."""


class Shadow:
    """The shadow worker: one line in, a log and counts out."""

    def __init__(self, feed: socket.socket, control: socket.socket, cache: Path, log: LogWriter) -> None:
        self._feed, self._cache, self._log = feed, cache, log
        self._channel = Channel(control, self._handle)
        self._tallies = Tallies()
        self._loaded: dict[str, Predictor] = {}
        self._serving: dict[tuple[str, str, str], tuple[Rollout, Predictor]] = {}
        self._early: deque[Mirrored] = deque(maxlen=EARLY)

    async def run(self) -> None:
        """Work until the supervisor is gone or says stop."""
        reporting = asyncio.create_task(self._report())
        await self._channel.run()
        reporting.cancel()
        self._log.rotate()

    def _read(self) -> bool:
        """Handle what is on the line; whether there may be more."""
        for _ in range(BATCH):
            packets = receive(self._feed)
            if not packets:
                return False
            self._early.extend(packet for packet in packets if not self._known(packet))
        return True

    def _known(self, packet: Mirrored) -> bool:
        """Compare it if its version is loaded; a data worker may have heard of a new mirror first."""
        found = self._serving.get((packet.model, packet.rollout_id, packet.version))
        if found is not None:
            self._compare(packet, *found)
        return found is not None

    def _compare(self, packet: Mirrored, record: Rollout, predictor: Predictor) -> None:
        names = list(predictor.manifest.names)
        values = packet.values
        if names != packet.names:
            values = [values[packet.names.index(name)] for name in names]
        started = time.perf_counter()
        bad, answers = "", []
        try:
            answers = predictor.predict(values, len(packet.predictions))
            bad = "invalid" if fault_of(answers, len(packet.predictions), predictor.manifest.output) else ""
        except Exception:  # whatever it is, it is the mirrored version's failure and nobody else's
            bad = "error"
        elapsed = time.perf_counter() - started
        key = (packet.model, packet.rollout_id, packet.step, packet.version, "shadow")
        limits = tuple(limit.over_ms for limit in record.plan.guard.latency)
        self._tallies.answered(key, elapsed, limits, bad=bad)
        if bad:
            return
        tally = self._tallies.of(key)
        differing, flipped = difference(packet.predictions, answers, record.plan.comparison)
        tally.compared += len(answers)
        tally.disagreed += differing
        tally.flipped += flipped
        self._append(packet, predictor, values, answers, elapsed)

    def _append(
        self, packet: Mirrored, predictor: Predictor, values: list[Any], answers: list[float], elapsed: float
    ) -> None:
        manifest = predictor.manifest
        kinds = [feature.type for feature in manifest.features]
        columns = self._log.columns(packet.model, packet.version, manifest.names, kinds, "shadow", packet.rollout_id)
        self._log.append(
            columns,
            Answer(
                columns.number,
                packet.moment,
                time.time_ns() // 1000,
                packet.request_id,
                packet.correlation_id,
                packet.generation,
                int(elapsed * 1e6),
                packet.ids,
                values,
                answers,
                packet.bucket,
                unit=packet.unit,
            ),
        )

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            if self._log.age() >= ROTATE_SECONDS:
                self._log.rotate()
            with contextlib.suppress(ConnectionError, TimeoutError):
                await self._channel.ask(self._counted(), timeout=5)

    def _counted(self) -> Message:
        return {"ask": "counted", "counters": self._lag(), "tallies": msgspec.to_builtins(self._tallies.take())}

    def _lag(self) -> Message:
        return {"dropped": self._log.dropped, "log_age": self._log.age()}

    async def _handle(self, message: Message) -> Message:
        if message["ask"] == "apply":
            return self._apply(msgspec.convert(message["table"], RoutingTable))
        if message["ask"] == "counters":
            return self._lag()
        if message["ask"] == "report":
            await self._channel.ask(self._counted(), timeout=5)
            return {}
        if message["ask"] == "rotate":
            while self._read():
                pass
            self._log.rotate()
            return {}
        return {"error": f"a shadow worker does not know {message['ask']!r}"}

    def _apply(self, table: RoutingTable) -> Message:
        """Compare by this table from the next request on."""
        serving, kept = {}, {}
        refused: dict[str, str] = {}
        for model, route in table.routes.items():
            if route.mirror is None or route.candidate is None or route.rollout is None:
                continue
            sha256 = route.candidate.sha256
            try:
                predictor = self._loaded.get(sha256) or load(self._cache / sha256, sha256)
            except BundleRefused as error:
                refused[model] = "; ".join(error.reasons)
                continue
            kept[sha256] = predictor
            serving[model, route.rollout.rollout_id, route.candidate.version] = (route.rollout, predictor)
        self._serving, self._loaded = serving, kept
        early, self._early = self._early, deque(maxlen=EARLY)
        for packet in early:
            self._known(packet)  # what nobody mirrors any more belongs to nobody
        asyncio.get_running_loop().add_reader(self._feed, self._read)
        return {"generation": table.generation, "refused": refused}


def difference(champion: list[float], mirrored: list[float], how: Comparison) -> tuple[int, int]:
    """How many rows differ by more than the tolerance, and how many would be decided otherwise."""
    pairs = list(zip(champion, mirrored, strict=True))
    differing = sum(abs(one - other) > how.tolerance for one, other in pairs)
    return differing, sum((one >= how.threshold) != (other >= how.threshold) for one, other in pairs)


async def serve(feed: int, control: int, name: str, folder: Path) -> None:
    loop = asyncio.get_running_loop()
    log = writer(folder, name, loop.call_later)
    worker = Shadow(socket.socket(fileno=feed), socket.socket(fileno=control), folder / "bundles", log)
    await worker.run()


def main(arguments: list[str]) -> None:
    """``python -m pipelines.serving.shadow <feed> <control> <name> <state folder>``."""
    feed, control, name, folder = arguments
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.nice(10)
    uvloop.run(serve(int(feed), int(control), name, Path(folder)))


if __name__ == "__main__":
    main(sys.argv[1:])
