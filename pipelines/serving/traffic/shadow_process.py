"""The shadow worker: predicts mirrored requests, compares the answers with the champion's, and logs them."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from pipelines.logs.output import configure
from pipelines.rollout.plan import ComparisonPlan
from pipelines.rollout.transitions import RolloutRecord, RoutingTable
from pipelines.serving.ipc.channel import Channel, Message
from pipelines.serving.ipc.garbage_collection import freeze_gc
from pipelines.serving.models.bundle import BundleRefused
from pipelines.serving.models.predictor import Predictor, load, prediction_fault
from pipelines.serving.prediction_log.masking import open_log_writer
from pipelines.serving.prediction_log.writer import ROTATE_SECONDS, LogColumns, LoggedAnswer, LogWriter
from pipelines.serving.traffic.counters import ArmCounters, ArmKey
from pipelines.serving.traffic.mirror_queue import MirrorBatch, receive

REPORT_SECONDS = 0.5
MESSAGES_PER_READ = 8
"""Messages handled before the event loop gets control again."""
MAX_REQUESTS_BEFORE_LOAD = 1000
"""Requests kept that arrived before their routing table."""


class ShadowVersion(msgspec.Struct, frozen=True):
    """One mirrored version: its rollout, predictor, columns in the log, and latency limits in ms."""

    record: RolloutRecord
    predictor: Predictor
    names: list[str]
    columns: LogColumns
    limits: tuple[float, ...]


class ShadowWorker:
    """Reads mirrored requests from a socket, writes a prediction log and reports counts."""

    def __init__(self, mirror_socket: socket.socket, control: socket.socket, cache: Path, log: LogWriter) -> None:
        self._mirror_socket, self._cache, self._log = mirror_socket, cache, log
        self._channel = Channel(control, self._handle)
        self._arm_counters = ArmCounters()
        self._loaded: dict[str, Predictor] = {}
        self._shadows: dict[tuple[str, str, str], ShadowVersion] = {}
        self._early_requests: deque[MirrorBatch] = deque(maxlen=MAX_REQUESTS_BEFORE_LOAD)

    async def run(self) -> None:
        """Work until the supervisor closes the channel."""
        report_task = asyncio.create_task(self._report())
        await self._channel.run()
        report_task.cancel()
        self._log.rotate()

    def _read(self) -> bool:
        """Handle waiting messages; returns whether there may be more."""
        for _ in range(MESSAGES_PER_READ):
            mirrored = receive(self._mirror_socket)
            if mirrored is None:
                return False
            if not self._compare_if_loaded(mirrored):
                self._early_requests.extend(MirrorBatch(mirrored.header, [answer]) for answer in mirrored.answers)
        return True

    def _compare_if_loaded(self, mirrored: MirrorBatch) -> bool:
        """Compare them if their version is loaded; a data worker may get a new routing table earlier."""
        header = mirrored.header
        shadow = self._shadows.get((header.model, header.rollout_id, header.version))
        if shadow is None:
            return False
        key = (header.model, header.rollout_id, header.step, header.version, "shadow")
        order = None if shadow.names == header.names else [header.names.index(name) for name in shadow.names]
        for answer in mirrored.answers:
            values = answer.values if order is None else [answer.values[index] for index in order]
            self._compare(key, answer, values, shadow)
        return True

    def _compare(self, key: ArmKey, champion: LoggedAnswer, values: list[Sequence[Any]], shadow: ShadowVersion) -> None:
        """Predict and compare one request; alone, so that its latency is that of a caller's request."""
        predictor, comparison = shadow.predictor, shadow.record.plan.comparison
        count = len(champion.predictions)
        started = time.perf_counter()
        bad, answers = "", []
        try:
            answers = predictor.predict(values, count)
            bad = "invalid" if prediction_fault(answers, count, predictor.manifest.output) else ""
        except Exception:  # any error counts as a failure of the mirrored version
            bad = "error"
        elapsed = time.perf_counter() - started
        self._arm_counters.count_request(key, elapsed, shadow.limits, bad=bad)
        if bad:
            return
        tally = self._arm_counters.tally_of(key)
        disagreed, flipped = count_differences(champion.predictions, answers, comparison)
        tally.compared += count
        tally.disagreed += disagreed
        tally.flipped += flipped
        logged = msgspec.structs.replace(
            champion,
            columns=shadow.columns.number,
            logged_at=time.time_ns() // 1000,
            latency_us=int(elapsed * 1e6),
            values=values,
            predictions=answers,
            fallback=False,
            cache_hit=False,
        )
        self._log.append(shadow.columns, logged)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            if self._log.segment_age() >= ROTATE_SECONDS:
                self._log.rotate()
            with contextlib.suppress(ConnectionError, TimeoutError):
                await self._channel.ask(self._counts_message(), timeout=5)

    def _counts_message(self) -> Message:
        tallies = msgspec.to_builtins(self._arm_counters.take_tallies())
        return {"ask": "counted", "counters": self._log_counters(), "tallies": tallies}

    def _log_counters(self) -> Message:
        return {"dropped": self._log.dropped, "log_age": self._log.segment_age()}

    async def _handle(self, message: Message) -> Message:
        if message["ask"] == "apply":
            return self._apply_table(msgspec.convert(message["table"], RoutingTable))
        if message["ask"] == "counters":
            return self._log_counters()
        if message["ask"] == "report":
            await self._channel.ask(self._counts_message(), timeout=5)
            return {}
        if message["ask"] == "rotate":
            while self._read():
                pass
            self._log.rotate()
            return {}
        return {"error": f"a shadow worker does not know {message['ask']!r}"}

    def _apply_table(self, table: RoutingTable) -> Message:
        """Use this routing table from the next request on."""
        shadows, loaded = {}, {}
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
            loaded[sha256] = predictor
            rollout_id, version = route.rollout.rollout_id, route.candidate.version
            names, types = predictor.manifest.names, [feature.type for feature in predictor.manifest.features]
            columns = self._log.columns(model, version, names, types, "shadow", rollout_id)
            limits = tuple(limit.over_ms for limit in route.rollout.plan.guard.latency)
            shadows[model, rollout_id, version] = ShadowVersion(route.rollout, predictor, list(names), columns, limits)
        self._shadows, self._loaded = shadows, loaded
        early_requests, self._early_requests = self._early_requests, deque(maxlen=MAX_REQUESTS_BEFORE_LOAD)
        for mirrored in early_requests:
            self._compare_if_loaded(mirrored)  # requests of a mirror that has ended are discarded
        freeze_gc()
        asyncio.get_running_loop().add_reader(self._mirror_socket, self._read)
        return {"generation": table.generation, "refused": refused}


def count_differences(champion: list[float], mirrored: list[float], comparison: ComparisonPlan) -> tuple[int, int]:
    """Number of rows that differ by more than the tolerance, and of rows on the other side of the threshold."""
    pairs = list(zip(champion, mirrored, strict=True))
    disagreed = sum(abs(live - shadow) > comparison.tolerance for live, shadow in pairs)
    return disagreed, sum((live >= comparison.threshold) != (shadow >= comparison.threshold) for live, shadow in pairs)


async def serve(mirror_socket: int, control: int, name: str, folder: Path) -> None:
    loop = asyncio.get_running_loop()
    log = open_log_writer(folder, name, loop.call_later)
    worker = ShadowWorker(socket.socket(fileno=mirror_socket), socket.socket(fileno=control), folder / "bundles", log)
    await worker.run()


def main(arguments: list[str]) -> None:
    """``python -m pipelines.serving.traffic.shadow_process <mirror> <control> <name> <state folder>``."""
    mirror_socket, control, name, folder = arguments
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    configure("gateway", process=f"shadow {name}")
    uvloop.run(serve(int(mirror_socket), int(control), name, Path(folder)))


if __name__ == "__main__":
    main(sys.argv[1:])
