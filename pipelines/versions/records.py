"""Writes what happened to a version: the ledger's line first, then the registry's status tags and aliases by it."""

from __future__ import annotations

import logging
from typing import Any, Literal

from pipelines.errors import AirworthyError, Refused
from pipelines.ledger.version_state import RECONCILIATION, read_versions
from pipelines.messages.release import LiveState
from pipelines.ports import LedgerEntry, Ports, RolloutTarget
from pipelines.versions.standing import STATUS_TAG, Difference, Standing, differences

log = logging.getLogger(__name__)


def append_rollback(
    ports: Ports,
    model: str,
    *,
    taken_back: str | None,
    put_back: str | None,
    reason: str,
    traffic: int | None,
    actor: str,
    key: str,
    kind: Literal["rollback", "rollout_end"] = "rollback",
    **details: Any,
) -> LedgerEntry:
    """Write the line of a rollback: which version was taken back, which one answers now, who and why.

    ``taken_back`` is None for a rollout that had no candidate yet; ``traffic``: the basis points that it had, None if
    only earlier lines can tell. ``kind`` is ``rollout_end`` if nothing spoke against it.
    """
    named = {"from": taken_back, "to": put_back, "reason": reason, "traffic": traffic}
    return ports.ledger.append(kind, model, taken_back, {**named, **details}, actor=actor, key=key)


def measured_traffic(target: RolloutTarget, model: str, rollout_id: str, version: str | None) -> int | None:
    """The largest share, in basis points, at which callers met a version in its rollout; None: nobody counts them."""
    try:
        arms = target.counts(model, rollout_id)
    except AirworthyError as error:
        log.warning("how many callers met version %s in rollout %s is not known: %s", version, rollout_id, error)
        return None
    met = [arm.share for arm in arms if arm.version == version and arm.role != "shadow" and arm.requests]
    return max(met, default=0) if arms else None


def update_status(ports: Ports, line: LedgerEntry) -> None:
    """Set the status tag of every version whose state this line, or one after it, has changed."""
    for known in read_versions(ports.ledger.entries(line.model)).values():
        if known.line >= line.number:
            _set_status(ports, line.model, known.version, known.state.value)


def update_aliases(ports: Ports, state: LiveState) -> None:
    """Point ``previous`` and then ``champion`` at the served versions; idempotent.

    Called after traffic has moved, never before. ``champion`` moves last: while it differs from the live version, the
    registry is known to lag behind. An alias whose version was deleted from the registry is removed.
    """
    for alias, version in (("previous", state.previous), ("champion", state.version)):
        try:
            ports.registry.move_alias(state.model, alias, version)
        except Refused as error:
            log.warning(
                "the alias %s of %s is removed, it cannot name version %s: %s", alias, state.model, version, error
            )
            ports.registry.move_alias(state.model, alias, None)


def update_registry(ports: Ports, line: LedgerEntry, state: LiveState) -> None:
    """Let status tags and aliases follow what a line says of versions, once the target serves ``state``."""
    update_status(ports, line)
    update_aliases(ports, state)


def put_right(ports: Ports, standing: Standing, *, by: str) -> list[Difference]:
    """Write what differs from the target to the ledger, in one line, and then to the registry; returns what that was.

    Only what can be put right is changed, and the line names what remains; without such differences nothing is written.
    """
    existing = differences(standing)
    changes = [difference for difference in existing if difference.repairable]
    if not changes:
        return []
    text = "; ".join(
        f"{change.what}: {change.recorded or 'missing'} became {change.right or 'none'}" for change in changes
    )
    details: dict[str, Any] = {"reason": text, "changes": [change.model_dump() for change in changes]}
    details |= {"target": standing.target.model_dump()} if standing.target else {}
    details |= (
        {"remaining": remaining} if (remaining := [each.text for each in existing if not each.repairable]) else {}
    )
    ports.ledger.append(RECONCILIATION, standing.model, None, details, actor=by)
    for known in read_versions(ports.ledger.entries(standing.model)).values():
        if (standing.status_tags or {}).get(known.version, known.state.value) != known.state.value:
            _set_status(ports, standing.model, known.version, known.state.value)
    if standing.target is not None and standing.aliases is not None:
        update_aliases(
            ports, LiveState(model=standing.model, version=standing.target.live, previous=standing.target.previous)
        )
    return changes


def _set_status(ports: Ports, model: str, version: str, status: str) -> None:
    try:
        ports.registry.set_tags(model, version, {STATUS_TAG: status})
    except Refused as error:
        log.warning("the registry does not show that version %s of %s is %s: %s", version, model, status, error)
