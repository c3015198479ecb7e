"""Builds the ``RolloutState`` and the ``LiveState`` that tasks read from what any target records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.messages.release import LiveState
from pipelines.messages.rollout import RolloutState
from pipelines.rollout.transitions import Route

ROLLOUT_FIELDS = ("rollout_id", "phase", "step", "step_started", "lease_until", "reason", "probe")


def make_rollout_state(
    model: str, route: Route, split: Mapping[str, int], *, generation: int, workers: int, applied: bool = True
) -> RolloutState:
    """Roles and phase as recorded; ``split``: basis points by version, as the target splits the traffic."""
    record, mirror = route.rollout, route.mirror
    recorded: dict[str, Any] = {field: getattr(record, field) for field in ROLLOUT_FIELDS} if record is not None else {}
    return RolloutState(
        model=model,
        generation=generation,
        champion=route.live.version,
        candidate=route.candidate.version if route.candidate else None,
        previous=route.previous.version if route.previous else None,
        split=dict(split),
        mirror=mirror.version if mirror else None,
        mirror_basis_points=mirror.basis_points if mirror else 0,
        workers=workers,
        applied=applied,
        **recorded,
    )


def make_live_state(model: str, route: Route, *, generation: int, workers: int, applied: bool = True) -> LiveState:
    """The live version and the version that can be restored, as recorded."""
    return LiveState(
        model=model,
        version=route.live.version,
        previous=route.previous.version if route.previous else None,
        generation=generation,
        bundle_sha256=route.live.sha256,
        workers=workers,
        applied=applied,
    )
