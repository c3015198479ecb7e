"""Moves the registry's aliases to what the target serves, after traffic has moved and never before."""

from __future__ import annotations

from pipelines.messages.release import LiveState
from pipelines.ports import Registry


def move_aliases(registry: Registry, state: LiveState) -> None:
    """Point ``previous`` and then ``champion`` at the served versions; idempotent.

    ``champion`` moves last: while it differs from the live version, the registry is known to lag behind.
    """
    registry.move_alias(state.model, "previous", state.previous)
    registry.move_alias(state.model, "champion", state.version)
