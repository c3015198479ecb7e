"""Starts workers, compactor and shadow worker, replaces those that end, and keeps what they last reported."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
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
from pipelines.serving.control_plane.releases import Releases
from pipelines.serving.control_plane.rollout_metrics import rollout_lines
from pipelines.serving.control_plane.rollouts import Rollouts
from pipelines.serving.control_plane.shadow_supervisor import ShadowSupervisor
from pipelines.serving.control_plane.state import GatewayState
from pipelines.serving.http.server import RequestLimits
from pipelines.serving.ipc.channel import Message
from pipelines.serving.ipc.child import Child, start_child
from pipelines.serving.ipc.metrics import Snapshot, merge, render
from pipelines.serving.prediction_log.writer import adopt
from pipelines.serving.traffic.counters import received
from pipelines.serving.traffic.mirror_queue import mirror_sockets

log = logging.getLogger("airworthy.gateway")

COMPACT_SECONDS = 5.0
COMPACT_TIMEOUT = 300.0
COMPACTOR_SECONDS = 30.0


class GatewayOptions(msgspec.Struct, frozen=True):
    """How one gateway runs. ``state`` is its own local folder; ``store`` is where the prediction log goes."""

    host: str
    port: int
    admin_host: str
    admin_port: int
    workers: int
    state: str
    store: str
    sizes: RequestLimits = RequestLimits()
    token: str | None = None
    """Bearer token that the admin listener demands; None: it must be a loopback address."""
    serve: Served | None = None
    """The one version that this gateway is started for; until it is live nothing is ready."""
    model: str = ""
    """The model of that version."""


class Supervisor:
    """Keeps the workers and the compactor alive and owns what is live."""

    def __init__(self, config: GatewayOptions, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._config = config
        self._folder = Path(config.state).resolve()
        self._wal, self._cache = self._folder / "wal", self._folder / "bundles"
        for folder in (self._wal, self._cache):
            folder.mkdir(parents=True, exist_ok=True)
        self._lock_file = (self._folder / "lock").open("w")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Refused(
                f"another gateway runs on {self._folder}; stop it, or give this one its own --state"
            ) from error
        self._state = GatewayState(self._folder / "state.db")
        self._workers: dict[int, Child] = {}
        self._feed, feed_out = mirror_sockets()
        self.counts = RolloutCounts(self._folder / "counts.db")
        self.releases = Releases(self._state, self._cache, self._alive, now=now, changed=self._changed)
        self.rollouts = Rollouts(self._state, self.releases, self.counts, now=now, gather=self._gather)
        self._shadow = ShadowSupervisor(self._folder, feed_out, self.releases, self._handle)
        self._sentinel = GuardLoop(self.releases, self.rollouts, self.counts, self._gather, now=now)
        self._compactor: Child | None = None
        self._compacting = asyncio.Event()
        """Set once there is a compactor."""
        self._retired: Snapshot = {}
        self._stopping = False
        self._listener: socket.socket
        self._tasks: list[asyncio.Task[None]] = []

    # ---- the process tree --------------------------------------------------------------------------------------

    async def start(self, listener: socket.socket) -> None:
        """Start every child; returns once the first worker serves."""
        adopt(self._wal)
        self._listener = listener
        first = asyncio.Event()
        self._tasks = [asyncio.create_task(self._keep_worker(number, first)) for number in range(self._config.workers)]
        waiting = asyncio.create_task(first.wait())
        done, _ = await asyncio.wait([waiting, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {waiting}:
            task.result()
        # The rest is not needed for the first answer, and would take the processor from it.
        self._tasks += [asyncio.create_task(self._keep_compactor()), asyncio.create_task(self._compact_regularly())]
        self._tasks += [asyncio.create_task(self._shadow.keep()), asyncio.create_task(self._sentinel.watch())]

    async def serve_declared(self) -> None:
        """Make the version live that this gateway is started for. Raises ``Refused`` or ``Unavailable``."""
        served = self._config.serve
        if served is not None:
            model, version = self._config.model, served.version
            key = f"start/{model}/{version}/{served.sha256}"
            await self.releases.release(model, version, served.bundle, served.sha256, key=key)

    async def stop(self) -> None:
        """Let requests in flight be answered, complete the log, end every child."""
        self._stopping = True
        workers = list(self._workers.values())
        await asyncio.gather(*(self._tell(child, {"ask": "stop"}) for child in workers))
        await asyncio.gather(*(child.end(15) for child in workers), self._shadow.stop())
        adopt(self._wal)
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

    def _alive(self) -> list[Child]:
        return [child for child in self._workers.values() if child.alive]

    async def _keep_worker(self, number: int, first: asyncio.Event) -> None:
        wait = 0.0
        sizes = msgspec.json.encode(self._config.sizes).decode()
        while not self._stopping:
            await asyncio.sleep(wait)
            born = time.monotonic()
            name = f"{number}-{time.time_ns() // 1000}"
            holder: list[Child] = []
            child = await start_child(
                "pipelines.serving.data_plane.worker",
                name,
                [name, str(self._folder), sizes],
                lambda message, holder=holder: self._handle(message, holder),  # type: ignore[misc]
                share=[self._listener.fileno(), self._feed.fileno()],
            )
            holder.append(child)
            with contextlib.suppress(ConnectionError, TimeoutError):
                # Known from now on, so that a change made meanwhile reaches it too, after the table it begins with.
                self._workers[number] = child
                await self.releases.apply(child)
                first.set()
                await self.rollouts.unload(await self.releases.settle(child))
            await child.process.wait()
            self._workers.pop(number, None)
            self._retired = merge([self._retired, child.counters])
            adopt(self._wal, name)
            if not self._stopping:
                log.warning("worker %s ended with %s; starting another", name, child.process.returncode)
            lasted = time.monotonic() - born
            wait = 0.0 if lasted > 5 else min(5.0, max(0.2, wait * 2))

    async def _keep_compactor(self) -> None:
        while True:  # once at least: a gateway that is stopped at once has a log to complete, too
            arguments = [str(self._wal), self._config.store]
            child = await start_child(
                "pipelines.serving.prediction_log.compactor", "compactor", arguments, self._refuse
            )
            self._compactor = child
            self._compacting.set()
            await child.process.wait()
            if self._stopping:
                return
            log.warning("the compactor ended with %s; starting another", child.process.returncode)
            await asyncio.sleep(1)

    async def _compact_regularly(self) -> None:
        while not self._stopping:
            await asyncio.sleep(COMPACT_SECONDS)
            if next(self._wal.glob("*.seg"), None) is not None:
                try:
                    await self._compact()
                except Unavailable as error:
                    log.warning("%s", error)

    async def _compact(self) -> Message:
        """Raises ``Unavailable`` naming every segment that has to wait."""
        try:
            await asyncio.wait_for(self._compacting.wait(), COMPACTOR_SECONDS)
            assert self._compactor is not None
            done = await self._compactor.channel.ask({"ask": "compact"}, timeout=COMPACT_TIMEOUT)
        except (ConnectionError, TimeoutError) as error:
            raise Unavailable(f"the prediction log was not compacted: {error}; try again") from error
        errors = [done["error"]] if "error" in done else done["errors"]
        if errors:
            raise Unavailable(f"{len(errors)} segment(s) of the prediction log wait: {'; '.join(errors)}")
        return done

    async def _refuse(self, message: Message) -> Message:
        return {"error": f"nobody answers {message['ask']!r}"}

    async def _handle(self, message: Message, holder: list[Child]) -> Message:
        if message["ask"] == "counted":
            holder[0].counters = message["counters"]
            self.counts.add(received(message["tallies"]))
            return {}
        if message["ask"] == "metrics":
            return {"text": await self.metrics()}
        if message["ask"] == "ready":
            return self.ready()
        return {"error": f"the supervisor does not know {message['ask']!r}"}

    def _changed(self) -> None:
        self._shadow.changed()

    async def _gather(self) -> None:
        """Have every process report what it counted up to now; what a slow one counted comes a little later."""

        async def ask(child: Child) -> None:
            with contextlib.suppress(ConnectionError, TimeoutError):
                await child.channel.ask({"ask": "report", "aside": True}, timeout=2)

        children = [*self._alive(), *self._shadow.alive()]
        await asyncio.gather(*map(ask, children))

    async def _tell(self, child: Child, message: Message) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):
            await child.channel.ask(message, timeout=10)

    # ---- log and metrics ---------------------------------------------------------------------------------------

    async def flush(self) -> Message:
        """Every prediction answered so far is in Parquet on return."""
        for group in (list(self._workers.values()), self._shadow.alive()):  # what the one hands to the other
            await asyncio.gather(*(self._tell(child, {"ask": "rotate"}) for child in group))
        return await self._compact()

    def ready(self) -> dict[str, Any]:
        """Ready: every wanted worker serves the newest table."""
        newest = self.releases.table.generation
        generations = {number: child.generation for number, child in self._workers.items() if child.alive}
        reasons = [
            f"worker {number} is at generation {generations.get(number, 'none')}, newest is {newest}"
            for number in range(self._config.workers)
            if generations.get(number) != newest
        ]
        models = {model: route.live.version for model, route in self.releases.table.routes.items()}
        served, model = self._config.serve, self._config.model
        if served is not None and models.get(model) != served.version:
            reasons.append(f"{model} version {served.version} is not live yet")
        return {
            "ready": not reasons,
            "generation": self.releases.table.generation,
            "models": models,
            "reasons": reasons,
        }

    async def metrics(self) -> str:
        """Prometheus text over all workers, the dead ones included."""
        alive = self._alive()

        async def counted(child: Child) -> Snapshot:
            with contextlib.suppress(ConnectionError, TimeoutError):
                child.counters = await child.channel.ask({"ask": "counters"}, timeout=2)
            return child.counters

        snapshots = await asyncio.gather(*map(counted, alive))
        waiting = [time.time() - path.stat().st_mtime for path in self._wal.glob("*.seg") if path.exists()]
        lag = max([0.0, *waiting, *(snapshot.get("log_age", 0.0) for snapshot in snapshots)])
        gauges = {
            "airworthy_generation": ("Generation of the routing table.", float(self.releases.table.generation)),
            "airworthy_workers": ("Live data workers.", float(len(alive))),
            "airworthy_models": ("Models with a live version.", float(len(self.releases.table.routes))),
            "airworthy_log_lag_seconds": ("Age of the oldest answer that is not in Parquet yet, at most.", lag),
        }
        return render(merge([self._retired, *snapshots]), gauges) + rollout_lines(self.releases.table, self.counts)
