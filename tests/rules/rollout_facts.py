"""A ticket and a state of its rollout, for tables of what may happen to them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pipelines.messages.rollout import RolloutState, RolloutTicket

BEGUN = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
TICKET = RolloutTicket(
    model="flight_delay", version="10", rollout_id="r10", champion="9", bundle="b", sha256="s", model_digest="d"
)


def state(**changes: Any) -> RolloutState:
    """Version 10 is prepared beside version 9."""
    facts: dict[str, Any] = {
        "model": "flight_delay",
        "generation": 7,
        "champion": "9",
        "candidate": "10",
        "split": {"9": 10_000},
        "rollout_id": "r10",
        "phase": "READY",
        "step_started": BEGUN,
    }
    return RolloutState(**(facts | changes))
