"""A candidate that nobody hears yet answers what the champion is asked; it goes on only if it was shown to agree."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from pipelines.comparison_messages import ShadowMeasure, ShadowRequest
from pipelines.ports import Ports
from pipelines.rollout_messages import RolloutState, RolloutTicket
from pipelines.rules.shadow_comparison import RULE, goes_on, judge_shadow, longest
from pipelines.spec.deployment import Deployment
from pipelines.spec.strategy import WHOLE, Shadow
from pipelines.verdict import Outcome, Verdict
from practices import _hooks, _runner
from practices._comparison_practice import HERE, ComparisonPractice, changed
from practices._settle import settle

KIND = "rollout_verdict"


class ShadowComparison(ComparisonPractice):
    """Mirror requests to the candidate for the declared time, weigh its answers against the champion's, and decide.

    Nobody gets the candidate's answers. The clock is the target's record, so a task that is tried again goes on where
    it was. Disagreement, bad answers and, where labels are known, being wrong more often are tested sequentially: any
    number of looks is allowed. A limit shown to be broken rolls back first; what is not shown within ``max_duration``
    is refused. Returns the ``ShadowMeasure`` with the URIs of its report.
    """

    ui_color = "#d9d2e9"

    def look(self, context: Context, ticket: RolloutTicket, blind: int) -> dict[str, Any]:
        ports = _hooks.open_ports()
        declared = ports.catalog.model(self.model).deployment
        shadow = declared.shadows or Shadow()
        if before := passed_before(ports, ticket, context):
            return self._leave(ports, ticket, declared, before)
        state = self._mirror(ports, ticket, shadow)
        found = self._measure(ports, ticket, state, report=False)
        verdict = judge_shadow(found, declared)
        blind = blind + 1 if found.errors else 0
        if goes_on(verdict, found.elapsed, shadow) and blind < declared.analysis.consecutive_errors:
            self.log.info("after %.0f s: %s", found.elapsed, verdict)
            self.wait(ports, state, declared, longest(shadow), blind)
        found = self._measure(ports, ticket, state, report=True)
        verdict = judge_shadow(found, declared)
        result = found.model_dump(mode="json", by_alias=True)
        self._settle(ports, ticket, verdict, context)
        return self._leave(ports, ticket, declared, result)

    def _mirror(self, ports: Ports, ticket: RolloutTicket, shadow: Shadow) -> RolloutState:
        """The state with the mirror set; the record says since when."""
        target, share = ports.target(self.model), round(shadow.sample_rate * WHOLE)
        return changed(
            target,
            ticket,
            lambda state: state.mirror == ticket.version,
            lambda state: target.set_mirror(
                self.model,
                ticket.rollout_id,
                ticket.version,
                share,
                expect=state.generation,
                key=f"{ticket.rollout_id}/mirror/{state.step}",
            ),
        )

    def _measure(self, ports: Ports, ticket: RolloutTicket, state: RolloutState, *, report: bool) -> ShadowMeasure:
        counts, now = ports.target(self.model).counts(self.model, ticket.rollout_id), ports.clock()
        request = ShadowRequest(
            model=self.model,
            champion=state.champion,
            version=ticket.version,
            rollout_id=ticket.rollout_id,
            started=state.step_started or now,
            now=now,
            arms=[arm for arm in counts if arm.role == "shadow" and arm.version == ticket.version],
            report=report,
        )
        return _runner.run_step("measure_shadow", request, ShadowMeasure, runner=HERE)

    def _settle(self, ports: Ports, ticket: RolloutTicket, verdict: Verdict, context: Context) -> None:
        """Take a candidate back that failed, then put the verdict on record and act by it."""
        context["ti"].xcom_push(key="reasons", value=list(verdict.reasons))
        if verdict.outcome is Outcome.FAIL:
            reason, key = f"{RULE}: {'; '.join(verdict.reasons)}", f"{ticket.rollout_id}/rollback/{RULE}"
            ports.target(self.model).roll_back(self.model, ticket.rollout_id, reason, key=key)
        settle(
            verdict,
            subject=f"the comparison of {self.model} version {ticket.version} in the shadow",
            ledger_kind=KIND,
            model=self.model,
            version=ticket.version,
            ports=ports,
            context=context,
            on_fail="fail",
            details=_named(ticket, context),
        )

    def _leave(
        self, ports: Ports, ticket: RolloutTicket, declared: Deployment, result: dict[str, Any]
    ) -> dict[str, Any]:
        """Stop the mirror, and let the candidate live at 0 % for as long as people may take to approve it."""
        target, approval = ports.target(self.model), declared.approval
        state = changed(
            target,
            ticket,
            lambda state: state.mirror is None,
            lambda state: target.set_mirror(
                self.model,
                ticket.rollout_id,
                None,
                0,
                expect=state.generation,
                key=f"{ticket.rollout_id}/mirror/{state.step}/stop",
            ),
        )
        if not state.split.get(ticket.version):
            seconds = declared.lease + (approval.timeout if approval.requires_approval else 0)
            key = f"{ticket.rollout_id}/lease/{RULE}/{ports.clock().timestamp():.0f}"
            target.renew_lease(self.model, ticket.rollout_id, seconds, expect=state.generation, key=key)
        return result


def passed_before(ports: Ports, ticket: RolloutTicket, context: Context) -> dict[str, Any] | None:
    """What an earlier try of this task measured when it passed; None if there was none."""
    named = _named(ticket, context)
    for line in ports.ledger.entries(model=ticket.model, version=ticket.version, kind=KIND):
        said = line.details
        if said.get("rule") == RULE and said["outcome"] == Outcome.PASS and named.items() <= said.items():
            facts = {name: said["facts"][name] for name in ShadowMeasure.model_fields if name in said["facts"]}
            return ShadowMeasure(model=ticket.model, **facts).model_dump(mode="json", by_alias=True)
    return None


def _named(ticket: RolloutTicket, context: Context) -> dict[str, Any]:
    return {"rollout_id": ticket.rollout_id, "cleared": getattr(context["dag_run"], "clear_number", 0) or 0}
