"""The documented policies grant what the adapter calls, name their resources, and pass the role to SageMaker alone."""

from __future__ import annotations

import json
import re
from typing import Any

from pipelines.settings import REPOSITORY

SERVICES = {"sagemaker": "sagemaker", "autoscaling": "application-autoscaling"}
"""Prefix of the actions of each client that the adapter calls; s3 is the store's."""
WITHOUT_RESOURCES = {"cloudwatch:GetMetricData", "cloudwatch:DescribeAlarms", "ecr:GetAuthorizationToken"}
"""Actions for which AWS knows no resources."""


def policies() -> list[dict[str, Any]]:
    page = (REPOSITORY / "docs" / "deploy-on-sagemaker.md").read_text()
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]


def actions(statement: dict[str, Any]) -> list[str]:
    named = statement["Action"]
    return [named] if isinstance(named, str) else named


def test_the_policy_grants_every_call_of_the_adapter_and_no_further_one_to_sagemaker() -> None:
    source = "".join(path.read_text() for path in (REPOSITORY / "pipelines/adapters/sagemaker").glob("*.py"))
    calls = set(re.findall(r"\.(sagemaker|autoscaling)\.([a-z_]+)\(", source))
    named = {f"{SERVICES[client]}:{''.join(map(str.title, name.split('_')))}" for client, name in calls}
    granted = {action for statement in policies()[0]["Statement"] for action in actions(statement)}
    assert len(named) > 8
    assert named == {action for action in granted if action.startswith(tuple(SERVICES.values()))}


def test_no_statement_is_about_everything() -> None:
    for policy in policies():
        for statement in policy["Statement"]:
            assert not any(action.endswith("*") for action in actions(statement))
            if statement["Resource"] == "*":
                assert set(actions(statement)) <= WITHOUT_RESOURCES


def test_the_role_is_passed_to_sagemaker_alone() -> None:
    [passing] = [each for each in policies()[0]["Statement"] if "iam:PassRole" in actions(each)]
    assert passing["Resource"].startswith("arn:aws:iam::123456789012:role/")
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
