"""Makes a version live, in one switch, if the ledger has each gate, stage and approval of it; the aliases follow."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from pipelines.errors import Refused, Unavailable
from pipelines.ledger.required_evidence import REQUIRED_GATES
from pipelines.messages.release import LiveState
from pipelines.rules.champion_release import judge_release
from practices._operators import run_context
from practices._operators.defaults import asset
from practices._rollouts.aliases import move_aliases
from practices._rollouts.operator import RolloutPractice
from practices._rollouts.recorded_evidence import gate_outcomes, stage_outcomes
from practices._rollouts.rollout import Rollout


class ChampionRelease(RolloutPractice):
    """Judge the version by the ledger once more, promote it (or release the first one), then move the aliases.

    Each action can be repeated: a task killed between any two of them ends right when it runs again. Traffic is read
    back before the release is recorded. Lets ``<model>:released`` fire. Returns the target's ``LiveState``.
    """

    stem, kind = "champion_release", "gate"
    ui_color = "#a4c2f4"

    def execute(self, context: Context) -> dict[str, Any]:
        rollout = self.open()
        ports, ticket = rollout.ports, rollout.ticket
        gates, approval = gate_outcomes(ticket, ports)
        stages = stage_outcomes(ticket, rollout.spec, ports)
        verdict = judge_release(ticket, gates, approval, REQUIRED_GATES, stages=stages)
        self.record(verdict, rollout, context, gate=self.stem, bundle=ticket.sha256)
        key = run_context.action_key(context, ticket.version)
        switch = self.release if ticket.first or not rollout.spec.deployment.staged else self.promote
        former = ports.registry.by_alias(self.model, "champion")
        switch(rollout, context, key)
        state = read_back(rollout)
        details = {
            "from": former.version if former else None,
            "semantic_version": ports.registry.get(self.model, ticket.version).semantic,
            **ticket.model_dump(include={"rollout_id", "sha256", "model_digest"}),
            "uri": ticket.bundle,
            **state.model_dump(mode="json", include={"previous", "generation", "workers"}),
        }
        who = run_context.actor(context, ports.settings.actor)
        ports.ledger.append("release", self.model, ticket.version, details, actor=who, key=key)
        move_aliases(ports.registry, state)
        context["outlet_events"][asset(self.model, "released")].extra = {"version": ticket.version, **details}
        return state.model_dump(mode="json", by_alias=True)

    def promote(self, rollout: Rollout, context: Context, key: str) -> None:  # noqa: ARG002 - the rollout has its own
        """The candidate becomes the champion, unless it is already."""
        self.resume_if_paused(rollout, context)
        rollout.promote()

    def release(self, rollout: Rollout, context: Context, key: str) -> None:  # noqa: ARG002
        """Make the bundle live in one switch, unless it is; ``Refused`` over a version that this run never saw."""
        ticket, before = rollout.ticket, rollout.target.state(self.model)
        if (before.version, before.bundle_sha256) == (ticket.version, ticket.sha256):
            return
        if before.version not in (ticket.champion, ticket.version):
            reasons = [f"version {before.version} went live meanwhile; trigger {self.model}__deploy anew"]
            raise Refused(f"version {ticket.version} was to replace {ticket.champion or 'nothing'}", reasons)
        rollout.target.release(self.model, ticket.version, ticket.bundle, ticket.sha256, key=key)


def read_back(rollout: Rollout) -> LiveState:
    """What is live now. ``Refused`` if it is another version, ``Unavailable`` while not every worker serves it."""
    version, state = rollout.ticket.version, rollout.target.state(rollout.ticket.model)
    if state.version != version:
        reasons = [f"{state.version} is live: it was released, or put back, after this run switched traffic"]
        reasons.append(f"trigger {state.model}__deploy with version {version} if that is what you want")
        raise Refused(f"version {version} of {state.model} is not live any more", reasons)
    if not state.applied:
        raise Unavailable(f"not every worker serves generation {state.generation} of {state.model} yet")
    return state
