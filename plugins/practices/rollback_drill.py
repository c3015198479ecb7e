"""Tries the rollback on a version that was live before, and writes to the ledger how long it took."""

from __future__ import annotations

import hashlib
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Refused
from pipelines.messages.rollback_drill import DrillRequest, DrillResult
from pipelines.messages.rollout import RolloutState
from pipelines.ports import Ports
from pipelines.rules.release_rollback import ACTIVE_PHASES
from pipelines.rules.rollback_drill import DRILL_PREFIX, DrillCandidate, blocking_reason, choose_candidate, judge_drill
from pipelines.spec.runner import StageRunner
from practices._connections import installation
from practices._operators import run_context, step_runner
from practices._operators.model import ModelPractice
from practices._operators.record_verdict import settle

HEADER = "x-airworthy-drill"
LEASE_SECONDS = 30.0
"""A drill whose task is killed is taken back by the target after so long."""
SHARE = 1
"""Basis points: the least that puts the segment rule of the drill's own requests into force."""
RUNNING = ["queued", "running"]


class RollbackDrill(ModelPractice):
    """Begin a harmless rollout of the version before, take it back, and time it by answers of the public listener.

    The version was approved and live before and was not taken back. It gets one ten-thousandth of the traffic for a
    second or two, and the drill's own requests by a segment rule. Skipped when no version is there to stand in, or a
    deployment goes on. Red when the rollback took longer than ``deployment.rollback.max_seconds``, when a request
    went unanswered, or when that version cannot be loaded any more. The verdict with its figures is a line of the
    ledger (kind ``rollback_drill``). Returns the ``DrillResult``.
    """

    ui_color = "#f4cccc"

    def execute(self, context: Context) -> dict[str, Any]:
        ports = installation.open_ports()
        state = ports.target(self.model).rollout(self.model)
        deploying = context["ti"].get_dr_count(dag_id=f"{self.model}__deploy", states=RUNNING)
        stand = choose_candidate(state.champion, state.previous, ports.ledger.entries(self.model))
        reason = blocking_reason(state, deploying)
        if reason or stand is None:
            raise AirflowSkipException(f"no drill: {reason or f'no version before {state.champion} could stand in'}")
        result, faults = self._hold(state, stand, ports, context)
        settle(
            judge_drill(result, ports.catalog.model(self.model).deployment.rollback.max_seconds, faults),
            subject=f"the rollback drill of {self.model} with version {stand.version}",
            ledger_kind="rollback_drill",
            model=self.model,
            version=state.champion,
            ports=ports,
            context=context,
            details={"stand_in": stand.version, "target": ports.catalog.model(self.model).deployment.target.kind},
        )
        return {} if result is None else result.model_dump(mode="json", by_alias=True)

    def _hold(
        self, state: RolloutState, stand: DrillCandidate, ports: Ports, context: Context
    ) -> tuple[DrillResult | None, list[str]]:
        """What was measured; or None and why the stand-in could not even be prepared. Ends the rollout anyway."""
        target, act = ports.target(self.model), run_context.act_key(context, str(context["ti"].try_number))
        rollout_id = f"{DRILL_PREFIX}{hashlib.sha256(act.encode()).hexdigest()[:16]}"
        if state.phase in ACTIVE_PHASES and state.rollout_id:  # a drill of which the task was killed
            state = target.roll_back(self.model, state.rollout_id, "broken off", key=f"{state.rollout_id}/broken_off")
        plan = self._plan(rollout_id, ports)
        asked = {"model": self.model, "rollout_id": rollout_id}
        state = target.create_rollout(**asked, plan=plan, expect=state.generation, key=f"{rollout_id}/create")
        try:
            named = {"version": stand.version, "bundle": stand.bundle, "sha256": stand.sha256}
            state = target.prepare(**asked, **named, expect=state.generation, key=f"{rollout_id}/prepare")
            split = {state.champion: 10_000 - SHARE, stand.version: SHARE}
            target.set_traffic(**asked, split=split, expect=state.generation, key=f"{rollout_id}/traffic")
            who = {"candidate": stand.version, "bundle": stand.bundle, "header": HEADER}
            request = DrillRequest.model_validate({**asked, **who, "reason": "a drill"})
            return step_runner.run_step("time_rollback", request, DrillResult, runner=StageRunner(on="process")), []
        except Refused as error:
            return None, [str(error.subject), *error.reasons]
        finally:
            if target.rollout(self.model).rollout_id != rollout_id:
                raise AirflowSkipException("a deployment took the drill's place; the next one is held in its time")
            target.roll_back(**asked, reason="the drill is over", key=f"{rollout_id}/end")

    def _plan(self, rollout_id: str, ports: Ports) -> dict[str, Any]:
        """A canary of callers who carry the drill's header."""
        declared = ports.catalog.model(self.model).deployment
        return {
            "strategy": "canary",
            "lease_seconds": LEASE_SECONDS,
            "guard": {"max_error_rate": declared.error_threshold},
            "routing": {
                "key": "request_id",
                "segments": [{"header": HEADER, "equals": rollout_id, "arm": "candidate"}],
            },
            "deadline_ms": declared.routing.deadline_ms,
        }
