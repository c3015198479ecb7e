"""A data worker answers requests with one immutable routing table and swaps it by a single assignment."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from pipelines.rollout.plan import RolloutPlan
from pipelines.rollout.transitions import Route, RoutingTable, Served
from pipelines.serving import settings
from pipelines.serving.data_plane.inference import DataPlane
from pipelines.serving.data_plane.public import PublicApplication, listener_state
from pipelines.serving.data_plane.routing import LiveModel, LoadedTable
from pipelines.serving.http.server import RequestLimits, server_of
from pipelines.serving.ipc.channel import Channel, Message
from pipelines.serving.ipc.garbage_collection import freeze_gc
from pipelines.serving.models.bundle import BundleRefused
from pipelines.serving.models.predictor import load
from pipelines.serving.models.response_cache import cached
from pipelines.serving.models.rows import RowSchema
from pipelines.serving.prediction_log.masking import writer
from pipelines.serving.prediction_log.writer import ROTATE_SECONDS, LogWriter
from pipelines.serving.traffic.candidate_pool import CandidatePool
from pipelines.serving.traffic.counters import ArmTallies
from pipelines.serving.traffic.mirror_queue import MirrorQueue
from pipelines.serving.traffic.split import TrafficSplit, arm_headers

REPORT_SECONDS = 0.5


class Worker:
    """One worker: the server, its loaded versions, its log, and its lines to the supervisor and the shadow worker."""

    def __init__(
        self, control: socket.socket, cache: Path, log: LogWriter, feed: MirrorQueue, sizes: RequestLimits
    ) -> None:
        self._cache, self._log, self._feed, self._sizes = cache, log, feed, sizes
        self._tallies = ArmTallies()
        self._candidates = CandidatePool(cache)
        self._loaded: dict[tuple[str, str], LiveModel] = {}
        self._channel = Channel(control, self._handle)
        self._first_table = asyncio.Event()
        self.data_plane = DataPlane(log)
        self._door = settings.read(cache.parent)
        watch = listener_state(self._door, sizes.max_bytes, self.data_plane.counters)
        front = PublicApplication(self.data_plane, self._ask, self._door, watch, cache.parent)
        self.server = server_of(front, watch)
        self._cached = cached(self._door.cache)

    async def run(self, listener: socket.socket) -> None:
        """Serve from the first routing table on, until told to stop or until the supervisor is gone."""
        channel = asyncio.create_task(self._channel.run())
        channel.add_done_callback(lambda _: self._stop())
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        await self._first_table.wait()
        reporting = asyncio.create_task(self._report())
        await self.server.serve(sockets=[listener])
        reporting.cancel()
        self._candidates.close()
        self._settle()
        self._log.rotate()
        if not self._channel.closed.is_set():
            with contextlib.suppress(ConnectionError, TimeoutError):
                await self._channel.ask(self._counted(), timeout=1)

    def _stop(self) -> None:
        self.server.should_exit = True
        self._first_table.set()

    async def _ask(self, what: str) -> Mapping[str, Any]:
        return await self._channel.ask({"ask": what}, timeout=5)

    async def _report(self) -> None:
        """Tell the supervisor the counters now and then, so that they outlive this process."""
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            if self._log.age() >= ROTATE_SECONDS:
                self._log.rotate()
            with contextlib.suppress(ConnectionError, TimeoutError):
                await self._channel.ask(self._counted(), timeout=5)

    def _settle(self) -> None:
        """Count, log and hand over whatever was answered so far."""
        self.data_plane.settle()
        self._feed.flush()

    def _counted(self) -> Message:
        self._settle()
        return {"ask": "counted", "counters": self._snapshot(), "tallies": msgspec.to_builtins(self._tallies.take())}

    def _snapshot(self) -> Message:
        lag = {"dropped": self._log.dropped, "log_age": self._log.age()}
        return self.data_plane.counters.snapshot() | lag

    async def _handle(self, message: Message) -> Message:
        if message["ask"] == "prepare":
            return await self._prepare(message["model"], msgspec.convert(message["served"], Served))
        if message["ask"] == "try":
            return await self._try(message["model"], message["served"], msgspec.convert(message["plan"], RolloutPlan))
        if message["ask"] == "apply":
            return await self._apply(msgspec.convert(message["table"], RoutingTable))
        if message["ask"] == "settle":
            return {"refused": await self._candidates.settled()}
        if message["ask"] == "counters":
            return self._snapshot()
        if message["ask"] == "report":
            await self._channel.ask(self._counted(), timeout=5)
            return {}
        if message["ask"] == "rotate":
            self._settle()
            self._log.rotate()
            return {}
        if message["ask"] == "stop":
            self._stop()
            return {}
        return {"error": f"a worker does not know {message['ask']!r}"}

    async def _prepare(self, model: str, served: Served) -> Message:
        """Load a version beside the live ones; says why not if it must not be served."""
        try:
            await self._load(model, served)
        except BundleRefused as error:
            return {"refused": error.reasons}
        return {}

    async def _try(self, model: str, served: Message, plan: RolloutPlan) -> Message:
        """Load a candidate in a process of its own and try it against the champion's columns and the deadline."""
        champion = self.data_plane.table.live.get(model)
        if champion is None:
            return {"error": f"{model} has no champion here"}
        host = self._candidates.of(model, msgspec.convert(served, Served), champion.predictor.manifest, plan)
        return {"refused": await host.settled()}

    async def _load(self, model: str, served: Served) -> LiveModel:
        key = (model, served.sha256)
        if key not in self._loaded:
            # A thread for the time of loading only: a native library may take a second, and requests go on.
            predictor = await asyncio.to_thread(load, self._cache / served.sha256, served.sha256)
            features = predictor.manifest.features
            columns = self._log.columns(
                model, served.version, predictor.manifest.names, [feature.type for feature in features]
            )
            checks = self._door.checks
            schema = RowSchema(
                features, self._sizes.max_rows, missing=checks.missing == "accept", ranges=checks.ranges == "refuse"
            )
            headers = arm_headers(served.version, "champion")
            self._loaded[key] = LiveModel(
                served.version, self._cached(predictor, served.sha256), schema, columns, headers
            )
        return self._loaded[key]

    async def _apply(self, table: RoutingTable) -> Message:
        """Serve this table from the next request on; versions in no route are let go.

        It does not wait for candidates to load: until they have, the champion answers for them.
        """
        live: dict[str, LiveModel] = {}
        broken: dict[str, str] = {}
        routed: set[tuple[str, str]] = set()
        for model, route in table.routes.items():
            try:
                live[model] = self._beside(model, route, await self._load(model, route.live))
            except BundleRefused as error:
                broken[model] = "; ".join(error.reasons)
            routed.add((model, route.live.sha256))
            if route.previous is not None:
                routed.add((model, route.previous.sha256))
                with contextlib.suppress(BundleRefused):
                    await self._load(model, route.previous)
        if table.generation >= self.data_plane.table.generation:
            direct = all(live_model.arms is None or live_model.arms.direct for live_model in live.values())
            self.data_plane.table = LoadedTable(table.generation, live, broken, direct)
        self._loaded = {key: loaded for key, loaded in self._loaded.items() if key in routed}
        self._candidates.keep(
            {(model, route.candidate.sha256) for model, route in table.routes.items() if route.candidate}
        )
        if not self._first_table.is_set():
            freeze_gc()
        self._first_table.set()
        return {"generation": self.data_plane.table.generation, "broken": broken}

    def _beside(self, model: str, route: Route, champion: LiveModel) -> LiveModel:
        """The champion with the arms of its rollout, if it has a candidate."""
        record = route.rollout
        if record is None or not record.active or route.candidate is None:
            return champion
        manifest = champion.predictor.manifest
        host = self._candidates.of(model, route.candidate, manifest, record.plan)
        kinds = [feature.type for feature in manifest.features]
        arms = TrafficSplit(model, route, record, host, manifest.names, kinds, self._log, self._tallies, self._feed)
        return msgspec.structs.replace(champion, arms=arms)


async def serve(listener: int, feed: int, control: int, name: str, folder: Path, sizes: RequestLimits) -> None:
    loop = asyncio.get_running_loop()
    log = writer(folder, name, loop.call_later)
    mirror = MirrorQueue(socket.socket(fileno=feed), loop.call_later)
    worker = Worker(socket.socket(fileno=control), folder / "bundles", log, mirror, sizes)
    await worker.run(socket.socket(fileno=listener))


def main(arguments: list[str]) -> None:
    """``python -m`` this module with ``<listener> <feed> <control> <name> <state folder> <sizes as JSON>``."""
    listener, feed, control, name, folder, sizes = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    decoded = msgspec.json.decode(sizes.encode(), type=RequestLimits)
    uvloop.run(serve(int(listener), int(feed), int(control), name, Path(folder), decoded))


if __name__ == "__main__":
    main(sys.argv[1:])
