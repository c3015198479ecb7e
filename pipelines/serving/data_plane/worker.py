"""The data worker: answers requests by one immutable routing table and replaces it by a single assignment."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import uvloop

from pipelines.logs.output import configure
from pipelines.logs.traces import open_tracer
from pipelines.rollout.plan import RolloutPlan
from pipelines.rollout.transitions import Route, RoutingTable, Served
from pipelines.serving import settings
from pipelines.serving.data_plane.inference import DataPlane
from pipelines.serving.data_plane.public import PublicApplication, make_listener_state
from pipelines.serving.data_plane.routing import LiveModel, LoadedTable, UnreleasedModel
from pipelines.serving.http.server import RequestLimits, create_server
from pipelines.serving.http.tls import ServerTls, reload_regularly
from pipelines.serving.ipc.channel import Channel, Message
from pipelines.serving.ipc.garbage_collection import freeze_gc
from pipelines.serving.models.bundle import BundleRefused, InputColumn
from pipelines.serving.models.predictor import known_categories, load
from pipelines.serving.models.response_cache import cache_wrapper, without_cache
from pipelines.serving.models.rows import RowSchema
from pipelines.serving.prediction_log.masking import open_log_writer
from pipelines.serving.prediction_log.writer import ROTATE_SECONDS, LogWriter
from pipelines.serving.traffic.candidate_pool import CandidatePool
from pipelines.serving.traffic.counters import ArmCounters
from pipelines.serving.traffic.mirror_queue import MirrorQueue
from pipelines.serving.traffic.split import TrafficSplit, arm_headers

REPORT_SECONDS = 0.5


class Worker:
    """One worker: HTTP server, loaded versions, prediction log, channel to the supervisor, mirror queue."""

    def __init__(
        self, control: socket.socket, cache: Path, log: LogWriter, mirror_queue: MirrorQueue, limits: RequestLimits
    ) -> None:
        self._cache, self._log, self._mirror_queue, self._limits = cache, log, mirror_queue, limits
        self._arm_counters = ArmCounters()
        self._candidates = CandidatePool(cache)
        self._loaded: dict[tuple[str, str], LiveModel] = {}
        self._channel = Channel(control, self._handle)
        self._first_table = asyncio.Event()
        self.data_plane = DataPlane(log, tracer=open_tracer("gateway"))
        self._config = settings.read_config(cache.parent)
        self._listener = state = make_listener_state(self._config, limits.max_bytes, self.data_plane.counters)
        application = PublicApplication(self.data_plane, self._ask_supervisor, self._config, state, cache.parent)
        self._tls = ServerTls(self._config.tls) if self._config.tls is not None else None
        self.server = create_server(application, state, None if self._tls is None else self._tls.context)
        self._with_cache = cache_wrapper(self._config.cache)

    async def run(self, listener: socket.socket) -> None:
        """Serve from the first routing table until stopped or until the supervisor ends."""
        channel = asyncio.create_task(self._channel.run())
        channel.add_done_callback(lambda _: self._stop())
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        await self._first_table.wait()
        tasks = [asyncio.create_task(self._report())]
        if self._tls is not None:
            tasks.append(asyncio.create_task(reload_regularly(self._tls)))
        await self.server.serve(sockets=[listener])
        for task in tasks:
            task.cancel()
        self._candidates.close()
        self._flush_answers()
        self._log.rotate()
        if not self._channel.closed.is_set():
            with contextlib.suppress(ConnectionError, TimeoutError):
                await self._channel.ask(self._counts_message(), timeout=1)

    def _stop(self) -> None:
        self.server.should_exit = True
        self._first_table.set()

    async def _ask_supervisor(self, question: str) -> Mapping[str, Any]:
        return await self._channel.ask({"ask": question}, timeout=5)

    async def _report(self) -> None:
        """Report the counters to the supervisor regularly, so that they outlive this process."""
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            if self._log.segment_age() >= ROTATE_SECONDS:
                self._log.rotate()
            with contextlib.suppress(ConnectionError, TimeoutError):
                await self._channel.ask(self._counts_message(), timeout=5)

    def _flush_answers(self) -> None:
        """Count, log and mirror all answers so far."""
        self.data_plane.record_answers()
        self._mirror_queue.flush()

    def _counts_message(self) -> Message:
        self._flush_answers()
        tallies = msgspec.to_builtins(self._arm_counters.take_tallies())
        return {"ask": "counted", "counters": self._counters(), "tallies": tallies}

    def _counters(self) -> Message:
        lag = {"dropped": self._log.dropped, "log_age": self._log.segment_age()}
        shares = self._listener.shares
        return (
            self.data_plane.counters.snapshot(time.monotonic())
            | lag
            | {"connections": shares.connections, "bytes": shares.bytes}
        )

    async def _handle(self, message: Message) -> Message:
        if message["ask"] == "prepare":
            return await self._prepare_version(message["model"], msgspec.convert(message["served"], Served))
        if message["ask"] == "try":
            return await self._test_candidate(
                message["model"], message["served"], msgspec.convert(message["plan"], RolloutPlan)
            )
        if message["ask"] == "apply":
            return await self._apply_table(msgspec.convert(message["table"], RoutingTable))
        if message["ask"] == "settle":
            return {"refused": await self._candidates.wait_loaded()}
        if message["ask"] == "counters":
            return self._counters()
        if message["ask"] == "report":
            await self._channel.ask(self._counts_message(), timeout=5)
            return {}
        if message["ask"] == "rotate":
            self._flush_answers()
            self._log.rotate()
            return {}
        if message["ask"] == "stop":
            self._stop()
            return {}
        return {"error": f"a worker does not know {message['ask']!r}"}

    async def _prepare_version(self, model: str, served: Served) -> Message:
        """Load a version beside the live ones; returns the reasons if it is refused."""
        try:
            await self._load_version(model, served)
        except BundleRefused as error:
            return {"refused": error.reasons}
        return {}

    async def _test_candidate(self, model: str, served: Message, plan: RolloutPlan) -> Message:
        """Load a candidate in its own process and check its columns and latency against the champion and the plan."""
        champion = self.data_plane.table.models.get(model)
        if champion is None:
            return {"error": f"{model} has no champion here"}
        candidate, manifest = msgspec.convert(served, Served), champion.predictor.manifest
        client = self._candidates.get_or_start(model, candidate, manifest, plan)
        return {"refused": await client.wait_loaded()}

    async def _load_version(self, model: str, served: Served) -> LiveModel:
        key = (model, served.sha256)
        if key not in self._loaded:
            # In a thread: loading may take a second, and requests are answered meanwhile.
            predictor = await asyncio.to_thread(load, self._cache / served.sha256, served.sha256)
            features = predictor.manifest.features
            columns = self._log.columns(
                model, served.version, predictor.manifest.names, [feature.type for feature in features]
            )
            schema = self._make_schema(features, known_categories(predictor))
            headers = arm_headers(served.version, "champion")
            self._loaded[key] = LiveModel(
                served.version, self._with_cache(predictor, served.sha256), schema, columns, headers
            )
        return self._loaded[key]

    def _make_schema(
        self, features: list[InputColumn], categories: Mapping[str, frozenset[str | None]] = MappingProxyType({})
    ) -> RowSchema:
        checks = self._config.checks
        return RowSchema(
            features,
            self._limits.max_rows,
            missing=checks.missing == "accept",
            ranges=checks.ranges == "refuse",
            categories=categories,
            only_known=checks.categories == "refuse",
            needs_ids=checks.ids == "refuse",
        )

    async def _apply_table(self, table: RoutingTable) -> Message:
        """Serve this table from now on and unload unused versions; champions answer for candidates that still load."""
        live: dict[str, LiveModel] = {}
        broken: dict[str, str] = {}
        routed: set[tuple[str, str]] = set()
        for model, route in table.routes.items():
            try:
                live[model] = self._with_traffic_split(model, route, await self._load_version(model, route.live))
            except BundleRefused as error:
                broken[model] = "; ".join(error.reasons)
            routed.add((model, route.live.sha256))
            if route.previous is not None:
                routed.add((model, route.previous.sha256))
                with contextlib.suppress(BundleRefused):
                    await self._load_version(model, route.previous)
        unreleased = await self._load_unreleased(table, broken)
        routed |= {(model, known.served.sha256) for model, known in table.unreleased.items()}
        if table.generation >= self.data_plane.table.generation:
            is_champion_only = all(entry.split is None or entry.split.is_champion_only for entry in live.values())
            self.data_plane.table = LoadedTable(table.generation, live, broken, is_champion_only, unreleased)
        self._loaded = {key: loaded for key, loaded in self._loaded.items() if key in routed}
        self._candidates.keep_only(
            {(model, route.candidate.sha256) for model, route in table.routes.items() if route.candidate}
        )
        if not self._first_table.is_set():
            freeze_gc()
        self._first_table.set()
        return {"generation": self.data_plane.table.generation, "broken": broken}

    async def _load_unreleased(self, table: RoutingTable, broken: dict[str, str]) -> dict[str, UnreleasedModel]:
        """The first versions under test, which answer and log as probes; one that cannot be loaded is ``broken``."""
        unreleased = {}
        for model, known in table.unreleased.items():
            try:
                live = await self._load_version(model, known.served)
            except BundleRefused as error:
                broken[model] = "; ".join(error.reasons)
                continue
            features = live.predictor.manifest.features
            types = [feature.type for feature in features]
            columns = self._log.columns(model, live.version, live.predictor.manifest.names, types, "probe")
            headers, predictor = arm_headers(live.version, "probe"), without_cache(live.predictor)
            probed = msgspec.structs.replace(live, predictor=predictor, columns=columns, headers=headers)
            unreleased[model] = UnreleasedModel(known.probe.encode(), probed)
        return unreleased

    def _with_traffic_split(self, model: str, route: Route, champion: LiveModel) -> LiveModel:
        """The champion with the traffic split of its rollout, while it has a candidate or its promotion is watched."""
        record = route.rollout
        if record is None or not (route.candidate is not None if record.active else record.watched_until is not None):
            return champion
        manifest, client = champion.predictor.manifest, None
        if route.candidate is not None:
            client = self._candidates.get_or_start(model, route.candidate, manifest, record.plan)
        log, counters, queue = self._log, self._arm_counters, self._mirror_queue
        split = TrafficSplit(model, route, record, client, manifest, self._make_schema, log, counters, queue)
        return msgspec.structs.replace(champion, split=split)


async def serve(listener: int, mirror: int, control: int, name: str, folder: Path, limits: RequestLimits) -> None:
    loop = asyncio.get_running_loop()
    log = open_log_writer(folder, name, loop.call_later)
    mirror_queue = MirrorQueue(socket.socket(fileno=mirror), loop.call_later)
    worker = Worker(socket.socket(fileno=control), folder / "bundles", log, mirror_queue, limits)
    await worker.run(socket.socket(fileno=listener))


def main(arguments: list[str]) -> None:
    """``python -m`` this module with ``<listener> <mirror> <control> <name> <state folder> <limits as JSON>``."""
    listener, mirror, control, name, folder, limits = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    configure("gateway", process=f"worker {name}")
    decoded = msgspec.json.decode(limits.encode(), type=RequestLimits)
    uvloop.run(serve(int(listener), int(mirror), int(control), name, Path(folder), decoded))


if __name__ == "__main__":
    main(sys.argv[1:])
