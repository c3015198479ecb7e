"""A launched pod is deleted once its task is gone, has ended or has another pod, or its own deadline is over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

NonEmpty = Annotated[str, StringConstraints(min_length=1)]
ENDED_STATES = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
"""States after which a task instance waits for nothing; in any other, or in none (cleared), it goes on."""
FINISHED_PHASES = ("Succeeded", "Failed")
MIN_AGE = timedelta(minutes=2)
GRACE = timedelta(minutes=10)
"""A finished pod stays so long for a person to see; so long a deletion and a deadline may take to have an effect."""


class PodIdentity(BaseModel):
    """Who asked for a pod. ``run``: the launch's path in the store; ``map_index`` -1: the task is not mapped."""

    model_config = ConfigDict(frozen=True)

    dag_id: NonEmpty
    run_id: NonEmpty
    task_id: NonEmpty
    map_index: int
    try_number: int
    step: NonEmpty
    run: NonEmpty

    @property
    def task(self) -> tuple[str, str, str, int, str]:
        return self.dag_id, self.run_id, self.task_id, self.map_index, self.step


class LaunchedPod(BaseModel):
    """One pod as the cluster, the store and Airflow know it; ``deleting``: since when. Times are aware."""

    model_config = ConfigDict(frozen=True)

    name: str
    uid: str
    resource_version: str
    phase: str
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None
    """When its last container ended; None after an eviction, too."""
    deadline_seconds: int | None = None
    """Allowed from ``started`` on."""
    deleting: datetime | None = None
    identity: PodIdentity | None
    """None: its annotations do not say who asked for it."""
    launched_here: bool = False
    """Whether the store knows the launch: another installation may share the cluster and the label."""
    task_exists: bool = False
    task_state: str | None = None
    """Airflow's state of the task instance, if that exists; None: it has none, for it was cleared."""


class PodJudgement(BaseModel):
    """``reported``: it stays, but a person should look."""

    model_config = ConfigDict(frozen=True)

    pod: LaunchedPod
    delete: bool
    reason: str
    reported: bool = False


def judge_pods(pods: Sequence[LaunchedPod], now: datetime) -> list[PodJudgement]:
    """What becomes of each pod, in the order given.

    Deleted is, if the store knows its launch, a pod whose task instance is gone or has ended, that a later try replaced
    by its own, or that outlives its deadline. A try that takes over an earlier one's pod starts none.
    """
    return [_judge(pod, pods, now) for pod in pods]


def _judge(pod: LaunchedPod, pods: Sequence[LaunchedPod], now: datetime) -> PodJudgement:
    def keep(reason: str, *, reported: bool = False) -> PodJudgement:
        return PodJudgement(pod=pod, delete=False, reason=reason, reported=reported)

    if pod.identity is None:
        return keep("its annotations do not say who asked for it; delete it by hand if nobody knows it", reported=True)
    if pod.deleting is not None:
        stuck = now - pod.deleting > GRACE
        return keep(f"it is being deleted{'; is its node lost?' if stuck else ''}", reported=stuck)
    if now - pod.created < MIN_AGE:
        return keep(f"it is younger than {_minutes(MIN_AGE)}")
    orphaned = _orphan_reason(pod, pod.identity, pods, now)
    if not orphaned:
        return keep(f"its task is {pod.task_state or 'to be scheduled'}")
    if not pod.launched_here:
        return keep(f"{orphaned}; but the store of this installation has no {pod.identity.run}", reported=True)
    if pod.phase in FINISHED_PHASES and now - (pod.finished or pod.created) < GRACE:
        return keep(f"{orphaned}; it ended less than {_minutes(GRACE)} ago and may still be looked at")
    return PodJudgement(pod=pod, delete=True, reason=orphaned)


def _orphan_reason(pod: LaunchedPod, mine: PodIdentity, pods: Sequence[LaunchedPod], now: datetime) -> str | None:
    if not pod.task_exists:
        return "its task instance is gone: the run was deleted, or the task was taken out of it"
    if pod.task_state in ENDED_STATES:
        return f"its task has ended: {pod.task_state}"
    for other in (other for other in pods if other.identity and other.created >= pod.created):
        theirs = other.identity or mine
        if theirs.task == mine.task and theirs.run != mine.run and theirs.try_number > mine.try_number:
            return f"it is of try {mine.try_number}, and try {theirs.try_number} has pod {other.name}"
    if pod.phase in FINISHED_PHASES or pod.started is None or pod.deadline_seconds is None:
        return None
    allowed = timedelta(seconds=pod.deadline_seconds)
    return f"it outlived its deadline of {_minutes(allowed)}" if now - pod.started > allowed + GRACE else None


def _minutes(span: timedelta) -> str:
    return f"{span / timedelta(minutes=1):g} min"
