"""A launched pod is deleted once its task was deleted, has ended or has another pod, or the pod's deadline passed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

NonEmpty = Annotated[str, StringConstraints(min_length=1)]
ENDED_STATES = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
"""Final states of a task instance; in any other, or in none (cleared), its pod is still needed."""
FINISHED_PHASES = ("Succeeded", "Failed")
MIN_AGE = timedelta(minutes=2)
GRACE_PERIOD = timedelta(minutes=10)
"""Time that a finished pod stays for inspection, and that a deletion or a deadline may take to have an effect."""


class PodIdentity(BaseModel):
    """The task that launched a pod. ``run``: the launch's path in the store; ``map_index`` -1: it is not mapped."""

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
    """One pod as the cluster, the store and Airflow describe it; ``deleting``: when its deletion began."""

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
    """Allowed running time after ``started``."""
    deleting: datetime | None = None
    identity: PodIdentity | None
    """None: its annotations do not name its task."""
    launched_here: bool = False
    """Whether the store knows the launch: another installation may share the cluster and the label."""
    task_exists: bool = False
    task_state: str | None = None
    """Airflow's state of the task instance; None if it was cleared."""


class PodJudgement(BaseModel):
    """``reported``: the pod stays, and a warning asks a person to check it."""

    model_config = ConfigDict(frozen=True)

    pod: LaunchedPod
    delete: bool
    reason: str
    reported: bool = False


def judge_pods(pods: Sequence[LaunchedPod], now: datetime) -> list[PodJudgement]:
    """The judgement of each pod, in the order given.

    A pod of this installation is deleted if its task instance was deleted or has ended, if a later try started its own
    pod, or after its deadline. A try that takes over an earlier try's pod starts none.
    """
    return [_judge(pod, pods, now) for pod in pods]


def _judge(pod: LaunchedPod, pods: Sequence[LaunchedPod], now: datetime) -> PodJudgement:
    def keep(reason: str, *, reported: bool = False) -> PodJudgement:
        return PodJudgement(pod=pod, delete=False, reason=reason, reported=reported)

    if pod.identity is None:
        return keep("its annotations do not name its task; delete it by hand if it is not in use", reported=True)
    if pod.deleting is not None:
        stuck = now - pod.deleting > GRACE_PERIOD
        return keep(f"it is being deleted{'; is its node lost?' if stuck else ''}", reported=stuck)
    if now - pod.created < MIN_AGE:
        return keep(f"it is younger than {_minutes(MIN_AGE)}")
    orphaned = _orphan_reason(pod, pod.identity, pods, now)
    if not orphaned:
        return keep(f"its task is {pod.task_state or 'to be scheduled'}")
    if not pod.launched_here:
        return keep(f"{orphaned}, but this installation's store has no {pod.identity.run}", reported=True)
    if pod.phase in FINISHED_PHASES and now - (pod.finished or pod.created) < GRACE_PERIOD:
        return keep(f"{orphaned}; it ended less than {_minutes(GRACE_PERIOD)} ago and is kept for inspection")
    return PodJudgement(pod=pod, delete=True, reason=orphaned)


def _orphan_reason(pod: LaunchedPod, mine: PodIdentity, pods: Sequence[LaunchedPod], now: datetime) -> str | None:
    if not pod.task_exists:
        return "its task instance does not exist: the run was deleted, or the task was removed from it"
    if pod.task_state in ENDED_STATES:
        return f"its task has ended: {pod.task_state}"
    for other in (other for other in pods if other.identity and other.created >= pod.created):
        theirs = other.identity or mine
        if theirs.task == mine.task and theirs.run != mine.run and theirs.try_number > mine.try_number:
            return f"it belongs to try {mine.try_number}, but try {theirs.try_number} has pod {other.name}"
    if pod.phase in FINISHED_PHASES or pod.started is None or pod.deadline_seconds is None:
        return None
    allowed = timedelta(seconds=pod.deadline_seconds)
    return f"it exceeded its deadline of {_minutes(allowed)}" if now - pod.started > allowed + GRACE_PERIOD else None


def _minutes(span: timedelta) -> str:
    return f"{span / timedelta(minutes=1):g} min"
