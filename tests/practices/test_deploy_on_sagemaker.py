"""The practices of a deploy run come to the same ends on SageMaker as anywhere else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from pipelines.adapters.sagemaker.changes import EndpointChanges
from pipelines.adapters.sagemaker.clients import AwsClients
from pipelines.adapters.sagemaker.target import SageMakerTarget
from pipelines.messages.rollout import RolloutTicket
from pipelines.spec.deployment import Deployment
from pipelines.spec.strategy import BlueGreen
from tests.adapters.local_aws import local_aws
from tests.adapters.s3_server import BUCKET
from tests.practices.deploy_run import CANARY, DeployRun
from tests.practices.practice_harness import MODEL, PracticeHarness

STORE = f"s3://{BUCKET}/air"
TICKET = RolloutTicket(
    model=MODEL, version="5", rollout_id="r5", champion="4", bundle=f"{STORE}/5/", sha256="s5", model_digest="d5"
)
SAGEMAKER = {
    "kind": "sagemaker",
    "endpoint": "flights",
    "role_arn": "arn:aws:iam::123456789012:role/airworthy",
    "image": "airworthy:step",
    "instance_type": "ml.m5.large",
}


class Met(SageMakerTarget):
    """A target of which CloudWatch is told what its variants did."""

    down = False
    clients: AwsClients
    clock: Any

    def add_counts(self, model: str, version: str, role: str, *, requests: int, failed: int = 0) -> None:
        dimensions = [{"Name": "EndpointName", "Value": "flights"}, {"Name": "VariantName", "Value": f"v{version}"}]
        values = {"Invocations": requests, "Invocation5XXErrors": failed}
        told = [
            {"MetricName": name, "Dimensions": dimensions, "Timestamp": self.clock(), "Value": float(value)}
            for name, value in values.items()
        ]
        self.clients.cloudwatch.put_metric_data(Namespace="AWS/SageMaker", MetricData=told)


@pytest.fixture
def aws() -> Iterator[AwsClients]:
    with local_aws() as clients:
        made = AwsClients(*clients.values())
        for version in "45":
            made.s3.put_object(Bucket=BUCKET, Key=f"air/{version}/bundle.json", Body=b"{}")
        yield made


def played(
    harness: PracticeHarness, aws: AwsClients, declared: Deployment, *, image: str = "", **target: Any
) -> DeployRun:
    """A run of version 5, in an image of its own if one is named, where version 4 is live on the endpoint."""
    times: list[Any] = [harness.clock]

    def on(**more: Any) -> Met:
        block = Deployment.model_validate({"target": SAGEMAKER | target | more}).target
        there = declared.model_copy(update={"target": block})
        return Met(EndpointChanges(MODEL, there, aws, STORE, now=lambda: times[-1](), sleep=wait))

    def wait(seconds: float) -> None:
        times[-1].advance(timedelta(seconds=seconds))

    on().release(MODEL, "4", f"{STORE}/4/", "s4", key="first")
    made = on(**({"image": image} if image else {}))
    run = DeployRun(harness, declared, TICKET, made)
    made.clients, made.clock = aws, run.clock
    times.append(run.clock)
    block = Deployment.model_validate({"target": SAGEMAKER | target}).target
    harness.declare(deployment=declared.model_copy(update={"target": block}))
    return run


def endpoint(aws: AwsClients) -> dict[str, Any]:
    for _ in range(3):
        found: dict[str, Any] = aws.sagemaker.describe_endpoint(EndpointName="flights")
    return {v["VariantName"]: v.get("CurrentWeight") for v in found["ProductionVariants"]}


def test_a_good_candidate_climbs_by_the_weights_of_two_variants_and_is_promoted(
    harness: PracticeHarness, aws: AwsClients
) -> None:
    run = played(harness, aws, CANARY)
    assert set(run.play().values()) == {"success"}, run.reasons
    assert (run.state.champion, run.state.phase, run.state.previous) == ("5", "SUCCEEDED", "4")
    assert endpoint(aws) == {"v5": 10_000}
    assert harness.registry.aliases["champion"] == "5"


def test_a_bad_candidate_is_found_by_cloudwatch_and_loses_its_weight(harness: PracticeHarness, aws: AwsClients) -> None:
    run = played(harness, aws, CANARY)
    run.bad = 40
    assert run.play()["judge_at_5"] == "failed"
    assert (run.state.champion, run.state.phase, run.state.split) == ("4", "ROLLED_BACK", {"4": 10_000})
    assert endpoint(aws) == {"v4": 10_000}


@pytest.mark.parametrize("death", [5, 14, 21])
def test_a_run_whose_worker_dies_still_ends_with_the_candidate_promoted(
    harness: PracticeHarness, aws: AwsClients, death: int
) -> None:
    run = played(harness, aws, CANARY)
    run.kill_at = (death, "after")
    assert set(run.play().values()) == {"success"}, run.reasons
    assert (run.state.champion, run.state.phase, run.state.applied) == ("5", "SUCCEEDED", True)
    assert endpoint(aws) == {"v5": 10_000}


def test_a_guarded_promotion_that_aws_takes_back_fails_the_run_and_leaves_the_champion(
    harness: PracticeHarness, aws: AwsClients
) -> None:
    declared = Deployment(strategy="blue_green", blue_green=BlueGreen(validation_duration=600))
    run = played(harness, aws, declared, image="broken", mode="guardrail", alarms=["errors"])
    states = run.play()
    assert (states["prepare_candidate"], states["promote_candidate"]) == ("success", "failed")
    assert "by the former" in run.reasons["promote_candidate"][0]
    assert (run.state.champion, run.state.phase, run.state.split) == ("4", "ROLLED_BACK", {"4": 10_000})
    assert states["end_rollout"] == "success"
    assert harness.registry.aliases["champion"] == "4"
