"""The documented policies grant what the adapter calls, name their resources, and pass the role to SageMaker alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from pipelines.serving.files import read_file, write_file
from pipelines.settings import REPOSITORY
from tests.adapters.iam_policy import allows, documented_policies, s3_request
from tests.adapters.s3_server import S3Server, s3_server

SERVICES = {"sagemaker": "sagemaker", "autoscaling": "application-autoscaling"}
"""Prefix of the actions of each client that the adapter calls; s3 is the store's."""
WITHOUT_RESOURCES = {"cloudwatch:GetMetricData", "cloudwatch:DescribeAlarms", "ecr:GetAuthorizationToken"}
"""Actions for which AWS knows no resources."""
ARN = "arn:aws:sagemaker:eu-central-1:123456789012"
ROLE = "arn:aws:iam::123456789012:role"
STORE = "arn:aws:s3:::models/airworthy"


def policies() -> list[dict[str, Any]]:
    """That of the connection's identity and that of the role of the containers."""
    return documented_policies("deploy-on-sagemaker.md")


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


@pytest.mark.parametrize(
    ("action", "resource", "service", "granted"),
    [
        ("iam:PassRole", f"{ROLE}/airworthy-serving", "sagemaker.amazonaws.com", True),
        ("iam:PassRole", f"{ROLE}/airworthy-serving", "ec2.amazonaws.com", False),
        ("iam:PassRole", f"{ROLE}/airworthy-serving", None, False),
        ("iam:PassRole", f"{ROLE}/administrator", "sagemaker.amazonaws.com", False),
        ("sagemaker:UpdateEndpoint", f"{ARN}:endpoint/flight-delay", None, True),
        ("sagemaker:CreateModel", f"{ARN}:model/flight-delay-3", None, True),
        ("sagemaker:UpdateEndpoint", f"{ARN}:endpoint/payments", None, False),
        ("sagemaker:CreateModel", f"{ARN}:model/payments-3", None, False),
        ("sagemaker:CreateTrainingJob", f"{ARN}:training-job/flight-delay-3", None, False),
        ("sagemaker:DeleteEndpoint", f"{ARN}:endpoint/flight-delay", None, False),
        ("s3:GetObject", f"{STORE}/bundles/flight_delay/3/model.onnx", None, False),
    ],
)
def test_the_connection_changes_its_own_endpoint_and_passes_its_role_to_sagemaker_alone(
    action: str, resource: str, service: str | None, granted: bool
) -> None:
    context = {"iam:PassedToService": service} if service else {}
    assert allows(policies()[:1], action, resource, context) is granted


# ---- the role of the containers --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running_server:
        yield running_server


def test_the_role_may_make_every_request_by_which_a_container_fetches_a_bundle_and_logs_predictions(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.options.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", server.options["AWS_REGION"])
    server.client("s3").put_object(Bucket="models", Key="airworthy/bundles/flight_delay/3/bundle.json", Body=b"{}")
    prepared = len(server.served())
    assert read_file("s3://models/airworthy/bundles/flight_delay/3/bundle.json") == b"{}"
    for content in (b"some", b"x" * 6_000_000):
        write_file("s3://models/airworthy/predictions/flight_delay/date=2013-03-01/part-1.parquet", content)
    requests = [s3_request(method, address) for method, address, _ in server.served()[prepared:]]
    assert {"s3:GetObject", "s3:PutObject"} <= {action for action, *_ in requests}
    assert [request for request in requests if not allows(policies()[1:], *request)] == []


@pytest.mark.parametrize(
    ("action", "key"),
    [
        *(("s3:PutObject", f"{folder}/x") for folder in ("bundles", "ledger", "approvals", "landing", "declarations")),
        *(("s3:GetObject", f"{folder}/x") for folder in ("predictions", "ledger", "snapshots", "features")),
        ("s3:DeleteObject", "predictions/flight_delay/x"),
        ("s3:DeleteObject", "bundles/flight_delay/3/bundle.json"),
    ],
)
def test_a_container_that_was_taken_over_reads_bundles_adds_predictions_and_nothing_else(action: str, key: str) -> None:
    assert not allows(policies()[1:], action, f"{STORE}/{key}")
    assert not allows(policies()[1:], "s3:ListBucket", "arn:aws:s3:::models", {"s3:prefix": f"airworthy/ledger/{key}"})
