"""A deployment reduced to its approvals: requests, their count, and a task that follows. Parsed by a real Airflow."""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from pipelines.ports import Ports
from pipelines.testing.ports import MemoryRegistry
from practices._connections import installation
from practices._deploy.approvals import ask_approvers
from practices._operators.defaults import DEFAULT_ARGS
from practices.approval_quorum import ApprovalQuorum

MODEL_DIGEST, BUNDLE_DIGEST, SNAPSHOT = "a" * 64, "b" * 64, "5" * 64
open_ports = installation.open_ports


class WithRegistry:
    """The installation's ports, with a registry that holds version 1 of each model and needs no server."""

    def __init__(self, ports: Ports) -> None:
        self._ports, self.registry = ports, MemoryRegistry()
        tags = {"airworthy.model_digest": MODEL_DIGEST, "airworthy.semantic_version": "1.0.0"}
        tags |= {"airworthy.snapshot": SNAPSHOT, "airworthy.requested_by": "joe", "airworthy.git_revision": "0f1e2d3"}
        for model in ports.catalog.models:
            self.registry.register(model, tags=tags)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ports, name)


installation.open_ports = lambda: WithRegistry(open_ports())  # type: ignore[assignment, return-value]

for spec in installation.load_catalog().models.values():
    tried = {**DEFAULT_ARGS, "retry_delay": timedelta(seconds=1), "max_retry_delay": timedelta(seconds=2)}
    with DAG(f"{spec.model}__deploy", schedule=None, max_active_runs=16, params={"version": ""}, default_args=tried):
        ticket = {
            "model": spec.model,
            "version": "1",
            "rollout_id": "{{ run_id }}",
            "bundle": "bundles/1",
            "sha256": BUNDLE_DIGEST,
            "model_digest": MODEL_DIGEST,
        }
        answers = ask_approvers(spec, ticket).output
        count = ApprovalQuorum(task_id="count_approvals", model=spec.model, ticket=ticket, answers=answers)
        count >> EmptyOperator(task_id="promote_candidate")
