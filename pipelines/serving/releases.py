"""A release is acknowledged once it is on disk and every live worker answers with it; a refused one changes nothing."""

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
from pipelines.serving.bundle import BundleRefused, fetch, verify
from pipelines.serving.children import Child
from pipelines.serving.control import Message
from pipelines.serving.state import KeyReused, Route, Served, State

log = logging.getLogger("airworthy.gateway")

PREPARE_TIMEOUT = 120.0
APPLY_TIMEOUT = 60.0


class Releases:
    """The one owner of what is live. ``workers()`` gives the live workers; ``cache`` holds fetched bundles."""

    def __init__(
        self,
        state: State,
        cache: Path,
        workers: Callable[[], list[Child]],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._state, self._cache, self._workers, self._now = state, cache, workers, now
        self.table = state.table()
        self.changing = asyncio.Lock()
        """Held while the table changes; a new worker gets its first table under it."""

    async def apply(self, child: Child) -> Message:
        """Give one worker the newest table. Raises ``ConnectionError`` or ``TimeoutError`` if it does not take it."""
        table = msgspec.to_builtins(self.table)
        answer = await child.channel.ask({"ask": "apply", "table": table}, timeout=APPLY_TIMEOUT)
        child.generation = answer.get("generation", -1)
        for model, why in answer.get("broken", {}).items():
            log.error("worker %s cannot serve %s: %s", child.name, model, why)
        return answer

    def live(self, model: str) -> dict[str, Any]:
        """State of one model, as ``pipelines.messages.LiveState`` has it."""
        route = self.table.routes.get(model)
        alive = self._workers()
        return {
            "model": model,
            "version": route.live.version if route else None,
            "previous": route.previous.version if route and route.previous else None,
            "generation": self.table.generation,
            "bundle_sha256": route.live.sha256 if route else None,
            "workers": len(alive),
            "applied": bool(alive) and all(child.generation == self.table.generation for child in alive),
        }

    async def release(self, model: str, version: str, bundle: str, sha256: str, *, key: str) -> dict[str, Any]:
        """Make a version live. ``Refused`` leaves everything as it was; ``Unavailable`` may be tried again."""
        request = {"release": model, "version": version, "bundle": bundle, "sha256": sha256}
        async with self.changing:
            if self._known(key, request):
                return self.live(model)
            wanted = Served(version, bundle, sha256)
            before = self.table.routes.get(model)
            if before is not None and before.live == wanted:
                self._state.remember(key, request)
                return self.live(model)
            await self._prepare(model, wanted)
            previous = before.live if before else None
            if before is not None and before.live.version == version:
                previous = before.previous  # rebuilt: going back to itself would be no way back
            await self._switch(model, Route(wanted, previous), key, request, "release")
            return self.live(model)

    async def rollback(self, model: str, *, key: str, reason: str) -> dict[str, Any]:
        """Put the previous version back; what was live is not kept as a version to go back to."""
        request = {"rollback": model, "reason": reason}
        async with self.changing:
            if self._known(key, request):
                return self.live(model)
            before = self.table.routes.get(model)
            if before is None or before.previous is None:
                raise Refused(f"{model} has no previous version to put back; release one instead")
            await self._switch(model, Route(before.previous), key, request, "rollback")
            return self.live(model)

    def _known(self, key: str, request: dict[str, Any]) -> bool:
        try:
            return self._state.answered(key, request) is not None
        except KeyReused as error:
            raise Refused(str(error)) from error

    async def _prepare(self, model: str, wanted: Served) -> None:
        """Fetch, verify and load a bundle in every worker, beside what is live."""
        subject = f"bundle {wanted.bundle} of {model} version {wanted.version} is refused"
        try:
            folder = await asyncio.to_thread(fetch, wanted.bundle, wanted.sha256, self._cache)
            manifest = verify(folder, wanted.sha256)
        except BundleRefused as error:
            raise Refused(subject, error.reasons) from error
        except FileNotFoundError as error:
            raise Refused(subject, [f"there is no {error.filename or 'such bundle'}; build it first"]) from error
        except OSError as error:
            raise Unavailable(f"bundle {wanted.bundle} cannot be read: {error}; try again") from error
        if (manifest.model, manifest.version) != (model, wanted.version):
            raise Refused(subject, [f"it holds {manifest.model} version {manifest.version}"])
        question = {"ask": "prepare", "model": model, "served": msgspec.to_builtins(wanted)}
        alive = self._workers()
        answers = await asyncio.gather(
            *(child.channel.ask(question, timeout=PREPARE_TIMEOUT) for child in alive), return_exceptions=True
        )
        heard = [answer for answer in answers if isinstance(answer, dict)]
        reasons = [
            reason
            for answer in heard
            for reason in (answer.get("refused") or ([answer["error"]] if "error" in answer else []))
        ]
        if reasons:
            raise Refused(subject, list(dict.fromkeys(reasons)))
        if not heard or any(isinstance(answer, TimeoutError) for answer in answers):
            raise Unavailable(f"{len(heard)} of {len(alive)} workers have loaded {model} {wanted.version}; try again")

    async def _switch(self, model: str, route: Route, key: str, request: dict[str, Any], action: str) -> None:
        self.table = self._state.change(
            model, route, key=key, request=request, action=action, at=self._now().isoformat()
        )
        alive = self._workers()
        await asyncio.gather(*(self.apply(child) for child in alive), return_exceptions=True)
        log.info("generation %s: %s of %s, live is %s", self.table.generation, action, model, route.live.version)
        used = {served.sha256 for one in self.table.routes.values() for served in (one.live, one.previous) if served}
        for folder in self._cache.iterdir():
            if folder.name not in used:
                shutil.rmtree(folder, ignore_errors=True)

    def history(self, model: str | None = None) -> list[dict[str, Any]]:
        return self._state.history(model)
