"""The registry's aliases are a projection of what the endpoint serves: they move after traffic, never before."""

from __future__ import annotations

from pipelines.messages.release import LiveState
from pipelines.ports import Registry


def move_aliases(registry: Registry, state: LiveState) -> None:
    """Point ``previous`` and then ``champion`` at what is served. Doing it again changes nothing.

    ``champion`` moves last: as long as it differs from what is live, the registry is known to lag behind.
    """
    registry.move_alias(state.model, "previous", state.previous)
    registry.move_alias(state.model, "champion", state.version)
