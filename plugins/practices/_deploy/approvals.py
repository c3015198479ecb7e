"""Builds one approval request for each answer that a model's deployment requires."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pipelines.spec.model import ModelSpec

if TYPE_CHECKING:
    from airflow.sdk.definitions.mappedoperator import MappedOperator

REQUEST_TASK = "request_approvals"


def ask_approvers(spec: ModelSpec, ticket: Any, **arguments: Any) -> MappedOperator:
    """One request per answer that ``deployment.approval`` requires; ``ApprovalQuorum`` counts ``.output``.

    ``ticket`` is the ``RolloutTicket`` of the run's first task; ``arguments`` are passed to the tasks.
    """
    from practices._approvals.request import ApprovalRequest  # its imports would slow down DAG parsing

    approval = spec.deployment.approval
    roles = [approver.role for approver in approval.approvers for _ in range(approver.count)]
    return ApprovalRequest.partial(
        **{"task_id": REQUEST_TASK, "map_index_template": "{{ task.role }}", **arguments},
        model=spec.model,
        ticket=ticket,
        response_timeout=timedelta(seconds=approval.timeout),
    ).expand(role=roles)
