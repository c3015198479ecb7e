"""Tells the messages of a Kubernetes node that tries again by itself from those of one that gave up."""

from __future__ import annotations

TRANSIENT_HINTS = (
    "timed out", "i/o timeout", "deadline exceeded", "failed to sync", "connection refused", "connection reset",
    "too many requests", "failed to reserve", "transport is closing",
)  # fmt: skip
"""Messages of a node that could not reach the API server or its container runtime in time; it tries again by itself."""


def is_transient(message: str | None) -> bool:
    """Whether a container that the node could not start may start at the node's next attempt."""
    return any(hint in (message or "").lower() for hint in TRANSIENT_HINTS)
