"""Tests the rollback with a version that was live before, and writes to the ledger how long it took."""

from __future__ import annotations

import hashlib
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Refused
from pipelines.messages.rollback_drill import DrillRequest, DrillResult
from pipelines.messages.rollout import RolloutState
from pipelines.ports import Ports
from pipelines.rollout.rollback_plan import ACTIVE_PHASES, DRILL_PREFIX
from pipelines.rules.rollback_drill import DrillCandidate, blocking_reason, choose_candidate, judge_drill
from pipelines.spec.runner import StageRunner
from practices._connections import installation
from practices._operators import defaults, run_context, step_runner
from practices._operators.model import ModelPractice
from practices._operators.record_verdict import record_verdict

DRILL_HEADER = "x-airworthy-drill"
LEASE_SECONDS = 30.0
"""Lease of a drill: the target rolls back a drill whose task was killed after that time."""
DRILL_BASIS_POINTS = 1
"""The smallest share with which the segment rule for the drill's requests applies."""


class RollbackDrill(ModelPractice):
    """Begin a rollout of an earlier version, roll it back, and time the rollback by answers of the public listener.

    The version was approved and live before and was not rolled back. It gets one ten-thousandth of the traffic for a
    second or two, and the drill's own requests by a segment rule. Skipped without such a version or during a
    deployment. Fails if the rollback took longer than ``deployment.rollback.max_seconds``, if a request got no answer,
    or if that version cannot be loaded any more. The verdict is a ledger line (kind ``rollback_drill``). Returns the
    ``DrillResult``.
    """

    ui_color = "#f4cccc"

    def execute(self, context: Context) -> dict[str, Any]:
        ports = installation.open_ports()
        state = ports.target(self.model).rollout(self.model)
        deploying = context["ti"].get_dr_count(dag_id=f"{self.model}__deploy", states=defaults.UNFINISHED_STATES)
        candidate = choose_candidate(state.champion, state.previous, ports.ledger.entries(self.model))
        reason = blocking_reason(state, deploying)
        if reason or candidate is None:
            raise AirflowSkipException(f"no drill: {reason or f'no version before {state.champion} can be used'}")
        result, faults = self._run_drill(state, candidate, ports, context)
        record_verdict(
            judge_drill(result, ports.catalog.model(self.model).deployment.rollback.max_seconds, faults),
            subject=f"the rollback drill of {self.model} with version {candidate.version}",
            ledger_kind="rollback_drill",
            model=self.model,
            version=state.champion,
            ports=ports,
            context=context,
            details={"stand_in": candidate.version, "target": ports.catalog.model(self.model).deployment.target.kind},
        )
        return {} if result is None else result.model_dump(mode="json", by_alias=True)

    def _run_drill(
        self, state: RolloutState, candidate: DrillCandidate, ports: Ports, context: Context
    ) -> tuple[DrillResult | None, list[str]]:
        """The measured result, or None and why the candidate could not be prepared. Always ends the rollout."""
        target, drill_key = ports.target(self.model), run_context.action_key(context, str(context["ti"].try_number))
        rollout_id = f"{DRILL_PREFIX}{hashlib.sha256(drill_key.encode()).hexdigest()[:16]}"
        if state.phase in ACTIVE_PHASES and state.rollout_id:  # a drill whose task was killed
            state = target.roll_back(self.model, state.rollout_id, "broken off", key=f"{state.rollout_id}/broken_off")
        plan = self._plan(rollout_id, ports)
        ids = {"model": self.model, "rollout_id": rollout_id}
        state = target.create_rollout(**ids, plan=plan, expect=state.generation, key=f"{rollout_id}/create")
        try:
            bundle = {"version": candidate.version, "bundle": candidate.bundle, "sha256": candidate.sha256}
            state = target.prepare(**ids, **bundle, expect=state.generation, key=f"{rollout_id}/prepare")
            split = {state.champion: 10_000 - DRILL_BASIS_POINTS, candidate.version: DRILL_BASIS_POINTS}
            target.set_traffic(**ids, split=split, expect=state.generation, key=f"{rollout_id}/traffic")
            arguments = {"candidate": candidate.version, "bundle": candidate.bundle, "header": DRILL_HEADER}
            request = DrillRequest.model_validate({**ids, **arguments, "reason": "a drill"})
            return step_runner.run_step("time_rollback", request, DrillResult, runner=StageRunner(on="process")), []
        except Refused as error:
            return None, [str(error.subject), *error.reasons]
        finally:
            if target.rollout(self.model).rollout_id != rollout_id:
                raise AirflowSkipException("a deployment superseded the drill; the next drill runs on schedule")
            target.roll_back(**ids, reason="the drill is over", key=f"{rollout_id}/end")

    def _plan(self, rollout_id: str, ports: Ports) -> dict[str, Any]:
        """Plan of a canary whose candidate answers requests with the drill's header."""
        declared = ports.catalog.model(self.model).deployment
        return {
            "strategy": "canary",
            "lease_seconds": LEASE_SECONDS,
            "guard": {"max_error_rate": declared.error_threshold},
            "routing": {
                "key": "request_id",
                "segments": [{"header": DRILL_HEADER, "equals": rollout_id, "arm": "candidate"}],
            },
            "deadline_ms": declared.routing.deadline_ms,
        }
