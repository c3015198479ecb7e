"""Records how a rollout ended that no task of its deploy run ended: by its lease, or by its target's guard."""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk import Context

from pipelines.ledger.version_state import ROLLBACK_KINDS
from pipelines.messages.rollout import RolloutState
from pipelines.ports import Ports
from pipelines.versions.records import append_rollback, measured_traffic, update_registry, update_status
from practices._operators import run_context

log = logging.getLogger(__name__)


def record_expiry(state: RolloutState, before: RolloutState | None, ports: Ports, context: Context) -> None:
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


def record_rollback(state: RolloutState, ports: Ports, context: Context) -> None:
    """Write the line of a rollback, and let the registry follow; nothing if it is written, or was no deployment's."""
    rollout_id = str(state.rollout_id)
    version = rollout_version(ports, state.model, rollout_id)
    lines = [line for line in ports.ledger.entries(state.model) if line.details.get("rollout_id") == rollout_id]
    if version is None or any(line.kind in ROLLBACK_KINDS for line in lines):
        return
    line = append_rollback(
        ports,
        state.model,
        taken_back=version,
        put_back=state.champion,
        reason=state.reason,
        traffic=measured_traffic(ports.target(state.model), state.model, rollout_id, version),
        actor=run_context.actor(context, ports.settings.actor),
        key=f"{rollout_id}/rollback",
        by="target",
        generation=state.generation,
        rollout_id=rollout_id,
    )
    update_registry(ports, line, ports.target(state.model).state(state.model))
    log.warning("%s: the rollback of version %s is recorded: %s", state.model, version, state.reason)


def rollout_version(ports: Ports, model: str, rollout_id: str) -> str | None:
    """The candidate of a rollout, by the lines of its deploy run; None if it had none."""
    lines = ports.ledger.entries(model, kind="rollout")
    return next((line.version for line in lines if line.details.get("rollout_id") == rollout_id), None)
