"""What a rollback does to the versions that a model serves: which one loses its traffic, and which one answers next.

Plain values in and out, so that rules, commands and the gateway decide it alike.
"""

from __future__ import annotations

from dataclasses import dataclass

ACTIVE_PHASES = frozenset({"PENDING", "READY", "SHADOWING", "BAKING", "PAUSED"})
"""Phases in which a candidate may get requests and can be rolled back."""
DRILL_PREFIX = "drill-"
"""Prefix of the ids of drills' rollouts, which a real deployment may supersede."""


@dataclass(frozen=True)
class PlannedRollback:
    """``takes``: the version that loses its traffic, None for a rollout without a candidate yet; ``to``: the version
    that gets it; ``rollout_id``: the rollout that ends, None if the previous version is restored without a rollout."""

    takes: str | None
    to: str
    rollout_id: str | None = None

    def __str__(self) -> str:
        lost = f"version {self.takes} loses its traffic" if self.takes else f"rollout {self.rollout_id} ends"
        return f"{lost}, version {self.to} answers next"


def plan(
    *, champion: str, candidate: str | None, previous: str | None, phase: str | None, rollout_id: str | None
) -> PlannedRollback | None:
    """What a rollback would do now; None if there is no version to roll back to.

    An active rollout loses its candidate; a promotion that is not finished is reverted to the former champion;
    otherwise the previous version is restored.
    """
    if phase in ACTIVE_PHASES:
        return PlannedRollback(takes=candidate, to=champion, rollout_id=rollout_id)
    if previous is None:
        return None
    return PlannedRollback(takes=champion, to=previous, rollout_id=rollout_id if phase == "FINALISING" else None)


def version_fault(planned: PlannedRollback, version: str) -> str | None:
    """Why a rollback of just this version would be another one; None if it is the version that loses its traffic."""
    if version == planned.takes:
        return None
    if version == planned.to:
        return f"version {version} is the one that a rollback would restore; leave the field empty"
    return f"version {version} has no traffic; name version {planned.takes} to roll it back"


def rollback_reason(reason: str, version: str | None, actor: str) -> str:
    """The reason as stored by the target, with the version that was rolled back and the person or run that did it."""
    return f"{reason} (version {version or 'none'} taken back by {actor})"
