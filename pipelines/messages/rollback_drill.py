"""Request and result of a rollback drill: versions, seconds and counts of answers."""

from __future__ import annotations

from pipelines.messages.message import Message


class DrillRequest(Message):
    """Roll back rollout ``rollout_id`` of ``model``, whose candidate has traffic, and time it."""

    model: str
    rollout_id: str
    candidate: str
    bundle: str
    """The candidate's bundle, whose golden rows are the drill's requests."""
    header: str
    """Requests that carry ``header`` with the rollout's id as its value go to the candidate by a segment rule."""
    reason: str


class DrillResult(Message):
    """Seconds from the rollback's call until the target confirmed it, and until the candidate's last answer.

    If requests cannot be sent to the target from here, ``asked`` is False and no answers are counted.
    """

    candidate: str
    call_seconds: float
    restored: bool
    """Whether the target confirms that the champion has all traffic on every worker."""
    restored_seconds: float
    asked: bool = True
    before: int = 0
    """Answers of the candidate before the rollback's call."""
    last_answer_seconds: float = 0.0
    """Seconds from the call to the candidate's last answer; 0 if none came after the call."""
    after: int = 0
    """Consecutive answers of the champion at the end."""
    failed: int = 0
    """Requests without an answer, at any time."""
    turned_away: int = 0
    """Requests that the listener's own limits refused (429, 503); they count neither for nor against the target."""

    @property
    def seconds(self) -> float:
        """Seconds until no caller got an answer of the candidate."""
        return max(self.last_answer_seconds, 0.0) if self.asked else self.restored_seconds
