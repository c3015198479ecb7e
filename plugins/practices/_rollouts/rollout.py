"""One rollout as its deploy run sees it: every change is decided on what the target says now, and read back."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Conflict, Refused, Unavailable
from pipelines.messages.rollout import RolloutState, RolloutTicket
from pipelines.ports import DeploymentTarget, LedgerEntry, Ports
from pipelines.rollout.from_spec import idle_lease
from pipelines.spec.model import ModelSpec
from pipelines.spec.strategy import WHOLE

TOLD = {"ROLLED_BACK": "was rolled back", "FAILED": "could not be prepared"}
HOLD_SECONDS = 86400.0
"""How long traffic is held for a person; then the target takes the candidate back."""
log = logging.getLogger(__name__)


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
        if state.rollout_id == ours and state.phase in ("ROLLED_BACK", "FAILED"):
            reasons = [state.reason, f"version {state.champion} answers; trigger {state.model}__deploy to try again"]
            raise Refused(f"version {self.ticket.version} of {state.model} {TOLD[state.phase]}", reasons)
        if state.rollout_id == ours and state.phase != "SUPERSEDED":
            return state
        if state.rollout_id is None:
            reasons = [f"version {state.champion} answers: it was released or put back by somebody else meanwhile"]
            raise Refused(f"{state.model} has no rollout {ours}", reasons)
        raise AirflowSkipException(f"rollout {ours} of {state.model} was superseded by {state.rollout_id}")

    def bring(self, wanted: Callable[[RolloutState], bool], verb: str, *asked: Any) -> RolloutState:
        """Make one change unless it is so already, and read back that it is."""
        state = self.running()
        if wanted(state):
            return state
        log.info("%s %s: %s %s", state.model, self.ticket.rollout_id, verb, " ".join(map(str, asked)))
        self.change(state, verb, *asked)
        state = self.running()
        if not wanted(state):
            raise Unavailable(f"{verb} was asked of {state.model}, but the target says {state.phase} {state.split}")
        return state

    def change(self, state: RolloutState, verb: str, *asked: Any, once: str = "") -> None:
        """One call that is decided on ``state``; asked again on the same state it is the same call.

        ``once`` tells calls apart that leave the generation as it is.
        """
        key = f"{self.ticket.rollout_id}/{verb}/{state.generation}{once and '/'}{once}"
        call = getattr(self.target, verb)
        try:
            call(self.ticket.model, self.ticket.rollout_id, *asked, expect=state.generation, key=key)
        except Conflict as error:
            raise Unavailable(f"somebody else changed {self.ticket.model} meanwhile: {error}") from error

    def renew(self, state: RolloutState, seconds: float) -> None:
        """The lease counts from now."""
        self.change(state, "renew_lease", seconds, once=f"{seconds:g}/{self.ports.clock().isoformat()}")

    def wait_for_next(self, state: RolloutState) -> None:
        """A candidate without traffic waits: for the next task, and where people are asked for as long as they may."""
        self.renew(state, idle_lease(self.spec.deployment))

    def resume(self) -> RolloutState:
        """Go on where it was paused; a person who clears a held task wants that."""
        return self.bring(lambda state: state.phase != "PAUSED", "resume")

    def roll_back(self, reason: str) -> RolloutState:
        """All traffic to the champion, whoever changed what; what has ended stays as it is."""
        named = hashlib.sha256(reason.encode()).hexdigest()[:16]
        key = f"{self.ticket.rollout_id}/roll_back/{named}"
        return self.target.roll_back(self.ticket.model, self.ticket.rollout_id, reason, key=key)

    def hold(self, state: RolloutState, reason: str) -> RolloutState:
        """Traffic stays as it is until a person decides, for a day at most."""
        self.change(state, "pause", reason)
        held = self.look()
        self.renew(held, HOLD_SECONDS)
        return held

    def split(self, state: RolloutState, share: int) -> dict[str, int]:
        """``share`` basis points for the candidate, the rest for the champion."""
        return {state.champion: WHOLE - share, self.ticket.version: share}

    def share(self, state: RolloutState) -> int:
        """Basis points of the candidate now."""
        return state.split.get(self.ticket.version, 0)
