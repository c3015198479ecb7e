"""Releases and rollbacks of live versions: written to disk, then sent to every worker; a refusal changes nothing."""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from pipelines.errors import Refused, Unavailable
from pipelines.rollout.plan import RolloutPlan
from pipelines.rollout.rollback_plan import DRILL_PREFIX, version_fault
from pipelines.rollout.transitions import (
    FULL_SHARE,
    Route,
    RoutingTable,
    Served,
    UnreleasedVersion,
    planned_rollback,
    release,
    require_live,
    restore,
    roll_back_if_possible,
)
from pipelines.serving.control_plane.state import ACTOR, GatewayState, KeyReused
from pipelines.serving.files import is_below
from pipelines.serving.ipc.channel import Message
from pipelines.serving.ipc.child import Child
from pipelines.serving.models.bundle import BundleRefused, fetch, verify

log = logging.getLogger("airworthy.gateway")

PREPARE_SECONDS = 120.0
APPLY_SECONDS = 60.0
MAX_UNRELEASED_SECONDS = 6 * 3600.0
"""Longest test of a model's first version."""

UnloadableCandidate = tuple[str, str, list[str]]
"""Model, digest of the bundle, and why it cannot be loaded."""


class Releases:
    """The only place that changes what is live. ``workers()`` returns the live workers; ``cache`` holds the bundles.

    Bundles are taken from below ``roots`` alone, folders or URLs.

    ``on_new_table`` is called at every new generation, before any worker gets the new routing table.
    """

    def __init__(
        self,
        state: GatewayState,
        cache: Path,
        workers: Callable[[], list[Child]],
        *,
        roots: Sequence[str],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        on_new_table: Callable[[], None] = lambda: None,
    ) -> None:
        self._state, self._cache, self._live_workers, self._now = state, cache, workers, now
        self._on_new_table, self._roots = on_new_table, roots
        self.table = state.table()
        self.release_lock = asyncio.Lock()
        """Held by a release from its check to its switch; a rollback does not take it."""
        self._loading: set[str] = set()
        self._unreleased: dict[str, UnreleasedVersion] = {}

    async def send_table(self, child: Child) -> None:
        """Send one worker the newest table. Raises ``ConnectionError`` or ``TimeoutError`` if it does not accept it."""
        question = {"ask": "apply", "table": msgspec.to_builtins(self.table)}
        answer = await child.channel.ask(question, timeout=APPLY_SECONDS)
        for model, reason in answer.get("broken", {}).items():
            log.error("worker %s cannot serve %s: %s", child.name, model, reason)
        child.generation = max(child.generation, answer.get("generation", -1))

    async def wait_candidates_loaded(self, child: Child) -> list[UnloadableCandidate]:
        """Wait until one worker has loaded its candidates; returns the ones that it cannot load."""
        generation = child.generation
        refused: list[UnloadableCandidate] = []
        if any(route.candidate for route in self.table.routes.values()):
            answer = await child.channel.ask({"ask": "settle", "aside": True}, timeout=APPLY_SECONDS)
            refused = [(model, sha256, reasons) for model, sha256, reasons in answer["refused"]]
        child.candidates_generation = max(child.candidates_generation, generation)
        return refused

    async def update_workers(self) -> list[UnloadableCandidate]:
        """Send every worker the newest table; returns the candidates that a worker cannot load."""

        async def update(child: Child) -> list[UnloadableCandidate]:
            await self.send_table(child)
            return await self.wait_candidates_loaded(child)

        replies = await asyncio.gather(*map(update, self._live_workers()), return_exceptions=True)
        return [unloadable for answer in replies if not isinstance(answer, BaseException) for unloadable in answer]

    @property
    def is_applied(self) -> bool:
        """Whether every live worker serves the newest table and has loaded its candidates."""
        children = self._live_workers()
        newest = self.table.generation
        return bool(children) and all(child.generation == child.candidates_generation == newest for child in children)

    @property
    def worker_count(self) -> int:
        return len(self._live_workers())

    def live_state(self, model: str) -> dict[str, Any]:
        """State of one model, with the fields of ``pipelines.messages.release.LiveState``."""
        route = self.table.routes.get(model)
        return {
            "model": model,
            "version": route.live.version if route else None,
            "previous": route.previous.version if route and route.previous else None,
            "generation": self.table.generation,
            "bundle_sha256": route.live.sha256 if route else None,
            "workers": self.worker_count,
            "applied": self.is_applied,
        }

    async def release(self, model: str, version: str, bundle: str, sha256: str, *, key: str) -> dict[str, Any]:
        """Make a version live. ``Refused`` changes nothing; ``Unavailable`` may be retried."""
        request = {"release": model, "version": version, "bundle": bundle, "sha256": sha256}
        async with self.release_lock:
            if self._is_repeated_request(key, request):
                return self.live_state(model)
            served = Served(version, bundle, sha256)
            before = self.table.routes.get(model)
            if before is not None and before.live == served:
                self._state.record_unchanged(key, request)
                return self.live_state(model)
            release(model, before, served)
            await self.load_bundle(model, served)
            after = release(model, self.table.routes.get(model), served)  # a rollout may have begun meanwhile
            await self._write(model, after, key, request, "release")
            return self.live_state(model)

    async def restore_previous(
        self, model: str, *, key: str, reason: str, rollout_id: str | None = None, version: str | None = None
    ) -> dict[str, Any]:
        """Take all traffic from the candidate of an active rollout; without one, restore the previous version.

        With ``rollout_id`` only that rollout is rolled back, and nothing changes if it has ended; with ``version`` only
        that version, and ``Refused`` if another one would lose its traffic. The version that was live does not become
        the previous one. It never waits for a release that is being prepared.
        """
        request = {"rollback": model, "reason": reason}
        request |= {} if rollout_id is None else {"rollout_id": rollout_id}
        request |= {} if version is None else {"version": version}
        if self._is_repeated_request(key, request):
            return self.live_state(model)
        before = self.table.routes.get(model)
        planned = None if before is None else planned_rollback(before)
        if rollout_id is None:
            after = restore(model, before, reason)
        else:
            if self._state.rollout(model, rollout_id) is None:
                raise Refused(f"{model} never had a rollout {rollout_id}")
            after = roll_back_if_possible(require_live(model, before), rollout_id, reason)
        if before is None or planned is None or after == before:  # an ended rollout stays as it is
            self._state.record_unchanged(key, request)
            return self.live_state(model)
        if version is not None and (fault := version_fault(planned, version)):
            raise Refused(f"nothing of {model} is rolled back", [fault])
        share = FULL_SHARE if planned.takes == before.live.version else before.share()
        remarks = {"taken_back": planned.takes, "share": share, "answers_next": planned.to}
        remarks |= {"rollout_id": planned.rollout_id} if planned.rollout_id else {}
        await self._write(model, after, key, request, "rollback", remarks)
        return self.live_state(model)

    def next_rollback(self, model: str) -> dict[str, Any]:
        """What a rollback would do now, and whether the version that would answer was itself taken back with traffic.

        Raises ``Refused`` if there is no version to roll back to.
        """
        planned = planned_rollback(require_live(model, self.table.routes.get(model)))
        if planned is None:
            raise Refused(f"{model} has no previous version to restore; release a version instead")
        warnings = [
            f"version {planned.to} was itself taken back at {change['at']} by {change['request'].get('actor')}: "
            f"{change['request']['reason']}"
            for change in self._state.history(model)
            if _took_back(change["request"], planned.to)
        ]
        named = {"taken_back": planned.takes, "answers_next": planned.to, "rollout_id": planned.rollout_id}
        return {"model": model, **named, "warnings": warnings}

    def _is_repeated_request(self, key: str, request: dict[str, Any]) -> bool:
        try:
            return self._state.find_generation(key, request) is not None
        except KeyReused as error:
            raise Refused(str(error)) from error

    async def load_bundle(self, model: str, served: Served, plan: RolloutPlan | None = None) -> None:
        """Fetch, verify and load a bundle in every worker, beside the live versions; with a plan, as a candidate.

        Raises ``Refused`` with every reason, ``Unavailable`` if the store or a worker does not answer.
        """
        self._loading.add(served.sha256)
        try:
            await self._fetch_and_load(model, served, plan)
        finally:
            self._loading.discard(served.sha256)

    async def _fetch_and_load(self, model: str, served: Served, plan: RolloutPlan | None) -> None:
        subject = f"bundle {served.bundle} of {model} version {served.version} is refused"
        if not is_below(served.bundle, self._roots):
            raise Refused(subject, [f"it does not lie below {' or '.join(self._roots)}, where bundles are built"])
        try:
            folder = await asyncio.to_thread(fetch, served.bundle, served.sha256, self._cache)
            manifest = verify(folder, served.sha256)
        except BundleRefused as error:
            raise Refused(subject, error.reasons) from error
        except FileNotFoundError as error:
            raise Refused(subject, [f"{error.filename or 'the bundle'} does not exist; build it first"]) from error
        except OSError as error:
            raise Unavailable(f"bundle {served.bundle} cannot be read: {error}; try again") from error
        if (manifest.model, manifest.version) != (model, served.version):
            raise Refused(subject, [f"the bundle contains {manifest.model} version {manifest.version}"])
        question: Message = {"ask": "prepare", "model": model, "served": msgspec.to_builtins(served), "aside": True}
        if plan is not None:
            question |= {"ask": "try", "plan": msgspec.to_builtins(plan)}
        children = self._live_workers()
        answers = await asyncio.gather(
            *(child.channel.ask(question, timeout=PREPARE_SECONDS) for child in children), return_exceptions=True
        )
        replies = [answer for answer in answers if isinstance(answer, dict)]
        reasons = [reason for answer in replies for reason in answer.get("refused", ())]
        if reasons:
            raise Refused(subject, list(dict.fromkeys(reasons)))
        errors = [answer["error"] for answer in replies if "error" in answer]
        if errors:  # a failed worker does not mean a bad bundle
            raise Unavailable(f"a worker failed while it loaded {model} {served.version}: {errors[0]}; try again")
        if not replies or any(isinstance(answer, TimeoutError) for answer in answers):
            loaded = f"{len(replies)} of {len(children)} workers"
            raise Unavailable(f"{loaded} have loaded {model} {served.version}; try again")

    async def _write(
        self,
        model: str,
        route: Route,
        key: str,
        request: dict[str, Any],
        action: str,
        remarks: Mapping[str, Any] | None = None,
    ) -> None:
        at = self._now().isoformat()
        table = self._state.change(model, route, key=key, request=request, action=action, at=at, remarks=remarks)
        by = ACTOR.get()
        log.info("generation %s: %s of %s by %s, live is %s", table.generation, action, model, by, route.live.version)
        await self.serve_table(table)

    async def serve_table(self, table: RoutingTable) -> list[UnloadableCandidate]:
        """Serve this table in every worker and delete unused bundles; returns the candidates that cannot be loaded."""
        self.keep_table(table)
        self._on_new_table()
        refused = await self.update_workers()
        used = self._loading | {known.served.sha256 for known in self.table.unreleased.values()}
        for route in self.table.routes.values():
            used |= {served.sha256 for served in (route.live, route.previous, route.candidate) if served}
        for folder in self._cache.iterdir():
            if folder.name not in used and not folder.name.startswith("."):
                shutil.rmtree(folder, ignore_errors=True)
        return refused

    def keep_table(self, table: RoutingTable) -> None:
        """Take this table for the newest one, without a word to the workers."""
        tested = {model: known for model, known in self._unreleased.items() if model not in table.routes}
        self.table = msgspec.structs.replace(table, unreleased=tested)

    # ---- a first version under test ------------------------------------------------------------------------------

    async def load_unreleased(self, model: str, served: Served, seconds: float) -> dict[str, Any]:
        """Load a model's first version for ``seconds``; the answer has the secret of the requests that reach it.

        It is not live, is in memory alone, and is gone after a release, after the time, or after a restart.
        """
        if not 0 < seconds <= MAX_UNRELEASED_SECONDS:
            raise Refused(f"seconds is {seconds:g}; it must be above 0 and at most {MAX_UNRELEASED_SECONDS:g}")
        self._check_unreleased(model)
        await self.load_bundle(model, served)
        self._check_unreleased(model)
        known, until = self._unreleased.get(model), self._now() + timedelta(seconds=seconds)
        probe = known.probe if known is not None and known.served == served else secrets.token_urlsafe(18)
        self._unreleased[model] = UnreleasedVersion(served, probe, until)
        await self.serve_table(self.table)
        return {"model": model, "version": served.version, "probe": probe, "until": until.isoformat()}

    async def unload_unreleased(self, model: str) -> dict[str, Any]:
        """Unload a model's first version, if it is tested."""
        if self._unreleased.pop(model, None) is not None:
            await self.serve_table(self.table)
        return {"model": model}

    async def unload_expired(self) -> None:
        """Unload the versions whose time is over."""
        for model in [model for model, known in self._unreleased.items() if known.until <= self._now()]:
            log.warning("the test of %s version %s is over", model, self._unreleased[model].served.version)
            await self.unload_unreleased(model)

    def _check_unreleased(self, model: str) -> None:
        if (route := self.table.routes.get(model)) is not None:
            subject = f"version {route.live.version} of {model} is live; begin a rollout to test another one"
            raise Refused(subject)

    def history(self, model: str | None = None) -> list[dict[str, Any]]:
        return self._state.history(model)


def _took_back(request: Mapping[str, Any], version: str) -> bool:
    """Whether a change of the history took this version back from callers; a drill does so on purpose."""
    drill = str(request.get("rollout_id") or "").startswith(DRILL_PREFIX)
    return request.get("taken_back") == version and request.get("share", 0) > 0 and not drill
