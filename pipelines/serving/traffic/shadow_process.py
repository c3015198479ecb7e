"""The shadow worker: predicts mirrored requests, compares them with the champion's answers, and logs them."""

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

from pipelines.rollout.plan import ComparisonPlan
from pipelines.rollout.transitions import RolloutRecord, RoutingTable
from pipelines.serving.ipc.channel import Channel, Message
from pipelines.serving.ipc.garbage_collection import freeze_gc
from pipelines.serving.models.bundle import BundleRefused
from pipelines.serving.models.predictor import Predictor, fault_of, load
from pipelines.serving.prediction_log.masking import writer
from pipelines.serving.prediction_log.writer import ROTATE_SECONDS, LogColumns, LoggedAnswer, LogWriter
from pipelines.serving.traffic.counters import ArmTallies, Key
from pipelines.serving.traffic.mirror_queue import MirroredRequests, receive

REPORT_SECONDS = 0.5
BATCH = 8
"""Messages of some requests handled before the loop looks elsewhere."""
EARLY = 1000
"""Requests kept that came before the table that explains them."""


class ShadowReference(msgspec.Struct, frozen=True):
    """What the champion's answers are compared with: one version, its columns in the log, its limits in ms."""

    record: RolloutRecord
    predictor: Predictor
    names: list[str]
    columns: LogColumns
    limits: tuple[float, ...]


class ShadowWorker:
    """The shadow worker: one line in, a log and counts out."""

    def __init__(self, feed: socket.socket, control: socket.socket, cache: Path, log: LogWriter) -> None:
        self._feed, self._cache, self._log = feed, cache, log
        self._channel = Channel(control, self._handle)
        self._tallies = ArmTallies()
        self._loaded: dict[str, Predictor] = {}
        self._serving: dict[tuple[str, str, str], ShadowReference] = {}
        self._early: deque[MirroredRequests] = deque(maxlen=EARLY)

    async def run(self) -> None:
        """Work until the supervisor is gone or says stop."""
        reporting = asyncio.create_task(self._report())
        await self._channel.run()
        reporting.cancel()
        self._log.rotate()

    def _read(self) -> bool:
        """Handle what is on the line; whether there may be more."""
        for _ in range(BATCH):
            mirrored = receive(self._feed)
            if mirrored is None:
                return False
            if not self._known(mirrored):
                self._early.extend(MirroredRequests(mirrored.source, [answer]) for answer in mirrored.answers)
        return True

    def _known(self, mirrored: MirroredRequests) -> bool:
        """Compare them if their version is loaded; a data worker may have heard of a new mirror first."""
        source = mirrored.source
        against = self._serving.get((source.model, source.rollout_id, source.version))
        if against is None:
            return False
        key = (source.model, source.rollout_id, source.step, source.version, "shadow")
        order = None if against.names == source.names else [source.names.index(name) for name in against.names]
        for answer in mirrored.answers:
            values = answer.values if order is None else [answer.values[place] for place in order]
            self._compare(key, answer, values, against)
        return True

    def _compare(self, key: Key, champion: LoggedAnswer, values: list[Sequence[Any]], against: ShadowReference) -> None:
        """Predict one request by itself, as a caller would have it, so that its time is that of an answer."""
        predictor, comparison = against.predictor, against.record.plan.comparison
        count = len(champion.predictions)
        started = time.perf_counter()
        bad, answers = "", []
        try:
            answers = predictor.predict(values, count)
            bad = "invalid" if fault_of(answers, count, predictor.manifest.output) else ""
        except Exception:  # whatever it is, it is the mirrored version's failure and nobody else's
            bad = "error"
        elapsed = time.perf_counter() - started
        self._tallies.answered(key, elapsed, against.limits, bad=bad)
        if bad:
            return
        tally = self._tallies.of(key)
        differing, flipped = difference(champion.predictions, answers, comparison)
        tally.compared += count
        tally.disagreed += differing
        tally.flipped += flipped
        own = msgspec.structs.replace(
            champion,
            columns=against.columns.number,
            logged_at=time.time_ns() // 1000,
            latency_us=int(elapsed * 1e6),
            values=values,
            predictions=answers,
            fallback=False,
            cache_hit=False,
        )
        self._log.append(against.columns, own)

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
        serving, loaded = {}, {}
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
            names, kinds = predictor.manifest.names, [feature.type for feature in predictor.manifest.features]
            columns = self._log.columns(model, version, names, kinds, "shadow", rollout_id)
            limits = tuple(limit.over_ms for limit in route.rollout.plan.guard.latency)
            serving[model, rollout_id, version] = ShadowReference(
                route.rollout, predictor, list(names), columns, limits
            )
        self._serving, self._loaded = serving, loaded
        early, self._early = self._early, deque(maxlen=EARLY)
        for mirrored in early:
            self._known(mirrored)  # what nobody mirrors any more belongs to nobody
        freeze_gc()
        asyncio.get_running_loop().add_reader(self._feed, self._read)
        return {"generation": table.generation, "refused": refused}


def difference(champion: list[float], mirrored: list[float], how: ComparisonPlan) -> tuple[int, int]:
    """How many rows differ by more than the tolerance, and how many would be decided otherwise."""
    pairs = list(zip(champion, mirrored, strict=True))
    differing = sum(abs(live - shadow) > how.tolerance for live, shadow in pairs)
    return differing, sum((live >= how.threshold) != (shadow >= how.threshold) for live, shadow in pairs)


async def serve(feed: int, control: int, name: str, folder: Path) -> None:
    loop = asyncio.get_running_loop()
    log = writer(folder, name, loop.call_later)
    worker = ShadowWorker(socket.socket(fileno=feed), socket.socket(fileno=control), folder / "bundles", log)
    await worker.run()


def main(arguments: list[str]) -> None:
    """``python -m pipelines.serving.traffic.shadow_process <feed> <control> <name> <state folder>``."""
    feed, control, name, folder = arguments
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    uvloop.run(serve(int(feed), int(control), name, Path(folder)))


if __name__ == "__main__":
    main(sys.argv[1:])
