"""Makes a version live if the ledger has a PASS of each gate, stage and approval; then the registry follows."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from pipelines.errors import Refused, Unavailable
from pipelines.ledger.recorded_facts import semantic_versions
from pipelines.ledger.required_evidence import REQUIRED_GATES
from pipelines.ledger.version_state import live_version, read_versions
from pipelines.messages.release import LiveState
from pipelines.ports import LedgerEntry
from pipelines.rules.champion_release import judge_release
from pipelines.versions.records import update_registry
from practices._operators import run_context
from practices._operators.defaults import asset
from practices._rollouts.next_steps import named_next_steps
from practices._rollouts.operator import RolloutPractice
from practices._rollouts.recorded_evidence import gate_outcomes, stage_outcomes
from practices._rollouts.rollout import Rollout


class ChampionRelease(RolloutPractice):
    """Check the evidence for the version in the ledger, promote or release it, then move the aliases.

    Each action is idempotent, so a task that was killed can run again. The traffic is verified at the target before
    the release is recorded. Emits the asset event ``<model>:released``. Returns the target's ``LiveState``.
    """

    stem, kind = "champion_release", "gate"
    ui_color = "#a4c2f4"

    def execute(self, context: Context) -> dict[str, Any]:
        rollout = self.open_rollout(context)
        ports, ticket = rollout.ports, rollout.ticket
        gates, approval = gate_outcomes(ticket, ports)
        stages = stage_outcomes(ticket, rollout.spec, ports)
        verdict = judge_release(ticket, gates, approval, REQUIRED_GATES, stages=stages)
        self.record(verdict, rollout, context, gate=self.stem, bundle=ticket.sha256)
        key = run_context.action_key(context, ticket.version)
        switch = self.release if ticket.first or ticket.is_live else self.promote
        with named_next_steps(rollout):
            switch(rollout, context, key)
            state = read_released_state(rollout)
        details = {
            "from": ticket.champion,
            "semantic_version": semantic_versions(ports.ledger.entries(self.model, kind="approval")).get(
                ticket.version
            ),
            **ticket.model_dump(include={"rollout_id", "sha256", "model_digest"}),
            "uri": ticket.bundle,
            **state.model_dump(mode="json", include={"previous", "generation", "workers"}),
        }
        actor = run_context.actor(context, ports.settings.actor)
        line = recorded_release(rollout) or ports.ledger.append(
            "release", self.model, ticket.version, details, actor=actor, key=key
        )
        update_registry(ports, line, state)
        context["outlet_events"][asset(self.model, "released")].extra = {"version": ticket.version, **details}
        return state.model_dump(mode="json", by_alias=True)

    def promote(self, rollout: Rollout, context: Context, key: str) -> None:  # noqa: ARG002 - Rollout makes its own key
        """Make the candidate the champion, unless it is already."""
        self.resume_if_paused(rollout, context)
        rollout.promote()

    def release(self, rollout: Rollout, context: Context, key: str) -> None:  # noqa: ARG002
        """Make the bundle live, unless it is already; ``Refused`` if the live version is not the one of the ticket."""
        ticket, live = rollout.ticket, rollout.target.state(self.model)
        if (live.version, live.bundle_sha256) == (ticket.version, ticket.sha256):
            return
        if live.version not in (ticket.champion, ticket.version):
            reasons = [f"version {live.version} went live meanwhile; trigger {self.model}__deploy again"]
            raise Refused(f"version {ticket.version} was to replace {ticket.champion or 'nothing'}", reasons)
        rollout.target.release(self.model, ticket.version, ticket.bundle, ticket.sha256, key=key)


def recorded_release(rollout: Rollout) -> LedgerEntry | None:
    """The line on this release if it is the newest one and still holds: clearing the task releases nothing anew."""
    ticket = rollout.ticket
    lines = rollout.ports.ledger.entries(ticket.model)
    newest = next((line for line in reversed(lines) if line.kind == "release"), None)
    if newest is None or (newest.version, newest.details.get("rollout_id")) != (ticket.version, ticket.rollout_id):
        return None
    return newest if live_version(read_versions(lines)) == ticket.version else None


def read_released_state(rollout: Rollout) -> LiveState:
    """The live state. ``Refused`` if it is of another version, ``Unavailable`` while not every worker serves it."""
    version, state = rollout.ticket.version, rollout.target.state(rollout.ticket.model)
    if state.version != version:
        reasons = [f"{state.version} is live: it was released or restored after this run switched traffic"]
        reasons.append(f"trigger {state.model}__deploy with version {version} if that is what you want")
        raise Refused(f"version {version} of {state.model} is not live any more", reasons)
    if not state.applied:
        raise Unavailable(f"not every worker serves generation {state.generation} of {state.model} yet")
    return state
