"""Deletes the pods of this installation for which no task waits."""

from __future__ import annotations

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.ports import Ports
from pipelines.rules.orphaned_pods import PodJudgement, judge_pods
from practices._connections import installation
from practices._operators import run_context
from practices._operators.dry_run import DryRunPractice
from practices._pods.launched import LaunchedPods, has_cluster
from practices._pods.waiting_tasks import add_task_states


class OrphanedPods(DryRunPractice):
    """Delete the pods of this installation that no task waits for; every pod is judged and logged.

    Before a deletion the ledger gets a line (kind ``orphaned_pod``, by the pod's uid) with identity and reason. A pod
    that changed since it was judged is kept until the next run. ``report_only`` deletes nothing. Skipped where no
    cluster is configured. Returns the names of the pods ``deleted``, ``reported`` and ``kept``.
    """

    def execute(self, context: Context) -> dict[str, list[str]]:
        ports = installation.open_ports()
        if not has_cluster(ports.settings):
            reason = "no KUBECONFIG, no connection, and not in a cluster"
            raise AirflowSkipException(f"no Kubernetes cluster is configured: {reason}")
        cluster = LaunchedPods(ports.settings)
        judgements = judge_pods(add_task_states(cluster.list_pods(), context["ti"], ports.store), ports.clock())
        pods: dict[str, list[str]] = {"deleted": [], "reported": [], "kept": []}
        actor = run_context.actor(context, ports.settings.actor)
        for judgement in judgements:
            pods[self._act(judgement, cluster, ports, actor)].append(judgement.pod.name)
        self.log.info("%s", ", ".join(f"{len(names)} {outcome}" for outcome, names in pods.items()))
        return pods

    def _act(self, judgement: PodJudgement, cluster: LaunchedPods, ports: Ports, actor: str) -> str:
        """Log the judgement and delete the pod if so judged; returns ``deleted``, ``reported`` or ``kept``."""
        pod, description = judgement.pod, _describe(judgement)
        if not judgement.delete:
            self.log.log(30 if judgement.reported else 20, "kept: %s", description)
            return "reported" if judgement.reported else "kept"
        if self.is_report_only:
            self.log.warning("would be deleted: %s", description)
            return "reported"
        identity = pod.identity.model_dump() if pod.identity else {}
        details = {**identity, "pod": pod.name, "namespace": cluster.namespace, "uid": pod.uid, "phase": pod.phase}
        model = str(identity.get("dag_id", "")).partition("__")[0]
        details["reason"] = judgement.reason
        ports.ledger.append("orphaned_pod", model, None, details, actor=actor, key=f"orphaned_pod/{pod.uid}")
        if cluster.delete(pod):
            self.log.warning("deleted: %s", description)
            return "deleted"
        self.log.info("kept: it changed or was deleted since it was judged: %s", description)
        return "kept"


def _describe(judgement: PodJudgement) -> str:
    """``<pod> of <dag>/<run>/<task> (try 2, Running): reason``."""
    pod, owner = judgement.pod, judgement.pod.identity
    if owner is None:
        return f"{pod.name}: {judgement.reason}"
    task = owner.task_id if owner.map_index < 0 else f"{owner.task_id}[{owner.map_index}]"
    attempt = f"{owner.dag_id}/{owner.run_id}/{task} (try {owner.try_number}, {pod.phase})"
    return f"{pod.name} of {attempt}: {judgement.reason}"
