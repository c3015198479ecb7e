"""Changes one rollout at its target: each change is based on the present state and verified by reading it back."""

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
from pipelines.rollout.next_steps import next_steps_text
from pipelines.spec.model import ModelSpec
from pipelines.spec.strategy import FULL_SHARE

ENDED_PHASES = {"ROLLED_BACK": "was rolled back", "FAILED": "could not be prepared"}
HOLD_LEASE_SECONDS = 86400.0
"""Lease of a rollout that is held for a person; after it the gateway or ``LeaseReaper`` handles the expiry."""
log = logging.getLogger(__name__)


class TargetChange(Protocol):
    """One call to the target that lacks only the expected generation and the idempotency key."""

    def __call__(self, *, expect: int, key: str) -> object: ...


class Rollout:
    """The rollout of one ticket at its target.

    A conflict with another writer raises ``Unavailable``: the next try reads the new state and decides again.
    """

    def __init__(self, ports: Ports, ticket: RolloutTicket) -> None:
        self.ports, self.ticket = ports, ticket
        self.target: DeploymentTarget = ports.target(ticket.model)
        self.spec: ModelSpec = ports.catalog.model(ticket.model)

    @property
    def ledger_ids(self) -> dict[str, Any]:
        """Fields that every ledger line about this rollout has."""
        return self.ticket.model_dump(include={"rollout_id", "champion", "model_digest", "sha256"})

    def ledger_lines(self, kind: str) -> list[LedgerEntry]:
        """Ledger lines about this rollout, oldest first."""
        entries = self.ports.ledger.entries(model=self.ticket.model, version=self.ticket.version, kind=kind)
        return [line for line in entries if line.details.get("rollout_id") == self.ticket.rollout_id]

    def append_line(self, kind: str, details: dict[str, Any], action: str) -> None:
        """Write one line about this rollout; a second call with the same ``action`` writes nothing."""
        ticket, key = self.ticket, f"{self.ticket.rollout_id}/{action}"
        details = {**self.ledger_ids, **details}
        self.ports.ledger.append(kind, ticket.model, ticket.version, details, actor=self.ports.settings.actor, key=key)

    def read_state(self) -> RolloutState:
        """Present state at the target, of any rollout. ``Unavailable`` while not every worker serves it yet."""
        state = self.target.rollout(self.ticket.model)
        if not state.applied:
            raise Unavailable(f"not every worker serves generation {state.generation} of {self.ticket.model} yet")
        return state

    def running_state(self) -> RolloutState:
        """The state, if this rollout is still active.

        Skips the task if a newer rollout has superseded it; ``Refused`` with the recorded reason if it was rolled back.
        """
        state, rollout_id = self.read_state(), self.ticket.rollout_id
        if state.rollout_id == rollout_id and state.phase in ENDED_PHASES:
            reasons = [state.reason, next_steps_text(self.ticket, state)]
            raise Refused(f"version {self.ticket.version} of {state.model} {ENDED_PHASES[state.phase]}", reasons)
        if state.rollout_id == rollout_id and state.phase != "SUPERSEDED":
            return state
        if state.rollout_id is None:
            reasons = [f"version {state.champion} answers: another run or person released or restored it meanwhile"]
            raise Refused(f"{state.model} has no rollout {rollout_id}", reasons)
        raise AirflowSkipException(f"rollout {rollout_id} of {state.model} was superseded by {state.rollout_id}")

    def create(self, state: RolloutState, plan: dict[str, Any]) -> None:
        """Begin the rollout with no traffic for the candidate; ``state`` is the state that it replaces."""
        self._call_target("create_rollout", state, partial(self.target.create_rollout, *self.model_and_id, plan))

    def prepare(self) -> RolloutState:
        """Load the candidate at the target, which also tests it."""
        ticket = self.ticket
        load = partial(self.target.prepare, *self.model_and_id, ticket.version, ticket.bundle, ticket.sha256)
        return self._change("prepare", load, lambda state: state.phase != "PENDING")

    def set_traffic(self, share: int) -> RolloutState:
        """Give the candidate ``share`` basis points, the champion the rest."""
        split = {str(self.ticket.champion): FULL_SHARE - share, self.ticket.version: share}
        move = partial(self.target.set_traffic, *self.model_and_id, split)
        return self._change("set_traffic", move, lambda state: self.share(state) == share)

    def mirror(self, basis_points: int) -> RolloutState:
        """Copy ``basis_points`` of the requests to the candidate."""
        version = self.ticket.version
        copy = partial(self.target.set_mirror, *self.model_and_id, version, basis_points)
        return self._change("set_mirror", copy, lambda state: state.mirror == version)

    def stop_mirror(self) -> RolloutState:
        """Stop copying requests to the candidate."""
        stop = partial(self.target.set_mirror, *self.model_and_id, None, 0)
        return self._change("set_mirror", stop, lambda state: state.mirror is None)

    def promote(self) -> RolloutState:
        """Make the candidate the champion."""
        version = self.ticket.version
        switch = partial(self.target.promote, *self.model_and_id, version)
        return self._change("promote", switch, lambda state: state.champion == version)

    def retire(self) -> RolloutState:
        """Finish a promotion: the phase becomes SUCCEEDED."""
        finish = partial(self.target.retire, *self.model_and_id, None)
        return self._change("retire", finish, lambda state: state.phase == "SUCCEEDED")

    def resume(self) -> RolloutState:
        """Resume at the stage at which it was paused."""
        resume = partial(self.target.resume, *self.model_and_id)
        return self._change("resume", resume, lambda state: state.phase != "PAUSED")

    def hold(self, state: RolloutState, reason: str) -> RolloutState:
        """Pause: the traffic stays as it is until a person decides, for at most ``HOLD_LEASE_SECONDS``."""
        self._call_target("pause", state, partial(self.target.pause, *self.model_and_id, reason))
        held = self.read_state()
        self.renew_lease(held, HOLD_LEASE_SECONDS)
        return held

    def renew_lease(self, state: RolloutState, seconds: float) -> None:
        """Renew the lease for ``seconds`` from now."""
        suffix = f"/{seconds:g}/{self.ports.clock().isoformat()}"  # renewing does not change the generation
        self._call_target("renew_lease", state, partial(self.target.renew_lease, *self.model_and_id, seconds), suffix)

    def renew_idle_lease(self, state: RolloutState) -> None:
        """Renew the lease of a candidate without traffic until the next task, including the time approvers have."""
        self.renew_lease(state, idle_lease_seconds(self.spec.deployment))

    def roll_back(self, reason: str) -> RolloutState:
        """Send all traffic to the champion, at any generation; an ended rollout is left as it is."""
        reason_digest = hashlib.sha256(reason.encode()).hexdigest()[:16]
        return self.target.roll_back(
            *self.model_and_id, reason, key=f"{self.ticket.rollout_id}/roll_back/{reason_digest}"
        )

    @property
    def model_and_id(self) -> tuple[str, str]:
        return self.ticket.model, self.ticket.rollout_id

    def _change(self, verb: str, change: TargetChange, is_applied: Callable[[RolloutState], bool]) -> RolloutState:
        """Make one change unless it is applied already, and verify it by reading the state back."""
        state = self.running_state()
        if is_applied(state):
            return state
        log.info("%s %s: %s", state.model, self.ticket.rollout_id, verb)
        self._call_target(verb, state, change)
        state = self.running_state()
        if not is_applied(state):
            actual = f"the rollout is {state.phase} with split {state.split}"
            raise Unavailable(f"the target accepted {verb} of {state.model} but {actual}; clear the task to try again")
        return state

    def _call_target(self, verb: str, state: RolloutState, change: TargetChange, suffix: str = "") -> None:
        """Call the target, expecting ``state``; a repeat on the same state has the same idempotency key."""
        key = f"{self.ticket.rollout_id}/{verb}/{state.generation}{suffix}"
        try:
            change(expect=state.generation, key=key)
        except Conflict as error:
            raise Unavailable(f"another writer changed {self.ticket.model} meanwhile: {error}") from error

    def share(self, state: RolloutState) -> int:
        """Basis points that the candidate has."""
        return state.split.get(self.ticket.version, 0)
