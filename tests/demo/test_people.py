"""Whoever trains in the demonstration is an approver, and for every answer there is somebody else."""

from __future__ import annotations

from pipelines.cli.components import AIRFLOW_USERS
from pipelines.demo.people import TRAINER
from pipelines.settings import REPOSITORY
from pipelines.spec.catalog import Catalog


def test_every_approval_can_be_given_by_somebody_who_did_not_train() -> None:
    approvals = [spec.deployment.approval for spec in Catalog.read(REPOSITORY / "include").models.values()]
    approvers = [approver for approval in approvals for approver in approval.approvers]
    assert any(TRAINER in approver.users for approver in approvers)
    for approver in approvers:
        assert len((set(approver.users) & set(AIRFLOW_USERS)) - {TRAINER}) >= approver.count, approver.role
