"""Handles rollouts whose lease has expired at targets that have no guard: rolls back, holds, or stops the mirror."""

from __future__ import annotations

from airflow.sdk import Context

from pipelines.errors import AirworthyError, Conflict, Refused, Unavailable
from pipelines.messages.rollout import RolloutState
from pipelines.ports import Ports
from pipelines.rollout.rollback_plan import ACTIVE_PHASES
from pipelines.rules.lease_reaper import LeaseDecision, WatchedRollout, judge_lease
from pipelines.spec.model import ModelSpec
from practices._connections import installation
from practices._operators import defaults
from practices._operators.dry_run import DryRunPractice
from practices._rollouts.unattended_ends import record_expiry, record_rollback

EXPIRED_PREFIX = "its lease ended at "
"""Prefix of the reason of a rollout that ended by its lease, by the target or by this operator."""


class LeaseReaper(DryRunPractice):
    """Handle the rollouts of all models whose lease has expired; report those that are held or whose run is gone.

    Each expired lease is a ledger line (kind ``lease_expired``), written after the traffic has moved, also if the
    target moved it. So is a rollback that the target made after its deploy run had ended (kind ``rollback``). Rollouts
    at targets with a guard of their own are only reported. ``report_only`` changes nothing. A target that does not
    answer does not stop the check of the others; the task is then retried. Returns models by action.
    """

    def execute(self, context: Context) -> dict[str, list[str]]:
        ports = installation.open_ports()
        models_by_action: dict[str, list[str]] = {}
        unreachable = []
        for spec in ports.catalog.models.values():
            try:
                action = self._check_model(spec, ports, context)
            except Unavailable as error:
                unreachable.append(f"{spec.model}: {error}")
                continue
            models_by_action.setdefault(action, []).append(spec.model)
        self.log.info("%s", models_by_action)
        if unreachable:
            raise Unavailable("these targets do not answer: " + "; ".join(unreachable))
        return models_by_action

    def _check_model(self, spec: ModelSpec, ports: Ports, context: Context) -> str:
        """Judge one model's rollout and act; returns the action."""
        try:
            state = ports.target(spec.model).rollout(spec.model)
        except Refused as error:  # nothing is live yet
            self.log.info("%s: %s", spec.model, error)
            return "none"
        if not self.is_report_only and state.reason.startswith(EXPIRED_PREFIX):
            record_expiry(state, None, ports, context)  # ended by the target or by an earlier try
        elif self._is_unrecorded_end(state, spec, ports, context):
            record_rollback(state, ports, context)
        if state.phase not in ACTIVE_PHASES:
            return "none"
        decision = judge_lease(watched_rollout(state, spec, ports, context), ports.clock())
        message = f"{spec.model}: rollout {state.rollout_id} ({state.phase}): {decision.reason}"
        if decision.action in ("keep", "report") or self.is_report_only:
            self.log.log(20 if decision.action == "keep" else 30, "%s", message)
            return decision.action
        try:
            end_rollout(state, decision, ports)
        except Conflict as error:
            self.log.info("%s; another writer changed it first: %s", message, error)
            return "keep"
        record_expiry(ports.target(spec.model).rollout(spec.model), state, ports, context)
        self.log.warning("%s: %s", decision.action, message)
        return decision.action

    def _is_unrecorded_end(self, state: RolloutState, spec: ModelSpec, ports: Ports, context: Context) -> bool:
        """Whether the target has rolled this back and no deploy run is left to write it down."""
        if self.is_report_only or state.phase != "ROLLED_BACK":
            return False
        return not watched_rollout(state, spec, ports, context).run_is_active


def watched_rollout(state: RolloutState, spec: ModelSpec, ports: Ports, context: Context) -> WatchedRollout:
    """The rollout with its deploy run, by the ledger and Airflow."""
    declared, run = spec.deployment, None
    try:
        lines = ports.ledger.entries(spec.model)
    except AirworthyError:  # handling the lease matters more than the run's id
        lines = []
    for line in lines:
        if line.details.get("rollout_id") == state.rollout_id and (line.key or "").startswith(f"{spec.model}__"):
            run = "/".join(str(line.key).split("/")[:2])
    dag_id, _, run_id = (run or "").partition("/")
    is_running = bool(
        run and context["ti"].get_dr_count(dag_id=dag_id, run_ids=[run_id], states=defaults.UNFINISHED_STATES)
    )
    guarded = declared.guards_itself
    return WatchedRollout(state=state, strategy=declared.strategy, guarded=guarded, run=run, run_is_active=is_running)


def end_rollout(state: RolloutState, decision: LeaseDecision, ports: Ports) -> None:
    """Apply the decision at the target."""
    target, ids = ports.target(state.model), {"model": state.model, "rollout_id": str(state.rollout_id)}
    key = f"{state.rollout_id}/lease/{state.generation}"
    if decision.action == "rollback":
        target.roll_back(**ids, reason=decision.reason, key=key)
        return
    if decision.action == "stop_mirror" and state.mirror is not None:
        state = target.set_mirror(**ids, version=None, basis_points=0, expect=state.generation, key=f"{key}/mirror")
    target.pause(**ids, reason=decision.reason, expect=state.generation, key=key)
