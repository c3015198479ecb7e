"""Runs a step in a pod: starts it, defers the task until it has ended, and takes the result that its manifest names.

The first call of ``run_in_pod`` starts the pod and defers the task; when the pod has ended, ``collect_pod`` copies its
log into the task's log, records its end if it left no manifest, and deletes it. The operator is then executed again:
the second call returns the result or raises what the step raised. Without ``AIRWORTHY_DEFER_PODS`` the worker waits.
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
from practices._pods.facts import phase_durations
from practices._pods.launch import Launch
from practices._pods.plan import pod_arguments
from practices._pods.watch import PodWatch
from practices._pods.workers import worker_pods

log = logging.getLogger(__name__)
_started_pods: list[tuple[Cluster, str]] = []
"""Pods that this process has started or adopted and not yet handed to the triggerer."""


def run_in_pod(step: str, request: Message, runner: StageRunner) -> bytes:
    """The result of the step as JSON, once its pod has written it; until then the task is deferred.

    Raises what the step raised, ``Refused`` for a pod that cannot start or exceeded its limits, ``Unavailable`` for
    one that the cluster removed.
    """
    context, ports = get_current_context(), installation.open_ports()
    content = request.model_dump_json(by_alias=True)
    launch = Launch.of(context, ports.store, step, content, installation.secrets_of_tasks())
    if attempt := launch.current_attempt():
        if (answer := launch.read_result(attempt)) is not None:
            return answer
        return _wait_for_pod(launch, attempt, runner)
    cluster = Cluster(ports.settings)
    if attempt := launch.unfinished_attempt():
        if (answer := launch.read_result(attempt)) is not None:
            log.info("the pod of an earlier try has finished %s; its result is used", step)
            cluster.delete(launch.pod_name(attempt))
            return answer
        if _is_running(cluster, launch, attempt, runner):
            log.info("pod %s of an earlier try is still running; waiting for it", launch.pod_name(attempt))
            launch.record_adoption(attempt)
            return _wait_for_pod(launch, attempt, runner)
    _start_pods(cluster, launch, runner, context)
    return _wait_for_pod(launch, launch.attempt, runner)


def collect_pod(reference: dict[str, Any]) -> None:
    """Called when a pod has ended or cannot begin: show its log, record its end and delete it."""
    context, ports = get_current_context(), installation.open_ports()
    launch = Launch.of(context, ports.store, reference["step"], secrets=installation.secrets_of_tasks())
    attempt, name = reference["attempt"], launch.pod_name(reference["attempt"])
    cluster, now = Cluster(ports.settings), datetime.now(UTC)
    pod = cluster.read(name)
    facts = cluster.facts(pod) if pod is not None else None
    end = judge_pod(facts, name, StageRunner.model_validate(reference["runner"]), now)
    if end is None:
        return  # the trigger fired without an end (the API server was silent too long): execute defers again
    _show_log(cluster, launch, attempt, pod)
    if not launch.has_manifest(attempt):
        launch.write_end(attempt, _missing_manifest(name, end))
    cluster.delete(name)
    if facts is not None:
        seconds = (datetime.now(UTC) - (facts.finished or now)).total_seconds()
        log.info("pod %s (%s): %s, collect %.0f s", name, facts.image_id, phase_durations(facts), seconds)


def delete_started_pods() -> None:
    """Called when the task is killed while it runs in a worker: delete its pods."""
    for cluster, name in _started_pods:
        log.info("the task was killed; deleting pod %s", name)
        try:
            cluster.delete(name)
        except AirworthyError as error:
            log.warning("cannot delete pod %s now, airworthy__reap_pods deletes it later: %s", name, error)


def _start_pods(cluster: Cluster, launch: Launch, runner: StageRunner, context: Any) -> None:
    """Start the pod of this try's attempt, after deleting the pods of other attempts of the same task."""
    name = launch.pod_name(launch.attempt)
    for other in cluster.task_pods(launch.task_digest):
        if other.metadata.name != name:
            log.info("pod %s belongs to an earlier try or request; deleting it", other.metadata.name)
            cluster.delete(other.metadata.name)
    pod = cluster.build(pod_arguments(launch, launch.attempt, runner, cluster.settings), context)
    launch.write_ticket(store_declarations(launch.store, cluster.settings.include), runner.workers)
    _started_pods.append((cluster, name))
    created = cluster.create(pod)
    for worker in worker_pods(pod, created, launch.path(launch.attempt), runner.workers - 1):
        cluster.create(worker)
    container = created.spec.containers[0]
    log.info("pod %s in %s: image %s, %s", name, cluster.namespace, container.image, container.resources.limits)


def _wait_for_pod(launch: Launch, attempt: str, runner: StageRunner) -> bytes:
    """Defer until the pod has ended; with ``AIRWORTHY_DEFER_PODS`` off, wait here."""
    settings = installation.open_ports().settings
    name, declared = launch.pod_name(attempt), runner.model_dump(mode="json")
    watch = PodWatch(name, settings.pod_namespace, settings.kubernetes_connection, in_cluster(settings), declared)
    reference = {"step": launch.step, "attempt": attempt, "runner": declared}
    if settings.defer_pods:
        raise TaskDeferred(trigger=watch, method_name="resume_step", kwargs={"asked": reference})  # stored names
    if name not in [started for _, started in _started_pods]:
        _started_pods.append((Cluster(settings), name))
    asyncio.run(_wait_until_ended(watch))
    collect_pod(reference)
    answer = launch.reload().read_result(attempt)
    if answer is None:
        raise RuntimeError(f"pod {name} has ended, but neither a manifest nor its end is recorded")
    return answer


async def _wait_until_ended(watch: PodWatch) -> None:
    async for _ in watch.run():
        return


def _is_running(cluster: Cluster, launch: Launch, attempt: str, runner: StageRunner) -> bool:
    """Whether the attempt's pod runs or may still begin; one that has ended is deleted after its log was shown."""
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
    """Copy the pod's log into the task's log, from the cluster or else from the store."""
    text = cluster.log(launch.pod_name(attempt)) if pod is not None else None
    path = launch.path(attempt, LOG)
    if not text and launch.store.exists(path):
        text = launch.store.get(path).decode("utf-8", errors="replace")
    for line in (text or "").splitlines():
        log.info("| %s", line)
    log.info("the whole log is at %s", launch.store.uri(path))


def _missing_manifest(name: str, end: PodEnd) -> PodEnd:
    """The end to record for a pod without a manifest: exit code 0 alone counts as ``unavailable``."""
    if end.kind != "done":
        return end
    return PodEnd("unavailable", f"pod {name} exited with 0 but wrote no manifest; the task tries again")
