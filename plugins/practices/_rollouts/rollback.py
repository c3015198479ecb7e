"""Moves traffic back at a target, or finds the rollback that was made before, and says which version answers next."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from pipelines.errors import Refused
from pipelines.ledger.version_state import live_version, read_versions
from pipelines.messages.rollout import RolloutState
from pipelines.ports import DeploymentTarget, LedgerEntry, Ports
from pipelines.rollout.rollback_plan import PlannedRollback, rollback_reason
from pipelines.rules.release_rollback import earlier_rollback, plan_rollback
from pipelines.spec.strategy import FULL_SHARE
from pipelines.versions.reading import earlier_rollbacks
from pipelines.versions.records import measured_traffic
from practices._operators import run_context

log = logging.getLogger(__name__)


class MadeRollback(NamedTuple):
    """A rollback that has moved the traffic: the basis points of the version taken back, and its ledger line if any."""

    planned: PlannedRollback
    traffic: int | None
    line: LedgerEntry | None = None


def announce(before: RolloutState, ports: Ports) -> list[str]:
    """Log what a rollback does now, and every time that the version which answers next was itself taken back."""
    planned = plan_rollback(before)
    assert planned is not None, "the rule passed"
    log.info("%s: %s", before.model, planned)
    warnings = earlier_rollbacks(ports, before.model, planned.to)
    for warning in warnings:
        log.warning("%s", warning)
    return [str(planned), *warnings]


def move_traffic_back(target: DeploymentTarget, before: RolloutState, reason: str, key: str) -> MadeRollback:
    """Move the traffic. ``Refused`` if an earlier try of this run moved it and it was moved again since."""
    planned = plan_rollback(before)
    assert planned is not None, "the rule passed"
    signed_reason = rollback_reason(reason, planned.takes, key)
    done = MadeRollback(planned, before.split.get(planned.takes or "", 0))
    if planned.rollout_id is not None:
        ended = target.roll_back(before.model, planned.rollout_id, signed_reason, key=f"{key}/{planned.rollout_id}")
        if ended.phase != "ROLLED_BACK":
            state = f"rollout {planned.rollout_id} of {before.model} is now {ended.phase}"
            raise Refused(f"{state} and was not rolled back", ["trigger the DAG again"])
        return done
    target.restore_previous(before.model, key=key, reason=signed_reason)
    if target.state(before.model).version == planned.takes:
        reason = "it was released after an earlier try of this run moved traffic; trigger the DAG again to roll it back"
        raise Refused(f"version {planned.takes} of {before.model} is live again", [reason])
    return done


def rollback_by_earlier_try(target: DeploymentTarget, state: RolloutState, key: str) -> MadeRollback | None:
    """The rollback that an interrupted try of this run has made, as the target's record says; None if there is none."""
    planned = earlier_rollback(state, key)
    if planned is None:
        return None
    return MadeRollback(planned, measured_traffic(target, state.model, str(planned.rollout_id), planned.takes))


def rollback_made_elsewhere(state: RolloutState, ports: Ports, context: Any) -> MadeRollback | None:
    """The rollback after which the target has no previous version, while ledger or registry still name the live one.

    It was made by the command, by a call of the gateway, or by a try of this run; None if there was none.
    """
    lines = ports.ledger.entries(state.model)
    rollbacks = [line for line in lines if line.kind == "rollback"]
    for line in rollbacks:
        if line.details.get("run") == run_context.action_key(context):
            return MadeRollback(PlannedRollback(line.details["from"], state.champion), None, line)
    recorded, champion = live_version(read_versions(lines)), ports.registry.by_alias(state.model, "champion")
    former = recorded if recorded not in (None, state.champion) else champion.version if champion else None
    if former in (None, state.champion) or state.previous is not None:
        return None
    written = [line for line in rollbacks if (line.details.get("from"), recorded) == (former, state.champion)]
    return MadeRollback(PlannedRollback(former, state.champion), FULL_SHARE, written[-1] if written else None)
