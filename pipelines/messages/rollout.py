"""Messages between tasks about a rollout: its state, its ticket, and counts by version and stage."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pipelines.messages.message import Message


class RolloutState(Message):
    """The versions that serve one model, their traffic, and the record of its newest rollout."""

    model: str
    generation: int
    """Generation of this model's last change; every change of a rollout names the generation that it expects."""
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
    """Requests with this secret in the header x-rollout-probe go to the candidate at any split."""
    workers: int = 0
    applied: bool = True


class RolloutTicket(Message):
    """The version and rollout of one deploy run, written by its first task for all others."""

    model: str
    version: str
    rollout_id: str
    """The same for every try of every task of the run."""
    champion: str | None = None
    """The live version when the run begins; None: this is the model's first version."""
    bundle: str
    sha256: str
    """Digest over the bundle's files."""
    model_digest: str
    """Digest of the registered model; approvals are bound to it."""

    @property
    def first(self) -> bool:
        return self.champion is None

    @property
    def is_live(self) -> bool:
        """Whether the version was live already when the run began, so that only its records are to be finished."""
        return self.champion == self.version


class ArmCounts(Message):
    """Counts of one version in one role in one stage of a rollout."""

    version: str
    step: int = 0
    share: int = 0
    """Basis points of the candidate in that stage."""
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
    """Distinct routing keys, and those with their first bad event in this stage."""
    slow_units: dict[str, int] = {}
    """Distinct routing keys with their first answer over each limit of the guard in this stage."""
    new_units: int | None = None
    """Distinct routing keys that the rollout had not met before this stage; None: the target does not count them."""
    event_units: dict[str, int] | None = None
    """Distinct routing keys with each event in this stage, also if they had it before: by ``bad``, ``beyond_p99``, and
    the limits of the guard in milliseconds. None: the target does not count them."""
    beyond_p99: int | None = None
    """Answers slower than the champion's 99th percentile of the minute before; None: the target does not count them."""
    beyond_p99_units: int = 0
    """Distinct routing keys with their first such answer in this stage."""
    seconds: float = 0.0
    """Summed time to an answer, over ``requests``."""
    compared: int = 0
    disagreed: int = 0
    flipped: int = 0
    sent: int = 0
    dropped: int = 0


class WatchLimit(Message):
    """At most ``max_share`` of a promoted version's answers may be bad; with ``over_ms``: slower than that."""

    max_share: float
    over_ms: float | None = None


class WatchRequest(Message):
    """Weigh what a promoted ``version`` has answered since its promotion, by the counts of its rollout's stages."""

    version: str
    limits: list[WatchLimit]
    arms: list[ArmCounts]


class WatchedShare(Message):
    """Bad, or slow, answers of a promoted version; ``above_log_e``: evidence that they are more than the limit."""

    limit: WatchLimit
    bad: int
    above_log_e: float


class WatchEvidence(Message):
    """The answers of a promoted version since its promotion."""

    requests: int
    shares: list[WatchedShare]
