"""Describes, changes and waits for one endpoint of SageMaker: its configuration by name, its weights by variant."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.adapters.sagemaker.clients import AwsClients, NotFound, asking
from pipelines.adapters.sagemaker.record import parse_store
from pipelines.errors import Refused, Unavailable
from pipelines.rollout.transitions import WHOLE, Served
from pipelines.spec.deployment import Deployment, SageMaker

BUSY = frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack"})
POLL_SECONDS = 15.0
PATIENCE_SECONDS = 3600.0
"""How long one call waits for instances; the next try goes on waiting."""
BUNDLE = "/opt/ml/model"
"""Where SageMaker lays the files of a model in its container."""
log = logging.getLogger("airworthy.sagemaker")


@dataclass(frozen=True)
class ProductionVariant:
    """A variant that is wanted: ``share`` in basis points."""

    name: str
    served: Served
    share: int


@dataclass(frozen=True)
class EndpointDescription:
    """An endpoint as SageMaker describes it; ``models`` and ``shares`` (basis points) by variant."""

    status: str
    config: str
    models: dict[str, str]
    shares: dict[str, int]
    instances: dict[str, int]
    failure: str = ""


class SageMakerEndpoint:
    """One endpoint of SageMaker, made and changed as ``deployment`` declares."""

    def __init__(
        self,
        model: str,
        deployment: Deployment,
        clients: AwsClients,
        store: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        assert isinstance(deployment.target, SageMaker)
        self._model, self._deployment, self._declared = model, deployment, deployment.target
        self._aws, self._store, self._sleep = clients, store, sleep
        self.name = deployment.target.endpoint or model.replace("_", "-")

    # ---- what is there ----------------------------------------------------------------------------------------------

    def describe(self) -> EndpointDescription | None:
        """None where there is no such endpoint."""
        try:
            with asking(f"endpoint {self.name}"):
                endpoint = self._aws.sagemaker.describe_endpoint(EndpointName=self.name)
                config = self._aws.sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
        except NotFound:
            return None
        running = endpoint.get("ProductionVariants", [])
        weights = {v["VariantName"]: float(v.get("CurrentWeight") or 0) for v in running}
        total = sum(weights.values())
        return EndpointDescription(
            status=endpoint["EndpointStatus"],
            config=endpoint["EndpointConfigName"],
            models={v["VariantName"]: v["ModelName"] for v in config["ProductionVariants"]},
            shares={name: round(weight / total * WHOLE) if total else 0 for name, weight in weights.items()},
            instances={v["VariantName"]: v.get("CurrentInstanceCount") or 0 for v in running},
            failure=endpoint.get("FailureReason") or "",
        )

    def wait(self, patience: float = PATIENCE_SECONDS) -> EndpointDescription:
        """The endpoint once SageMaker is done with it. ``Unavailable`` if it is not within ``patience`` seconds."""
        waited = 0.0
        while True:
            seen = self.describe()
            if seen is None:
                raise Refused(f"endpoint {self.name} was deleted while a rollout went on; release a version again")
            if seen.status == "InService":
                return seen
            if seen.status not in BUSY:
                raise Refused(
                    f"endpoint {self.name} is {seen.status}: {seen.failure or 'SageMaker gives no reason'}",
                    [f"delete it (aws sagemaker delete-endpoint --endpoint-name {self.name}), then release a version"],
                )
            if waited >= patience:
                raise Unavailable(f"endpoint {self.name} is {seen.status} for {waited:.0f} s; the next try waits on")
            self._sleep(POLL_SECONDS)
            waited += POLL_SECONDS

    def holds(self, variants: Sequence[ProductionVariant], seen: EndpointDescription) -> bool:
        """Whether every wanted variant is there and serves the wanted bundle, at whatever weight."""
        return all(seen.models.get(v.name, "").startswith(self._identity(v.served)) for v in variants)

    def weighs(self, variants: Sequence[ProductionVariant], seen: EndpointDescription) -> bool:
        """Whether the traffic is split as wanted, to a basis point of rounding."""
        shares = {variant.name: variant.share for variant in variants}
        return all(abs(share - shares.get(name, 0)) <= 1 for name, share in seen.shares.items())

    # ---- what is to be ----------------------------------------------------------------------------------------------

    def create(self, variants: Sequence[ProductionVariant]) -> None:
        """The endpoint itself, for the first version of a model."""
        config = self.configure(variants, None)
        with asking(f"endpoint {self.name}"):
            self._aws.sagemaker.create_endpoint(EndpointName=self.name, EndpointConfigName=config)

    def configure(self, variants: Sequence[ProductionVariant], seen: EndpointDescription | None) -> str:
        """Name of the configuration with these variants; made unless it is there. None is ever deleted."""
        content: dict[str, Any] = {"ProductionVariants": [self._variant(variant, seen) for variant in variants]}
        capture = self._capture(seen)
        if capture:
            content["DataCaptureConfig"] = capture
        name = f"{self.name[:48]}-{_digest(content)[:12]}"
        self._make(
            "configuration",
            name,
            lambda: self._aws.sagemaker.describe_endpoint_config(EndpointConfigName=name),
            lambda: self._aws.sagemaker.create_endpoint_config(EndpointConfigName=name, **content),
        )
        return name

    def update(self, config: str, policy: dict[str, Any] | None = None) -> None:
        """Order the new configuration. Instance counts of variants that stay are kept, since scaling has moved them."""
        request: dict[str, Any] = {
            "EndpointName": self.name,
            "EndpointConfigName": config,
            "RetainAllVariantProperties": True,
            "ExcludeRetainedVariantProperties": [
                {"VariantPropertyType": "DesiredWeight"},
                {"VariantPropertyType": "DataCaptureConfig"},
            ],
        }
        if policy is not None:
            request["DeploymentConfig"] = policy
        with asking(f"the update of endpoint {self.name} to {config}"):
            self._aws.sagemaker.update_endpoint(**request)

    def weigh(self, variants: Sequence[ProductionVariant], seen: EndpointDescription) -> None:
        """Order the traffic; variants that are not wanted get none."""
        shares = dict.fromkeys(seen.shares, 0) | {variant.name: variant.share for variant in variants}
        weights = [{"VariantName": name, "DesiredWeight": float(share)} for name, share in shares.items()]
        with asking(f"the weights of endpoint {self.name}"):
            self._aws.sagemaker.update_endpoint_weights_and_capacities(
                EndpointName=self.name, DesiredWeightsAndCapacities=weights
            )

    def scale(self, variants: Sequence[ProductionVariant]) -> None:
        """Declare scaling of every wanted variant: requests per minute, as SageMaker counts them."""
        scaling = self._deployment.resources.autoscaling
        if scaling is None or not scaling.enabled:
            return
        size = self._deployment.resources
        for variant in variants:
            place = self._place(variant.name)
            with asking(f"scaling of {place['ResourceId']}"):
                self._aws.autoscaling.register_scalable_target(
                    **place,
                    MinCapacity=size.min_replicas or size.replicas,
                    MaxCapacity=size.max_replicas or size.replicas,
                )
                self._aws.autoscaling.put_scaling_policy(
                    **place,
                    PolicyName=f"{self.name}-invocations",
                    PolicyType="TargetTrackingScaling",
                    TargetTrackingScalingPolicyConfiguration={
                        "TargetValue": scaling.target_value * 60,
                        "PredefinedMetricSpecification": {
                            "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
                        },
                    },
                )

    def let_go(self, variants: Sequence[ProductionVariant], seen: EndpointDescription) -> None:
        """Order a configuration without the variants that are not wanted. Their weight is 0, so nobody waits for it."""
        names = {variant.name for variant in variants}
        surplus = [name for name in seen.models if name not in names]
        if not surplus:
            return
        try:
            for name in surplus:
                self._unscale(name)
            self.update(self.configure(variants, seen))
        except (Refused, Unavailable) as error:
            log.warning("%s keeps %s at weight 0 until its next change: %s", self.name, ", ".join(surplus), error)

    def register(self, served: Served) -> str:
        """Name of SageMaker's model of this bundle; made unless it is there."""
        if not served.bundle.startswith(("s3://", "s3a://")):
            raise Refused(f"{served.bundle} is not on S3, so SageMaker cannot read it; set AIRWORTHY_STORE to s3://…")
        bucket, prefix = parse_store(served.bundle)
        with asking(f"bundle {served.bundle}"):
            listed = self._aws.s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
        if not listed.get("KeyCount"):
            raise Refused(f"there is no bundle at {served.bundle}; build it by {self._model}__deploy")
        container = {
            "Image": self._declared.image,
            "ModelDataSource": {
                "S3DataSource": {
                    "S3Uri": f"s3://{bucket}/{prefix}",
                    "S3DataType": "S3Prefix",
                    "CompressionType": "None",
                }
            },
            "Environment": {
                "AIRWORTHY_SERVE_MODEL": self._model,
                "AIRWORTHY_SERVE_VERSION": served.version,
                "AIRWORTHY_SERVE_SHA256": served.sha256,
                "AIRWORTHY_SERVE_BUNDLE": BUNDLE,
                "AIRWORTHY_STORE": self._store,
            },
        }
        content = {"PrimaryContainer": container, "ExecutionRoleArn": self._declared.role_arn}
        name = f"{self._identity(served)}{_digest(content)[:6]}"
        self._make(
            "model",
            name,
            lambda: self._aws.sagemaker.describe_model(ModelName=name),
            lambda: self._aws.sagemaker.create_model(ModelName=name, **content),
        )
        return name

    # ---- parts ------------------------------------------------------------------------------------------------------

    def _variant(self, variant: ProductionVariant, seen: EndpointDescription | None) -> dict[str, Any]:
        """One that is there keeps the model it runs, even if the declared image is another one by now."""
        there = seen.models.get(variant.name, "") if seen else ""
        content = {
            "VariantName": variant.name,
            "ModelName": there if there.startswith(self._identity(variant.served)) else self.register(variant.served),
            "InstanceType": self._declared.instance_type,
            "InitialInstanceCount": self._deployment.resources.replicas,
            "InitialVariantWeight": float(variant.share),
        }
        if self._deployment.health_check.initial_delay:
            content["ContainerStartupHealthCheckTimeoutInSeconds"] = self._deployment.health_check.initial_delay
        if self._deployment.load_balancing.algorithm == "least-connections":
            content["RoutingConfig"] = {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}
        return content

    def _capture(self, seen: EndpointDescription | None) -> dict[str, Any] | None:
        """What is declared, else what the endpoint has now: a new configuration would drop it without a word."""
        if self._declared.data_capture:
            return {
                "EnableCapture": True,
                "InitialSamplingPercentage": 100,
                "DestinationS3Uri": self._declared.data_capture,
                "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
                "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
            }
        if seen is None:
            return None
        with asking(f"configuration {seen.config}"):
            config = self._aws.sagemaker.describe_endpoint_config(EndpointConfigName=seen.config)
        return config.get("DataCaptureConfig") or None

    def _make(self, kind: str, name: str, describe: Callable[[], Any], create: Callable[[], Any]) -> None:
        """Names hold a digest of the content, so one that is there is the right one."""
        try:
            with asking(f"{kind} {name}"):
                describe()
        except NotFound:
            try:
                with asking(f"{kind} {name}"):
                    create()
            except Refused as error:
                if "already exist" not in str(error):
                    raise

    def _unscale(self, variant: str) -> None:
        if self._deployment.resources.autoscaling is None:
            return
        place = self._place(variant)
        try:
            with asking(f"scaling of {place['ResourceId']}"):
                self._aws.autoscaling.deregister_scalable_target(**place)
        except NotFound:
            return

    def _place(self, variant: str) -> dict[str, str]:
        return {
            "ServiceNamespace": "sagemaker",
            "ResourceId": f"endpoint/{self.name}/variant/{variant}",
            "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        }

    def _identity(self, served: Served) -> str:
        """What the names of all models of one bundle begin with."""
        version = re.sub(r"[^A-Za-z0-9]+", "-", served.version).strip("-")[:12]
        return f"{self.name[:28]}-{version}-{served.sha256[:10]}-"


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
