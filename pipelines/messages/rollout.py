"""What tasks hand to each other about a rollout: its state, its ticket, and counts by version and stage."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pipelines.messages.message import Message


class RolloutState(Message):
    """What one model serves while a rollout goes on, and the record of its newest rollout."""

    model: str
    generation: int
    """Generation of this model's last change: every change of a rollout names the one it was decided on."""
    champion: str
    candidate: str | None = None
    previous: str | None = None
    split: dict[str, int]
    """Basis points of the traffic by version, 10,000 in all."""
    mirror: str | None = None
    mirror_basis_points: int = 0
    rollout_id: str | None = None
    phase: str | None = None
    step: int = 0
    step_started: datetime | None = None
    lease_until: datetime | None = None
    reason: str = ""
    probe: str = ""
    """Requests with this secret in the header x-rollout-probe are answered by the candidate at any split."""
    workers: int = 0
    applied: bool = True


class RolloutTicket(Message):
    """What every task of one deploy run is about; the first of them writes it."""

    model: str
    version: str
    rollout_id: str
    """Same for every try of every task of the run."""
    champion: str | None = None
    """The version that is live when the run begins; None: this is the first, with nothing to be compared with."""
    bundle: str
    sha256: str
    """Digest over the bundle's files."""
    model_digest: str
    """Digest of the registered model; approvals are bound to it."""

    @property
    def first(self) -> bool:
        return self.champion is None


class ArmCounts(Message):
    """What one version did in one role in one step of a rollout."""

    version: str
    step: int = 0
    share: int = 0
    """Basis points of the candidate in that step."""
    step_started: datetime | None = None
    role: Literal["champion", "candidate", "control", "variant", "shadow"]
    requests: int = 0
    failed: int = 0
    bad: dict[str, int] = {}
    """Bad events by kind: error, invalid, deadline."""
    slow: dict[str, int] = {}
    """Answers slower than each limit of the guard, by the limit in milliseconds."""
    fallback: int = 0
    shed: int = 0
    units: int = 0
    bad_units: int = 0
    """Distinct routing keys, and those of them that met a bad event in this step and in no earlier one."""
    slow_units: dict[str, int] = {}
    """Distinct routing keys that met their first answer over each limit of the guard in this step."""
    seconds: float = 0.0
    """Summed time to an answer, over ``requests``."""
    compared: int = 0
    disagreed: int = 0
    flipped: int = 0
    sent: int = 0
    dropped: int = 0
