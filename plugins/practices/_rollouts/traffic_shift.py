"""Base class of operators that move traffic: recorded first, under a lease, and read back."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from pipelines.ledger.required_evidence import analysis_stage_name
from pipelines.messages.rollout import RolloutState, RolloutTicket
from pipelines.verdict import Verdict
from practices._rollouts.next_steps import named_next_steps
from practices._rollouts.operator import RolloutPractice
from practices._rollouts.recorded_evidence import missing_evidence
from practices._rollouts.rollout import Rollout


class TrafficShift(RolloutPractice):
    """Base class of operators that give the candidate a share of the traffic; the champion keeps the rest.

    A candidate gets no traffic unless, by the ledger, it passed every stage that precedes this share.
    """

    def planned_share(self, rollout: Rollout) -> int:
        """Basis points of the traffic for the candidate."""
        raise NotImplementedError

    def judge(self, ticket: RolloutTicket, state: RolloutState, share: int, missing: list[str]) -> Verdict:
        """Ask the rule of this practice; ``missing`` names the stages that have not passed."""
        raise NotImplementedError

    def execute(self, context: Context) -> dict[str, Any]:
        rollout = self.open_rollout(context)
        if (passed := self.pass_without_rollout(rollout.ticket)) is not None:
            return passed
        share, state = self.planned_share(rollout), self.resume_if_paused(rollout, context)
        if rollout.share(state) == share:
            return self.trivial_pass(
                f"version {rollout.ticket.version} has {share} basis points already", step=state.step
            )
        missing = missing_evidence(rollout.ticket, rollout.spec, rollout.ports, analysis_stage_name(share))
        verdict = self.record(self.judge(rollout.ticket, state, share, missing), rollout, context, share=share)
        rollout.renew_lease(state, rollout.spec.deployment.lease)
        with named_next_steps(rollout):
            rollout.set_traffic(share)
        return verdict
