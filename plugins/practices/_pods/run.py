"""Runs a step in a pod: starts it, defers the task until it has ended, and takes the result that its manifest names.

The first call of ``run_in_pod`` starts the pod and defers the task; when the pod has ended, ``conclude`` puts its log
into the task's, notes how it ended if it left no manifest, and deletes it. The practice is then executed again from the
top: the second call finds the result, or raises what the step raised. With ``AIRWORTHY_DEFER_PODS`` off, the worker
itself waits.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import TaskDeferred

from pipelines.errors import AirworthyError
from pipelines.messages.message import Message
from pipelines.messages.pod_run import LOG
from pipelines.pod.declarations import store_declarations
from pipelines.rules.pod_end import PodEnd, judge_pod
from pipelines.spec.runner import StageRunner
from practices._connections import installation
from practices._connections.kubernetes import in_cluster
from practices._pods.cluster import Cluster
from practices._pods.facts import phases
from practices._pods.launch import Launch
from practices._pods.plan import pod_arguments
from practices._pods.watch import PodWatch
from practices._pods.workers import worker_pods

log = logging.getLogger(__name__)
_started: list[tuple[Cluster, str]] = []
"""The pods that this process has started or taken over and not yet handed to the triggerer."""


def run_in_pod(step: str, request: Message, runner: StageRunner) -> bytes:
    """The result of the step as JSON, once its pod has written it; until then the task is deferred.

    Raises what the step raised, ``Refused`` for a pod that cannot be had or ran out of its limits, ``Unavailable`` for
    one that the cluster took away.
    """
    context, ports = get_current_context(), installation.open_ports()
    launch = Launch.of(context, ports.store, step, request.model_dump_json(by_alias=True))
    if attempt := launch.current():
        if (answer := launch.answer(attempt)) is not None:
            return answer
        return _wait(launch, attempt, runner)
    cluster = Cluster(ports.settings)
    if attempt := launch.left_over():
        if (answer := launch.answer(attempt)) is not None:
            log.info("an earlier try's pod has done %s already; taking its result", step)
            cluster.delete(launch.pod_name(attempt))
            return answer
        if _alive(cluster, launch, attempt, runner):
            log.info("an earlier try's pod %s is still at it; waiting for it", launch.pod_name(attempt))
            launch.adopt(attempt)
            return _wait(launch, attempt, runner)
    _start(cluster, launch, runner, context)
    return _wait(launch, launch.attempt, runner)


def conclude(asked: dict[str, Any]) -> None:
    """Called when a pod has ended or will never begin: its log, its end and its deletion."""
    context, ports = get_current_context(), installation.open_ports()
    launch = Launch.of(context, ports.store, asked["step"])
    attempt, name = asked["attempt"], launch.pod_name(asked["attempt"])
    cluster, begun = Cluster(ports.settings), datetime.now(UTC)
    pod = cluster.read(name)
    facts = cluster.facts(pod) if pod is not None else None
    end = judge_pod(facts, name, StageRunner.model_validate(asked["runner"]), begun)
    if end is None:
        return  # the watch was mistaken, or the triggerer was away too long: execute waits on
    _show_log(cluster, launch, attempt, pod)
    if not launch.has_manifest(attempt):
        launch.note_end(attempt, _unproven(name, end))
    cluster.delete(name)
    if facts is not None:
        seconds = (datetime.now(UTC) - (facts.finished or begun)).total_seconds()
        log.info("pod %s (%s): %s, collect %.0f s", name, facts.image_id, phases(facts), seconds)


def kill() -> None:
    """Called when the task is killed while a worker holds it: its pod goes, too."""
    for cluster, name in _started:
        log.info("the task is killed; deleting pod %s", name)
        try:
            cluster.delete(name)
        except AirworthyError as error:
            log.warning("pod %s could not be deleted, the reaper will: %s", name, error)


def _start(cluster: Cluster, launch: Launch, runner: StageRunner, context: Any) -> None:
    """Start the pod of this try's attempt. Pods of other attempts of the same task give way to it."""
    name = launch.pod_name(launch.attempt)
    for other in cluster.of_task(launch.task_digest):
        if other.metadata.name != name:
            log.info("pod %s served an earlier try or request; deleting it", other.metadata.name)
            cluster.delete(other.metadata.name)
    pod = cluster.build(pod_arguments(launch, launch.attempt, runner, cluster.settings), context)
    launch.begin(store_declarations(launch.store, cluster.settings.include), runner.workers)
    _started.append((cluster, name))
    created = cluster.create(pod)
    for worker in worker_pods(pod, created, launch.path(launch.attempt), runner.workers - 1):
        cluster.create(worker)
    container = created.spec.containers[0]
    log.info("pod %s in %s: image %s, %s", name, cluster.namespace, container.image, container.resources.limits)


def _wait(launch: Launch, attempt: str, runner: StageRunner) -> bytes:
    """Hand the pod to the triggerer; where the installation defers nothing, wait here."""
    settings = installation.open_ports().settings
    name, declared = launch.pod_name(attempt), runner.model_dump(mode="json")
    watch = PodWatch(name, settings.pod_namespace, settings.kubernetes_connection, in_cluster(settings), declared)
    asked = {"step": launch.step, "attempt": attempt, "runner": declared}
    if settings.defer_pods:
        raise TaskDeferred(trigger=watch, method_name="resume_step", kwargs={"asked": asked})
    if name not in [started for _, started in _started]:
        _started.append((Cluster(settings), name))
    asyncio.run(_ended(watch))
    conclude(asked)
    answer = launch.fresh().answer(attempt)
    if answer is None:
        raise RuntimeError(f"pod {name} ended without an end")
    return answer


async def _ended(watch: PodWatch) -> None:
    async for _ in watch.run():
        return


def _alive(cluster: Cluster, launch: Launch, attempt: str, runner: StageRunner) -> bool:
    """Whether the attempt's pod still runs or may begin; one that has ended shows its log and goes."""
    name = launch.pod_name(attempt)
    pod = cluster.read(name)
    if pod is None or pod.metadata.deletion_timestamp is not None:
        return False
    if judge_pod(cluster.facts(pod), name, runner, datetime.now(UTC)) is None:
        return True
    _show_log(cluster, launch, attempt, pod)
    cluster.delete(name)
    return False


def _show_log(cluster: Cluster, launch: Launch, attempt: str, pod: Any | None) -> None:
    """The pod's log in the task's: from the cluster, else from the copy in the store."""
    text = cluster.log(launch.pod_name(attempt)) if pod is not None else None
    path = launch.path(attempt, LOG)
    if not text and launch.store.exists(path):
        text = launch.store.get(path).decode("utf-8", errors="replace")
    for line in (text or "").splitlines():
        log.info("| %s", line)
    log.info("the whole log is kept at %s", launch.store.uri(path))


def _unproven(name: str, end: PodEnd) -> PodEnd:
    """A pod that exited well and wrote no manifest has proved nothing."""
    if end.kind != "done":
        return end
    return PodEnd("unavailable", f"pod {name} exited with 0 but wrote no manifest; that proves nothing, so again")
