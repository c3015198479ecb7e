"""One rollout as its deploy run sees it: every change is decided on what the target says now, and read back."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Conflict, Refused, Unavailable
from pipelines.messages.rollout import RolloutState, RolloutTicket
from pipelines.ports import DeploymentTarget, LedgerEntry, Ports
from pipelines.rollout.from_spec import idle_lease_seconds
from pipelines.spec.model import ModelSpec
from pipelines.spec.strategy import WHOLE

ENDED = {"ROLLED_BACK": "was rolled back", "FAILED": "could not be prepared"}
HOLD_SECONDS = 86400.0
"""How long traffic is held for a person; then the gateway's guard, or the reaper, deals with the expired lease."""
log = logging.getLogger(__name__)


class TargetChange(Protocol):
    """One call to the target, but for the generation it is decided on and its idempotency key."""

    def __call__(self, *, expect: int, key: str) -> object: ...


class Rollout:
    """The rollout of one ticket at its target.

    A change that meets another one raises ``Unavailable``: the next try reads anew and decides anew.
    """

    def __init__(self, ports: Ports, ticket: RolloutTicket) -> None:
        self.ports, self.ticket = ports, ticket
        self.target: DeploymentTarget = ports.target(ticket.model)
        self.spec: ModelSpec = ports.catalog.model(ticket.model)

    @property
    def named(self) -> dict[str, Any]:
        """What every ledger line about this rollout says."""
        return self.ticket.model_dump(include={"rollout_id", "champion", "model_digest", "sha256"})

    def lines(self, kind: str) -> list[LedgerEntry]:
        """What the ledger says about this rollout, oldest first."""
        found = self.ports.ledger.entries(model=self.ticket.model, version=self.ticket.version, kind=kind)
        return [line for line in found if line.details.get("rollout_id") == self.ticket.rollout_id]

    def write(self, kind: str, details: dict[str, Any], act: str) -> None:
        """One line about this rollout; the same ``act`` is written once."""
        ticket, key = self.ticket, f"{self.ticket.rollout_id}/{act}"
        details = {**self.named, **details}
        self.ports.ledger.append(kind, ticket.model, ticket.version, details, actor=self.ports.settings.actor, key=key)

    def look(self) -> RolloutState:
        """What the target says now, whosever rollout it is. ``Unavailable`` while not every worker serves it yet."""
        state = self.target.rollout(self.ticket.model)
        if not state.applied:
            raise Unavailable(f"not every worker serves generation {state.generation} of {self.ticket.model} yet")
        return state

    def running(self) -> RolloutState:
        """The state, if this rollout still goes on.

        Skips when a newer one took its place; ``Refused`` with the recorded reason when it was rolled back.
        """
        state, ours = self.look(), self.ticket.rollout_id
        if state.rollout_id == ours and state.phase in ENDED:
            reasons = [state.reason, f"version {state.champion} answers; trigger {state.model}__deploy to try again"]
            raise Refused(f"version {self.ticket.version} of {state.model} {ENDED[state.phase]}", reasons)
        if state.rollout_id == ours and state.phase != "SUPERSEDED":
            return state
        if state.rollout_id is None:
            reasons = [f"version {state.champion} answers: it was released or put back by somebody else meanwhile"]
            raise Refused(f"{state.model} has no rollout {ours}", reasons)
        raise AirflowSkipException(f"rollout {ours} of {state.model} was superseded by {state.rollout_id}")

    def create(self, state: RolloutState, plan: dict[str, Any]) -> None:
        """Begin the rollout at no traffic, decided on ``state``."""
        self._change("create_rollout", state, partial(self.target.create_rollout, *self._names, plan))

    def prepare(self) -> RolloutState:
        """Load the candidate at the target and try it there."""
        ticket = self.ticket
        load = partial(self.target.prepare, *self._names, ticket.version, ticket.bundle, ticket.sha256)
        return self._bring("prepare", load, lambda state: state.phase != "PENDING")

    def set_traffic(self, share: int) -> RolloutState:
        """``share`` basis points for the candidate, the rest for the champion."""
        split = {str(self.ticket.champion): WHOLE - share, self.ticket.version: share}
        move = partial(self.target.set_traffic, *self._names, split)
        return self._bring("set_traffic", move, lambda state: self.share(state) == share)

    def mirror(self, basis_points: int) -> RolloutState:
        """Copy so many of the requests to the candidate."""
        version = self.ticket.version
        copy = partial(self.target.set_mirror, *self._names, version, basis_points)
        return self._bring("set_mirror", copy, lambda state: state.mirror == version)

    def stop_mirror(self) -> RolloutState:
        """Copy no request to the candidate any more."""
        stop = partial(self.target.set_mirror, *self._names, None, 0)
        return self._bring("set_mirror", stop, lambda state: state.mirror is None)

    def promote(self) -> RolloutState:
        """The candidate becomes the champion."""
        version = self.ticket.version
        switch = partial(self.target.promote, *self._names, version)
        return self._bring("promote", switch, lambda state: state.champion == version)

    def retire(self) -> RolloutState:
        """Finish a promotion: the former champion is let go."""
        finish = partial(self.target.retire, *self._names, None)
        return self._bring("retire", finish, lambda state: state.phase == "SUCCEEDED")

    def resume(self) -> RolloutState:
        """Go on where it was paused; a person who clears a held task wants that."""
        resume = partial(self.target.resume, *self._names)
        return self._bring("resume", resume, lambda state: state.phase != "PAUSED")

    def hold(self, state: RolloutState, reason: str) -> RolloutState:
        """Traffic stays as it is until a person decides, for a day at most."""
        self._change("pause", state, partial(self.target.pause, *self._names, reason))
        held = self.look()
        self.renew(held, HOLD_SECONDS)
        return held

    def renew(self, state: RolloutState, seconds: float) -> None:
        """The lease counts from now."""
        once = f"/{seconds:g}/{self.ports.clock().isoformat()}"  # the generation stays as it is
        self._change("renew_lease", state, partial(self.target.renew_lease, *self._names, seconds), once)

    def wait_for_next(self, state: RolloutState) -> None:
        """A candidate without traffic waits: for the next task, and where people are asked for as long as they may."""
        self.renew(state, idle_lease_seconds(self.spec.deployment))

    def roll_back(self, reason: str) -> RolloutState:
        """All traffic to the champion, whoever changed what; what has ended stays as it is."""
        named = hashlib.sha256(reason.encode()).hexdigest()[:16]
        return self.target.roll_back(*self._names, reason, key=f"{self.ticket.rollout_id}/roll_back/{named}")

    @property
    def _names(self) -> tuple[str, str]:
        return self.ticket.model, self.ticket.rollout_id

    def _bring(self, verb: str, change: TargetChange, done: Callable[[RolloutState], bool]) -> RolloutState:
        """Make one change unless it is so already, and read back that it is."""
        state = self.running()
        if done(state):
            return state
        log.info("%s %s: %s", state.model, self.ticket.rollout_id, verb)
        self._change(verb, state, change)
        state = self.running()
        if not done(state):
            raise Unavailable(f"{verb} was asked of {state.model}, but the target says {state.phase} {state.split}")
        return state

    def _change(self, verb: str, state: RolloutState, change: TargetChange, once: str = "") -> None:
        """One call that is decided on ``state``; asked again on the same state it is the same call."""
        key = f"{self.ticket.rollout_id}/{verb}/{state.generation}{once}"
        try:
            change(expect=state.generation, key=key)
        except Conflict as error:
            raise Unavailable(f"somebody else changed {self.ticket.model} meanwhile: {error}") from error

    def share(self, state: RolloutState) -> int:
        """Basis points of the candidate now."""
        return state.split.get(self.ticket.version, 0)
