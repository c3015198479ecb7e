"""Releases and rollbacks of live versions: written to disk, then given to every worker; a refusal changes nothing."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from pipelines.errors import Refused, Unavailable
from pipelines.rollout.plan import RolloutPlan
from pipelines.rollout.transitions import Route, RoutingTable, Served, given_up, live, put_back, released
from pipelines.serving.control_plane.state import GatewayState, KeyReused
from pipelines.serving.ipc.channel import Message
from pipelines.serving.ipc.child import Child
from pipelines.serving.models.bundle import BundleRefused, fetch, verify

log = logging.getLogger("airworthy.gateway")

PREPARE_TIMEOUT = 120.0
APPLY_TIMEOUT = 60.0

Unloadable = tuple[str, str, list[str]]
"""Model, digest of the bundle, and why it cannot be loaded."""


class Releases:
    """The one owner of what is live. ``workers()`` gives the live workers; ``cache`` holds fetched bundles.

    ``changed`` is called at every new generation, before any worker gets its table.
    """

    def __init__(
        self,
        state: GatewayState,
        cache: Path,
        workers: Callable[[], list[Child]],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._state, self._cache, self._workers, self._now, self._changed = state, cache, workers, now, changed
        self.table = state.table()
        self.changing = asyncio.Lock()
        """Held by a release from its check to its switch; a rollback waits for nobody."""
        self._fetched: set[str] = set()

    async def apply(self, child: Child) -> None:
        """Give one worker the newest table. Raises ``ConnectionError`` or ``TimeoutError`` if it does not take it."""
        question = {"ask": "apply", "table": msgspec.to_builtins(self.table)}
        answer = await child.channel.ask(question, timeout=APPLY_TIMEOUT)
        for model, why in answer.get("broken", {}).items():
            log.error("worker %s cannot serve %s: %s", child.name, model, why)
        child.generation = max(child.generation, answer.get("generation", -1))

    async def settle(self, child: Child) -> list[Unloadable]:
        """Wait until one worker has loaded its candidates; returns those that it cannot load."""
        generation = child.generation
        refused: list[Unloadable] = []
        if any(route.candidate for route in self.table.routes.values()):
            answer = await child.channel.ask({"ask": "settle", "aside": True}, timeout=APPLY_TIMEOUT)
            refused = [(model, sha256, reasons) for model, sha256, reasons in answer["refused"]]
        child.settled = max(child.settled, generation)
        return refused

    async def push(self) -> list[Unloadable]:
        """Give every worker the newest table; returns the candidates that some worker cannot load."""

        async def tell(child: Child) -> list[Unloadable]:
            await self.apply(child)
            return await self.settle(child)

        heard = await asyncio.gather(*map(tell, self._workers()), return_exceptions=True)
        return [unloadable for answer in heard if not isinstance(answer, BaseException) for unloadable in answer]

    @property
    def applied(self) -> bool:
        """Whether every live worker answers by the newest table, with its candidates loaded."""
        alive = self._workers()
        return bool(alive) and all(child.generation == child.settled == self.table.generation for child in alive)

    @property
    def workers(self) -> int:
        return len(self._workers())

    def live(self, model: str) -> dict[str, Any]:
        """State of one model, as ``pipelines.messages.release.LiveState`` has it."""
        route = self.table.routes.get(model)
        return {
            "model": model,
            "version": route.live.version if route else None,
            "previous": route.previous.version if route and route.previous else None,
            "generation": self.table.generation,
            "bundle_sha256": route.live.sha256 if route else None,
            "workers": self.workers,
            "applied": self.applied,
        }

    async def release(self, model: str, version: str, bundle: str, sha256: str, *, key: str) -> dict[str, Any]:
        """Make a version live. ``Refused`` leaves everything as it was; ``Unavailable`` may be tried again."""
        request = {"release": model, "version": version, "bundle": bundle, "sha256": sha256}
        async with self.changing:
            if self._known(key, request):
                return self.live(model)
            served = Served(version, bundle, sha256)
            before = self.table.routes.get(model)
            if before is not None and before.live == served:
                self._state.remember(key, request)
                return self.live(model)
            released(model, before, served)
            await self.load(model, served)
            after = released(model, self.table.routes.get(model), served)  # a rollout may have begun meanwhile
            await self._switch(model, after, key, request, "release")
            return self.live(model)

    async def rollback(self, model: str, *, key: str, reason: str, rollout_id: str | None = None) -> dict[str, Any]:
        """Take all traffic from the candidate of an active rollout; without one, put the previous version back.

        With ``rollout_id`` only that rollout is rolled back: one that has ended stays as it is. What was live is not
        kept as a version to go back to. It never waits for a change that is being prepared.
        """
        request = {"rollback": model, "reason": reason}
        if rollout_id is not None:
            request["rollout_id"] = rollout_id
        if self._known(key, request):
            return self.live(model)
        before = self.table.routes.get(model)
        if rollout_id is None:
            after = put_back(model, before, reason)
        else:
            if self._state.rollout(model, rollout_id) is None:
                raise Refused(f"{model} never had a rollout {rollout_id}")
            after = given_up(live(model, before), rollout_id, reason)
        if after == before:  # it has ended: ended is ended
            self._state.remember(key, request)
        else:
            await self._switch(model, after, key, request, "rollback")
        return self.live(model)

    def _known(self, key: str, request: dict[str, Any]) -> bool:
        try:
            return self._state.answered(key, request) is not None
        except KeyReused as error:
            raise Refused(str(error)) from error

    async def load(self, model: str, served: Served, plan: RolloutPlan | None = None) -> None:
        """Fetch, verify and load a bundle in every worker, beside what is live; with a plan, as a candidate.

        Raises ``Refused`` with every reason, ``Unavailable`` if the store or a worker does not answer.
        """
        self._fetched.add(served.sha256)
        try:
            await self._load(model, served, plan)
        finally:
            self._fetched.discard(served.sha256)

    async def _load(self, model: str, served: Served, plan: RolloutPlan | None) -> None:
        subject = f"bundle {served.bundle} of {model} version {served.version} is refused"
        try:
            folder = await asyncio.to_thread(fetch, served.bundle, served.sha256, self._cache)
            manifest = verify(folder, served.sha256)
        except BundleRefused as error:
            raise Refused(subject, error.reasons) from error
        except FileNotFoundError as error:
            raise Refused(subject, [f"there is no {error.filename or 'such bundle'}; build it first"]) from error
        except OSError as error:
            raise Unavailable(f"bundle {served.bundle} cannot be read: {error}; try again") from error
        if (manifest.model, manifest.version) != (model, served.version):
            raise Refused(subject, [f"it holds {manifest.model} version {manifest.version}"])
        question: Message = {"ask": "prepare", "model": model, "served": msgspec.to_builtins(served), "aside": True}
        if plan is not None:
            question |= {"ask": "try", "plan": msgspec.to_builtins(plan)}
        alive = self._workers()
        answers = await asyncio.gather(
            *(child.channel.ask(question, timeout=PREPARE_TIMEOUT) for child in alive), return_exceptions=True
        )
        heard = [answer for answer in answers if isinstance(answer, dict)]
        reasons = [reason for answer in heard for reason in answer.get("refused", ())]
        if reasons:
            raise Refused(subject, list(dict.fromkeys(reasons)))
        broken = [answer["error"] for answer in heard if "error" in answer]
        if broken:  # a worker that failed says nothing about the bundle
            raise Unavailable(f"a worker failed while it loaded {model} {served.version}: {broken[0]}; try again")
        if not heard or any(isinstance(answer, TimeoutError) for answer in answers):
            raise Unavailable(f"{len(heard)} of {len(alive)} workers have loaded {model} {served.version}; try again")

    async def _switch(self, model: str, route: Route, key: str, request: dict[str, Any], action: str) -> None:
        table = self._state.change(model, route, key=key, request=request, action=action, at=self._now().isoformat())
        log.info("generation %s: %s of %s, live is %s", table.generation, action, model, route.live.version)
        await self.become(table)

    async def become(self, table: RoutingTable) -> list[Unloadable]:
        """Serve this table everywhere, and let go of the bundles that nothing needs."""
        self.table = table
        self._changed()
        refused = await self.push()
        used = set(self._fetched)
        for route in self.table.routes.values():
            used |= {served.sha256 for served in (route.live, route.previous, route.candidate) if served}
        for folder in self._cache.iterdir():
            if folder.name not in used and not folder.name.startswith("."):
                shutil.rmtree(folder, ignore_errors=True)
        return refused

    def history(self, model: str | None = None) -> list[dict[str, Any]]:
        return self._state.history(model)
