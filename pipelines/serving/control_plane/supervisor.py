"""Starts workers, compactor and shadow worker, restarts any that end, and keeps their last reported counters."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from pipelines.errors import Refused, Unavailable
from pipelines.rollout.transitions import Served
from pipelines.serving.control_plane.counts import RolloutCounts
from pipelines.serving.control_plane.guard_loop import GuardLoop
from pipelines.serving.control_plane.process_metrics import process_lines
from pipelines.serving.control_plane.releases import Releases
from pipelines.serving.control_plane.rollout_metrics import rollout_lines
from pipelines.serving.control_plane.rollouts import Rollouts
from pipelines.serving.control_plane.shadow_supervisor import ShadowSupervisor
from pipelines.serving.control_plane.state import GatewayState
from pipelines.serving.http.server import RequestLimits
from pipelines.serving.ipc.channel import Message
from pipelines.serving.ipc.child import Child, start_child
from pipelines.serving.ipc.metrics import Snapshot, merge, render
from pipelines.serving.prediction_log.side_files import FOLDER, SideFileCounts, restore_former_side_files
from pipelines.serving.prediction_log.writer import complete_segments
from pipelines.serving.traffic.counters import decode_tallies
from pipelines.serving.traffic.mirror_queue import mirror_sockets
from pipelines.settings import make_private_folder

log = logging.getLogger("airworthy.gateway")

COMPACT_INTERVAL_SECONDS = 5.0
COMPACT_ANSWER_SECONDS = 300.0
COMPACTOR_START_SECONDS = 30.0


class GatewayOptions(msgspec.Struct, frozen=True):
    """Options of one gateway. ``state`` is its local folder; the prediction log is written to ``store``."""

    host: str
    port: int
    admin_host: str
    admin_port: int
    workers: int
    state: str
    store: str
    limits: RequestLimits = RequestLimits()
    token: str | None = None
    """Token of the admin listener; None: the one in the state folder, drawn at the first start."""
    bundles: tuple[str, ...] = ()
    """Folders and URLs below which bundles may lie; none: ``store``."""
    serve: Served | None = None
    """Version to release at start; the gateway is not ready before it is live."""
    model: str = ""
    """Model of ``serve``."""


class Supervisor:
    """Keeps workers, compactor and shadow worker running; holds releases, rollouts and counts."""

    def __init__(self, options: GatewayOptions, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._options = options
        self._folder = Path(options.state).resolve()
        self._wal, self._cache = self._folder / "wal", self._folder / "bundles"
        for folder in (self._wal, self._cache):
            make_private_folder(folder)
        self._lock_file = (self._folder / "lock").open("w")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Refused(
                f"another gateway runs on {self._folder}; stop it or give this one another --state"
            ) from error
        self._state = GatewayState(self._folder / "state.db")
        self._workers: dict[int, Child] = {}
        self._mirror_write, mirror_read = mirror_sockets()
        self.counts = RolloutCounts(self._folder / "counts.db")
        self.side_file_counts = SideFileCounts(self._wal)
        self.releases = Releases(
            self._state,
            self._cache,
            self._live_workers,
            roots=options.bundles or (options.store,),
            now=now,
            on_new_table=self._on_new_table,
        )
        self.rollouts = Rollouts(self._state, self.releases, self.counts, now=now, collect_counts=self._collect_counts)
        self._shadow_supervisor = ShadowSupervisor(self._folder, mirror_read, self.releases, self._answer_question)
        self._guard_loop = GuardLoop(self.releases, self.rollouts, self.counts, self._collect_counts, now=now)
        self._compactor: Child | None = None
        self._compactor_started = asyncio.Event()
        """Set once a compactor was started."""
        self._ended_counters: Snapshot = {}
        self._stopping = False
        self._listener: socket.socket
        self._tasks: list[asyncio.Task[None]] = []

    # ---- the process tree --------------------------------------------------------------------------------------

    async def start(self, listener: socket.socket) -> None:
        """Start every child; returns once the first worker serves."""
        restore_former_side_files(self._wal)
        complete_segments(self._wal)
        self._listener = listener
        ready = asyncio.Event()
        self._tasks = [asyncio.create_task(self._run_worker(number, ready)) for number in range(self._options.workers)]
        waiting = asyncio.create_task(ready.wait())
        done, _ = await asyncio.wait([waiting, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {waiting}:
            task.result()
        # The other processes are started later: the first worker needs the CPU to start fast.
        self._tasks += [asyncio.create_task(self._run_compactor()), asyncio.create_task(self._compact_regularly())]
        self._tasks += [asyncio.create_task(self._shadow_supervisor.run()), asyncio.create_task(self._guard_loop.run())]

    async def release_configured_version(self) -> None:
        """Release the version given by the option ``serve``. Raises ``Refused`` or ``Unavailable``."""
        served = self._options.serve
        if served is not None:
            model, version = self._options.model, served.version
            key = f"start/{model}/{version}/{served.sha256}"
            await self.releases.release(model, version, served.bundle, served.sha256, key=key)

    async def stop(self) -> None:
        """Finish requests in flight, complete the prediction log, end every child process."""
        self._stopping = True
        workers = list(self._workers.values())
        await asyncio.gather(*(self._send(child, {"ask": "stop"}) for child in workers))
        await asyncio.gather(*(child.end(15) for child in workers), self._shadow_supervisor.stop())
        complete_segments(self._wal)
        if next(self._wal.glob("*.seg"), None) is not None:
            with contextlib.suppress(Unavailable):
                await self._compact()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._compactor is not None:
            await self._compactor.end(0)
        self._state.close()
        self.counts.close()
        self._lock_file.close()

    def _live_workers(self) -> list[Child]:
        return [child for child in self._workers.values() if child.alive]

    async def _run_worker(self, number: int, ready: asyncio.Event) -> None:
        wait = 0.0
        limits = msgspec.json.encode(self._options.limits).decode()
        while not self._stopping:
            await asyncio.sleep(wait)
            started = time.monotonic()
            name = f"{number}-{time.time_ns() // 1000}"
            child_slot: list[Child] = []
            child = await start_child(
                "pipelines.serving.data_plane.worker",
                name,
                [name, str(self._folder), limits],
                lambda message, child_slot=child_slot: self._answer_question(message, child_slot),  # type: ignore[misc]
                share=[self._listener.fileno(), self._mirror_write.fileno()],
            )
            child_slot.append(child)
            with contextlib.suppress(ConnectionError, TimeoutError):
                # Registered before its first table, so that a change made meanwhile reaches it after that table.
                self._workers[number] = child
                await self.releases.send_table(child)
                ready.set()
                await self.rollouts.pause_unloadable(await self.releases.wait_candidates_loaded(child))
            await child.process.wait()
            self._workers.pop(number, None)
            self._ended_counters = merge([self._ended_counters, child.counters])
            complete_segments(self._wal, name)
            if not self._stopping:
                log.warning("worker %s ended with %s; starting another", name, child.process.returncode)
            lived = time.monotonic() - started
            wait = 0.0 if lived > 5 else min(5.0, max(0.2, wait * 2))

    async def _run_compactor(self) -> None:
        while True:  # at least once: a gateway that is stopped at once must complete its log, too
            arguments = [str(self._wal), self._options.store]
            child = await start_child(
                "pipelines.serving.prediction_log.compactor", "compactor", arguments, self._refuse_question
            )
            self._compactor = child
            self._compactor_started.set()
            await child.process.wait()
            if self._stopping:
                return
            log.warning("the compactor ended with %s; starting another", child.process.returncode)
            await asyncio.sleep(1)

    async def _compact_regularly(self) -> None:
        while not self._stopping:
            await asyncio.sleep(COMPACT_INTERVAL_SECONDS)
            if next(self._wal.glob("*.seg"), None) is not None:
                try:
                    await self._compact()
                except Unavailable as error:
                    log.warning("%s", error)

    async def _compact(self) -> Message:
        """Compact the log. Raises ``Unavailable`` with every segment that was not written."""
        try:
            await asyncio.wait_for(self._compactor_started.wait(), COMPACTOR_START_SECONDS)
            assert self._compactor is not None
            done = await self._compactor.channel.ask({"ask": "compact"}, timeout=COMPACT_ANSWER_SECONDS)
        except (ConnectionError, TimeoutError) as error:
            raise Unavailable(f"the prediction log was not compacted: {error}; try again") from error
        errors = [done["error"]] if "error" in done else done["errors"]
        if errors:
            raise Unavailable(f"{len(errors)} segment(s) of the prediction log were not written: {'; '.join(errors)}")
        if done["set_aside"]:
            folder = self._wal / FOLDER
            log.error(
                "%s record(s) of the prediction log cannot be converted; they are in %s", done["set_aside"], folder
            )
        return done

    async def _refuse_question(self, message: Message) -> Message:
        return {"error": f"the supervisor does not answer {message['ask']!r}"}

    async def _answer_question(self, message: Message, child_slot: list[Child]) -> Message:
        if message["ask"] == "counted":
            child_slot[0].counters = message["counters"]
            self.counts.add(decode_tallies(message["tallies"]))
            return {}
        if message["ask"] == "metrics":
            return {"text": await self.metrics()}
        if message["ask"] == "ready":
            return self.ready()
        return {"error": f"the supervisor does not know {message['ask']!r}"}

    def _on_new_table(self) -> None:
        self._shadow_supervisor.on_new_table()

    async def _collect_counts(self) -> None:
        """Make every process report its counts; one that does not answer in 2 s reports later."""

        async def ask(child: Child) -> None:
            with contextlib.suppress(ConnectionError, TimeoutError):
                await child.channel.ask({"ask": "report", "aside": True}, timeout=2)

        children = [*self._live_workers(), *self._shadow_supervisor.live_children()]
        await asyncio.gather(*map(ask, children))

    async def _send(self, child: Child, message: Message) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):
            await child.channel.ask(message, timeout=10)

    # ---- log and metrics ---------------------------------------------------------------------------------------

    async def flush(self) -> Message:
        """Write all predictions answered so far to Parquet."""
        for group in (list(self._workers.values()), self._shadow_supervisor.live_children()):  # workers come first
            await asyncio.gather(*(self._send(child, {"ask": "rotate"}) for child in group))
        return await self._compact()

    def ready(self) -> dict[str, Any]:
        """Readiness and reasons: every configured worker must serve the newest table."""
        newest = self.releases.table.generation
        generations = {number: child.generation for number, child in self._workers.items() if child.alive}
        reasons = [
            f"worker {number} is at generation {generations.get(number, 'none')}, newest is {newest}"
            for number in range(self._options.workers)
            if generations.get(number) != newest
        ]
        models = {model: route.live.version for model, route in self.releases.table.routes.items()}
        served, model = self._options.serve, self._options.model
        if served is not None and models.get(model) != served.version:
            reasons.append(f"{model} version {served.version} is not live yet")
        return {
            "ready": not reasons,
            "generation": self.releases.table.generation,
            "models": models,
            "reasons": reasons,
        }

    async def metrics(self) -> str:
        """Prometheus text, summed over all workers including ended ones."""
        live_children = self._live_workers()

        async def ask_counters(child: Child) -> Snapshot:
            with contextlib.suppress(ConnectionError, TimeoutError):
                child.counters = await child.channel.ask({"ask": "counters"}, timeout=2)
            return child.counters

        snapshots = await asyncio.gather(*map(ask_counters, live_children))
        ages = [time.time() - path.stat().st_mtime for path in self._wal.glob("*.seg") if path.exists()]
        lag = max([0.0, *ages, *(snapshot.get("log_age", 0.0) for snapshot in snapshots)])
        gauges = {
            "airworthy_generation": ("Generation of the routing table.", float(self.releases.table.generation)),
            "airworthy_workers": ("Live data workers.", float(len(live_children))),
            "airworthy_models": ("Models with a live version.", float(len(self.releases.table.routes))),
            "airworthy_connections": (
                "Connections that are open.",
                float(sum(snapshot.get("connections", 0) for snapshot in snapshots)),
            ),
            "airworthy_bytes_in_flight": (
                "Bytes of requests that arrive or wait for an answer.",
                float(sum(snapshot.get("bytes", 0) for snapshot in snapshots)),
            ),
            "airworthy_log_lag_seconds": ("Age of the oldest answer that is not in Parquet yet, at most.", lag),
            "airworthy_log_set_aside_records": (
                "Records of the prediction log that cannot be converted to Parquet; they lie in its side files.",
                float(self.side_file_counts.total()),
            ),
        }
        lines = rollout_lines(self.releases.table, self.counts) + process_lines(self._process_ids())
        return render(merge([self._ended_counters, *snapshots]), gauges) + lines

    def _process_ids(self) -> dict[str, int]:
        """Name to process id of this process and of its children."""
        workers = {f"worker-{number}": child for number, child in self._workers.items()}
        shadows = {f"shadow-{number}": child for number, child in enumerate(self._shadow_supervisor.live_children())}
        compactor = {"compactor": self._compactor} if self._compactor is not None else {}
        children = {**workers, **shadows, **compactor}
        return {"supervisor": os.getpid()} | {name: child.process.pid for name, child in children.items()}
