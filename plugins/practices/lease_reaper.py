"""Handles rollouts whose lease has expired at targets that have no guard: rolls back, holds, or stops the mirror."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from pipelines.errors import AirworthyError, Conflict, Refused, Unavailable
from pipelines.messages.rollout import RolloutState
from pipelines.ports import Ports
from pipelines.rollout.rollback_plan import ACTIVE_PHASES
from pipelines.rules.lease_reaper import LeaseDecision, WatchedRollout, judge_lease
from pipelines.spec.model import ModelSpec
from pipelines.versions.records import measured_traffic, update_status
from practices._connections import installation
from practices._operators import run_context
from practices._operators.dry_run import DryRunPractice

SELF_GUARDED_TARGETS = ("embedded",)
"""Kinds of targets that handle expired leases themselves, every second."""
UNFINISHED_STATES = ["queued", "running"]
EXPIRED_PREFIX = "its lease ended at "
"""Prefix of the reason of a rollout that ended by its lease, by the target or by this operator."""


class LeaseReaper(DryRunPractice):
    """Handle the rollouts of all models whose lease has expired; report those that are held or whose run is gone.

    Each expired lease is a ledger line (kind ``lease_expired``), written after the traffic has moved, also if the
    target moved it. Rollouts at targets with a guard of their own are only reported. ``report_only`` changes nothing.
    A target that does not answer does not stop the check of the others; the task is then retried. Returns models by
    action.
    """

    def execute(self, context: Context) -> dict[str, list[str]]:
        ports = installation.open_ports()
        models_by_action: dict[str, list[str]] = {}
        unreachable = []
        for spec in ports.catalog.models.values():
            if not spec.deployment.is_staged:
                continue
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
            self._record_expiry(state, None, ports, context)  # ended by the target or by an earlier try
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
        self._record_expiry(ports.target(spec.model).rollout(spec.model), state, ports, context)
        self.log.warning("%s: %s", decision.action, message)
        return decision.action

    def _record_expiry(self, state: RolloutState, before: RolloutState | None, ports: Ports, context: Context) -> None:
        """Write one line per expired lease; ``before``: the state that this task has ended, None if the target did."""
        rollout_id, traffic = str(state.rollout_id), None
        key = f"lease_expired/{rollout_id}/{state.lease_until}"
        if any(line.key == key for line in ports.ledger.entries(state.model, kind="lease_expired")):
            return
        if before is not None:
            candidate, traffic = before.candidate, before.split.get(before.candidate or "", 0)
        else:
            candidate = rollout_version(ports, state.model, rollout_id)
            traffic = measured_traffic(ports.target(state.model), state.model, rollout_id, candidate)
        details: dict[str, Any] = {"rollout_id": rollout_id, "phase": state.phase, "reason": state.reason}
        details |= {"split": state.split, "from": candidate, "to": state.champion, "traffic": traffic}
        actor = run_context.actor(context, ports.settings.actor)
        line = ports.ledger.append("lease_expired", state.model, candidate, details, actor=actor, key=key)
        update_status(ports, line)


def rollout_version(ports: Ports, model: str, rollout_id: str) -> str | None:
    """The candidate of a rollout, by the lines of its deploy run; None if it had none."""
    lines = ports.ledger.entries(model, kind="rollout")
    return next((line.version for line in lines if line.details.get("rollout_id") == rollout_id), None)


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
    is_running = bool(run and context["ti"].get_dr_count(dag_id=dag_id, run_ids=[run_id], states=UNFINISHED_STATES))
    guarded = declared.target.kind in SELF_GUARDED_TARGETS
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
