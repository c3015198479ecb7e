"""Rolls back, holds or unmirrors rollouts whose lease is over, at targets that do not look after leases themselves."""

from __future__ import annotations

from airflow.sdk import Context

from pipelines.errors import AirworthyError, Conflict, Refused, Unavailable
from pipelines.messages.rollout import RolloutState
from pipelines.ports import Ports
from pipelines.rules.lease_reaper import LeaseDecision, WatchedRollout, judge_lease
from pipelines.rules.release_rollback import ACTIVE_PHASES
from pipelines.spec.model import ModelSpec
from practices._connections import installation
from practices._operators import run_context
from practices._operators.dry_run import DryRunPractice

GUARDED = ("embedded",)
"""Targets that look after leases themselves, every second."""
RUNNING = ["queued", "running"]
OVER = "its lease ended at "
"""So begins the reason of a rollout whose lease was dealt with, by the target or by this practice."""


class LeaseReaper(DryRunPractice):
    """Deal with the rollouts of all models whose lease is over; tell of those that nobody seems to look after.

    Each lease that was over is a line of the ledger (kind ``lease_expired``), written after the traffic has moved,
    whoever moved it. Targets with a guard of their own are only told of. ``only_tell`` changes nothing anywhere. A
    target that does not answer keeps no other from being looked at; the task is tried again for it. Returns models by
    what became of their rollout.
    """

    def execute(self, context: Context) -> dict[str, list[str]]:
        ports = installation.open_ports()
        found: dict[str, list[str]] = {}
        silent = []
        for spec in ports.catalog.models.values():
            if not spec.deployment.staged:
                continue
            try:
                act = self._look(spec, ports, context)
            except Unavailable as error:
                silent.append(f"{spec.model}: {error}")
                continue
            found.setdefault(act, []).append(spec.model)
        self.log.info("%s", found)
        if silent:
            raise Unavailable("these targets do not answer; " + "; ".join(silent))
        return found

    def _look(self, spec: ModelSpec, ports: Ports, context: Context) -> str:
        """Judge one model's rollout and act; returns what became of it."""
        try:
            state = ports.target(spec.model).rollout(spec.model)
        except Refused as error:  # nothing is live yet
            self.log.info("%s: %s", spec.model, error)
            return "none"
        if not self.tells_only and state.reason.startswith(OVER):
            self._record(state, ports, context)  # the target's own doing, or an earlier try's
        if state.phase not in ACTIVE_PHASES:
            return "none"
        decision = judge_lease(watched(state, spec, ports, context), ports.clock())
        said = f"{spec.model}: rollout {state.rollout_id} ({state.phase}): {decision.reason}"
        if decision.action in ("keep", "report") or self.tells_only:
            self.log.log(20 if decision.action == "keep" else 30, "%s", said)
            return decision.action
        try:
            end(state, decision, ports)
        except Conflict as error:
            self.log.info("%s; somebody was faster: %s", said, error)
            return "keep"
        self._record(ports.target(spec.model).rollout(spec.model), ports, context)
        self.log.warning("%s: %s", decision.action, said)
        return decision.action

    def _record(self, state: RolloutState, ports: Ports, context: Context) -> None:
        """One line per lease that was over, whoever dealt with it."""
        details = {"rollout_id": state.rollout_id, "phase": state.phase, "reason": state.reason, "split": state.split}
        key = f"lease_expired/{state.rollout_id}/{state.lease_until}"
        actor = run_context.actor(context, ports.settings.actor)
        ports.ledger.append("lease_expired", state.model, state.champion, details, actor=actor, key=key)


def watched(state: RolloutState, spec: ModelSpec, ports: Ports, context: Context) -> WatchedRollout:
    """The rollout with the run that it belongs to, by the ledger and by Airflow."""
    declared, run = spec.deployment, None
    try:
        lines = ports.ledger.entries(spec.model)
    except AirworthyError:  # the lease matters more than the name of the run
        lines = []
    for line in lines:
        if line.details.get("rollout_id") == state.rollout_id and (line.key or "").startswith(f"{spec.model}__"):
            run = "/".join(str(line.key).split("/")[:2])
    dag_id, _, run_id = (run or "").partition("/")
    goes_on = bool(run and context["ti"].get_dr_count(dag_id=dag_id, run_ids=[run_id], states=RUNNING))
    guarded = declared.target.kind in GUARDED
    return WatchedRollout(state=state, strategy=declared.strategy, guarded=guarded, run=run, run_is_active=goes_on)


def end(state: RolloutState, decision: LeaseDecision, ports: Ports) -> None:
    """Do at the target what was decided."""
    target, named = ports.target(state.model), {"model": state.model, "rollout_id": str(state.rollout_id)}
    key = f"{state.rollout_id}/lease/{state.generation}"
    if decision.action == "rollback":
        target.roll_back(**named, reason=decision.reason, key=key)
        return
    if decision.action == "stop_mirror" and state.mirror is not None:
        state = target.set_mirror(**named, version=None, basis_points=0, expect=state.generation, key=f"{key}/mirror")
    target.pause(**named, reason=decision.reason, expect=state.generation, key=key)
