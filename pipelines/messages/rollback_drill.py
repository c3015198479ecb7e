"""Request and result of a rollback drill: versions, seconds and counts of answers."""

from __future__ import annotations

from pipelines.messages.message import Message


class DrillRequest(Message):
    """Take rollout ``rollout_id`` of ``model`` back and time it. Its candidate has a share by now."""

    model: str
    rollout_id: str
    candidate: str
    bundle: str
    """The candidate's bundle; its golden rows are asked."""
    header: str
    """Requests that carry ``header`` with the rollout's id as its value go to the candidate by a segment rule."""
    reason: str


class DrillResult(Message):
    """Seconds from the call until the target said so, and until the candidate gave its last answer.

    Where callers' requests cannot be sent to the target from here, ``asked`` is False and no answers are counted.
    """

    candidate: str
    call_seconds: float
    restored: bool
    """Whether the target says that the champion has all traffic, and that every worker knows."""
    restored_seconds: float
    asked: bool = True
    before: int = 0
    """Answers of the candidate before the call."""
    last_answer_seconds: float = 0.0
    """From the call until the candidate's last answer; 0 if none came after the call."""
    after: int = 0
    """Answers of the champion in a row at the end."""
    failed: int = 0
    """Requests without an answer, at any time."""
    turned_away: int = 0
    """Requests that the listener's own limits refused (429, 503); they prove nothing either way."""

    @property
    def seconds(self) -> float:
        """Until no caller could meet the candidate any more."""
        return max(self.last_answer_seconds, 0.0) if self.asked else self.restored_seconds
