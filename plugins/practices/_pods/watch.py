"""Watches a pod in the triggerer until it has ended or can no longer begin.

The event only wakes the task, which reads the pod's state itself, so that an outdated event decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from airflow.providers.cncf.kubernetes.triggers.pod import KubernetesPodTrigger
from airflow.triggers.base import TriggerEvent

from pipelines.rules.pod_end import judge_pod
from pipelines.spec.runner import StageRunner
from practices._pods.facts import pod_facts
from practices._pods.plan import CONTAINER

STARTING_POLL_SECONDS = 0.5
RUNNING_POLL_SECONDS = 1.0
LOG_POLL_SECONDS = 10.0
API_SILENCE_SECONDS = 300.0
"""How long the API server may be silent before the trigger fires and the task reads the pod itself."""


class PodWatch(KubernetesPodTrigger):
    """Watches one pod. It is deleted when a person marks the task failed or clears it, not when the triggerer restarts.

    ``runner`` holds the limits on waiting. Credentials are read where the triggerer runs; none is serialized.
    """

    def __init__(self, pod_name: str, pod_namespace: str, conn_id: str | None, in_cluster: bool, runner: Any) -> None:
        super().__init__(
            pod_name=pod_name,
            pod_namespace=pod_namespace,
            trigger_start_time=datetime.now(UTC),
            base_container_name=CONTAINER,
            kubernetes_conn_id=conn_id,
            in_cluster=in_cluster or None,
        )
        self.runner = runner

    def serialize(self) -> tuple[str, dict[str, Any]]:
        arguments = {
            "pod_name": self.pod_name,
            "pod_namespace": self.pod_namespace,
            "conn_id": self.kubernetes_conn_id,
            "in_cluster": bool(self.in_cluster),
            "runner": self.runner,
        }
        return f"{__name__}.PodWatch", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        runner = StageRunner.model_validate(self.runner)
        logged: Any = None
        clock = asyncio.get_running_loop().time
        answered_at = log_read_at = clock()
        while True:
            try:
                pod = await self._read()
                answered_at = clock()
            except Exception as error:
                self.log.warning("the API server does not answer about pod %s: %s", self.pod_name, error)
                if clock() - answered_at > API_SILENCE_SECONDS:
                    break
                await asyncio.sleep(RUNNING_POLL_SECONDS)
                continue
            facts = None if pod is None else pod_facts(pod)
            if judge_pod(facts, self.pod_name, runner, datetime.now(UTC)) is not None:
                break
            running = facts is not None and facts.started is not None
            if running and clock() - log_read_at > LOG_POLL_SECONDS:
                log_read_at = clock()
                logged = await self._show_log(pod, logged)
            await asyncio.sleep(RUNNING_POLL_SECONDS if running else STARTING_POLL_SECONDS)
        self._fired_event = True
        since = logged.isoformat() if logged else None
        yield TriggerEvent({"name": self.pod_name, "namespace": self.pod_namespace, "logged": since})  # type: ignore[no-untyped-call]

    async def _read(self) -> Any:
        """The pod, or None if there is none."""
        from kubernetes_asyncio.client.exceptions import ApiException

        try:
            return await self.hook.get_pod(name=self.pod_name, namespace=self.pod_namespace)
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    async def _show_log(self, pod: Any, since: Any) -> Any:
        try:
            return await self.pod_manager.fetch_container_logs_before_current_sec(pod, CONTAINER, since_time=since)
        except Exception as error:
            self.log.warning("the log of pod %s cannot be read now: %s", self.pod_name, error)
            return since
