"""What SageMaker is told, and what its answers mean, by botocore's own description of both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.stub import Stubber

from pipelines.adapters.sagemaker.clients import SERVICES, AwsClients
from pipelines.adapters.sagemaker.endpoint import POLL_SECONDS, SageMakerEndpoint
from pipelines.adapters.sagemaker.guardrail import guarded_config
from pipelines.errors import Refused, Unavailable
from pipelines.spec.deployment import Deployment
from tests.adapters.s3_server import KEYS, REGION

ARN = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/flights"
CONFIG_ARN = "arn:aws:sagemaker:us-east-1:123456789012:endpoint-config/flights"
DECLARED: dict[str, Any] = {
    "strategy": "canary",
    "canary": {"steps": [10], "increment_interval": 600},
    "target": {
        "kind": "sagemaker",
        "endpoint": "flights",
        "role_arn": "arn:aws:iam::123456789012:role/airworthy",
        "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/airworthy:step",
        "instance_type": "ml.m5.large",
        "mode": "guardrail",
        "alarms": ["errors"],
    },
}


class Stage:
    """One endpoint before a SageMaker that answers what it is scripted to, and refuses any other call."""

    def __init__(self) -> None:
        import boto3  # type: ignore[import-untyped]

        sagemaker, *others = (boto3.client(service, region_name=REGION, **KEYS) for service in SERVICES)
        self.script = Stubber(sagemaker)
        self.deployment = Deployment.model_validate(DECLARED)
        self.slept: list[float] = []
        clients = AwsClients(sagemaker, *others)
        self.endpoint = SageMakerEndpoint(
            "flight_delay", self.deployment, clients, "s3://models/air", sleep=self.slept.append
        )

    def describes(self, status: str, config: str, failure: str = "") -> None:
        """The next look finds this."""
        found: dict[str, Any] = {
            "EndpointName": "flights",
            "EndpointArn": ARN,
            "EndpointConfigName": config,
            "EndpointStatus": status,
            "CreationTime": "2026-11-20T12:00:00Z",
            "LastModifiedTime": "2026-11-20T12:00:00Z",
            "ProductionVariants": [{"VariantName": "live", "CurrentWeight": 1.0, "CurrentInstanceCount": 2}],
        }
        if failure:
            found["FailureReason"] = failure
        self.script.add_response("describe_endpoint", found, {"EndpointName": "flights"})
        variants = [{"VariantName": "live", "ModelName": f"model-of-{config}"}]
        described = {
            "EndpointConfigName": config,
            "EndpointConfigArn": CONFIG_ARN,
            "ProductionVariants": variants,
            "CreationTime": "2026-11-20T12:00:00Z",
        }
        self.script.add_response("describe_endpoint_config", described, {"EndpointConfigName": config})


@pytest.fixture
def stage() -> Iterator[Stage]:
    found = Stage()
    with found.script:
        yield found
    found.script.assert_no_pending_responses()


def test_an_update_names_the_configuration_the_shift_and_the_alarms_and_keeps_what_scaling_has_set(
    stage: Stage,
) -> None:
    asked = {
        "EndpointName": "flights",
        "EndpointConfigName": "flights-new",
        "RetainAllVariantProperties": True,
        "ExcludeRetainedVariantProperties": [
            {"VariantPropertyType": "DesiredWeight"},
            {"VariantPropertyType": "DataCaptureConfig"},
        ],
        "DeploymentConfig": {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {
                    "Type": "CANARY",
                    "WaitIntervalInSeconds": 600,
                    "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 10},
                },
                "TerminationWaitInSeconds": 3600,
                "MaximumExecutionTimeoutInSeconds": 600 + 3600 + 1800,
            },
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]},
        },
    }
    stage.script.add_response("update_endpoint", {"EndpointArn": ARN}, asked)
    stage.endpoint.update("flights-new", guarded_config(stage.deployment))


@pytest.mark.parametrize(
    ("looks", "config"),
    [
        ([("Updating", "flights-old"), ("Updating", "flights-old"), ("InService", "flights-new")], "flights-new"),
        ([("Updating", "flights-old"), ("RollingBack", "flights-old"), ("InService", "flights-old")], "flights-old"),
        ([("SystemUpdating", "flights-new"), ("InService", "flights-new")], "flights-new"),
    ],
)
def test_a_wait_ends_in_service_and_says_with_which_configuration(
    stage: Stage, looks: list[tuple[str, str]], config: str
) -> None:
    for look in looks:
        stage.describes(*look)
    seen = stage.endpoint.wait()
    assert (seen.status, seen.config, seen.models) == ("InService", config, {"live": f"model-of-{config}"})
    assert (seen.shares, seen.instances) == ({"live": 10_000}, {"live": 2})
    assert stage.slept == [POLL_SECONDS] * (len(looks) - 1)


@pytest.mark.parametrize("status", ["Failed", "OutOfService", "UpdateRollbackFailed", "Deleting"])
def test_an_endpoint_that_will_not_serve_again_is_refused_with_its_reason(stage: Stage, status: str) -> None:
    stage.describes("Updating", "flights-old")
    stage.describes(status, "flights-old", "no capacity for ml.m5.large")
    with pytest.raises(Refused, match=f"{status}: no capacity") as refused:
        stage.endpoint.wait()
    assert "delete it" in str(refused.value)


def test_an_endpoint_that_takes_too_long_is_waited_for_by_the_next_try(stage: Stage) -> None:
    for _ in range(3):
        stage.describes("Updating", "flights-old")
    with pytest.raises(Unavailable, match="Updating for 30 s"):
        stage.endpoint.wait(seconds=2 * POLL_SECONDS)


@pytest.mark.parametrize(
    ("code", "status", "meant"),
    [
        ("ThrottlingException", 400, Unavailable),
        ("ServiceUnavailable", 503, Unavailable),
        ("AccessDeniedException", 400, Refused),
        ("ResourceLimitExceeded", 400, Refused),
    ],
)
def test_what_a_later_try_may_find_done_is_unavailable_and_all_else_refused(
    stage: Stage, code: str, status: int, meant: type[Exception]
) -> None:
    stage.script.add_client_error("update_endpoint", code, "said AWS", http_status_code=status)
    with pytest.raises(meant):
        stage.endpoint.update("flights-new")


def test_an_endpoint_that_is_not_there_is_none(stage: Stage) -> None:
    stage.script.add_client_error("describe_endpoint", "ValidationException", 'Could not find endpoint "flights".')
    assert stage.endpoint.describe() is None
