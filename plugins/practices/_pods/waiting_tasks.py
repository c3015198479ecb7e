"""Asks Airflow whether a task waits for each pod, and the store whether it knows the pod's launch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.ports import Store
from pipelines.rules.orphaned_pods import LaunchedPod

RUN_IDS_PER_QUERY = 50
"""Run ids per question: they travel in the address of the request."""
TaskStates = Mapping[tuple[str, str, str], Mapping[str, str | None]]
"""DAG, task and run to Airflow's answer: ``<task>`` or ``<task>_<map index>`` to its state."""


def add_task_states(pods: Sequence[LaunchedPod], ti: Any, store: Store) -> list[LaunchedPod]:
    """The pods with the state of their task instances, and whether the store knows their launch.

    ``ti`` is the running task instance, by which Airflow is asked. A run, a task or a DAG that was deleted has no
    task instances.
    """
    states = _query_states(pods, ti)
    return [_with_task(pod, states, store) for pod in pods]


def _query_states(pods: Sequence[LaunchedPod], ti: Any) -> TaskStates:
    runs: dict[tuple[str, str], set[str]] = defaultdict(set)
    for identity in (pod.identity for pod in pods if pod.identity):
        runs[identity.dag_id, identity.task_id].add(identity.run_id)
    states: dict[tuple[str, str, str], Mapping[str, str | None]] = {}
    for (dag_id, task_id), run_ids in runs.items():
        several = sorted(run_ids)
        for some in (several[at : at + RUN_IDS_PER_QUERY] for at in range(0, len(several), RUN_IDS_PER_QUERY)):
            answer = ti.get_task_states(dag_id=dag_id, task_ids=[task_id], run_ids=some)
            states |= {(dag_id, task_id, run_id): answer[run_id] for run_id in some if run_id in answer}
    return states


def _with_task(pod: LaunchedPod, states: TaskStates, store: Store) -> LaunchedPod:
    identity = pod.identity
    if identity is None:
        return pod
    instances = states.get((identity.dag_id, identity.task_id, identity.run_id), {})
    name = identity.task_id if identity.map_index < 0 else f"{identity.task_id}_{identity.map_index}"
    known = bool(store.list(f"{identity.run}/"))
    facts = {"task_exists": name in instances, "task_state": instances.get(name), "launched_here": known}
    return pod.model_copy(update=facts)
