"""Adds to each pod the state of its task instance in Airflow, and whether the store has its launch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.ports import Store
from pipelines.rules.orphaned_pods import LaunchedPod

BATCH_SIZE = 50
"""Run ids per request, because they are part of its URL."""
TaskStates = Mapping[tuple[str, str, str], Mapping[str, str | None]]
"""(DAG, task, run) to the states by ``<task>`` or ``<task>_<map index>``."""


def add_task_states(pods: Sequence[LaunchedPod], ti: Any, store: Store) -> list[LaunchedPod]:
    """The pods with the state of their task instances, and whether the store has their launch.

    ``ti``, the running task instance, is the client to Airflow. A deleted run, task or DAG has no task instances.
    """
    states = _query_states(pods, ti)
    return [_with_task(pod, states, store) for pod in pods]


def _query_states(pods: Sequence[LaunchedPod], ti: Any) -> TaskStates:
    runs: dict[tuple[str, str], set[str]] = defaultdict(set)
    for identity in (pod.identity for pod in pods if pod.identity):
        runs[identity.dag_id, identity.task_id].add(identity.run_id)
    states: dict[tuple[str, str, str], Mapping[str, str | None]] = {}
    for (dag_id, task_id), run_ids in runs.items():
        ids = sorted(run_ids)
        for batch in (ids[start : start + BATCH_SIZE] for start in range(0, len(ids), BATCH_SIZE)):
            answer = ti.get_task_states(dag_id=dag_id, task_ids=[task_id], run_ids=batch)
            states |= {(dag_id, task_id, run_id): answer[run_id] for run_id in batch if run_id in answer}
    return states


def _with_task(pod: LaunchedPod, states: TaskStates, store: Store) -> LaunchedPod:
    identity = pod.identity
    if identity is None:
        return pod
    instances = states.get((identity.dag_id, identity.task_id, identity.run_id), {})
    name = identity.task_id if identity.map_index < 0 else f"{identity.task_id}_{identity.map_index}"
    has_launch = bool(store.list(f"{identity.run}/"))
    facts = {"task_exists": name in instances, "task_state": instances.get(name), "launched_here": has_launch}
    return pod.model_copy(update=facts)
