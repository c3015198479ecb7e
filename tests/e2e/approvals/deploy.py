"""A deployment reduced to its approvals: requests, their count, and a task that follows. Parsed by a real Airflow."""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, BaseOperator, Context

from pipelines.ports import Ports
from pipelines.testing.ports import MemoryRegistry
from practices._connections import installation
from practices._deploy.approvals import ask_approvers
from practices._operators import run_context
from practices._operators.defaults import DEFAULT_ARGS
from practices._operators.model import ReturnedBy
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


class CheckRelease(BaseOperator):
    """A preflight checklist that passes."""

    def __init__(self, *, model: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.model = model

    def execute(self, context: Context) -> dict[str, Any]:
        ports, run = installation.open_ports(), run_context.run_key(context)
        ticket = {"model": self.model, "version": "1", "rollout_id": run.rpartition("/")[2], "champion": None}
        ticket |= {"bundle": "bundles/1", "sha256": BUNDLE_DIGEST, "model_digest": MODEL_DIGEST}
        passed = {"gate": "preflight_checklist", "outcome": "pass", "ticket": ticket}
        ports.ledger.append("gate", self.model, "1", passed, actor="test", key=f"{run}/{self.task_id}/-1/0/passed")
        return ticket


installation.open_ports = lambda: WithRegistry(open_ports())  # type: ignore[assignment, return-value]

for spec in installation.load_catalog().models.values():
    tried = {**DEFAULT_ARGS, "retry_delay": timedelta(seconds=1), "max_retry_delay": timedelta(seconds=2)}
    with DAG(f"{spec.model}__deploy", schedule=None, max_active_runs=16, params={"version": ""}, default_args=tried):
        check, ticket = CheckRelease(task_id="check_release", model=spec.model), ReturnedBy("check_release")
        requests = ask_approvers(spec, ticket)
        count = ApprovalQuorum(task_id="count_approvals", model=spec.model, ticket=ticket, answers=requests.output)
        check >> requests
        count >> EmptyOperator(task_id="promote_candidate")
