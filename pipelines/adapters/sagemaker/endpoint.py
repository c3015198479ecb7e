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

from pipelines.adapters.sagemaker.clients import AwsClients, NotFound, aws_errors
from pipelines.adapters.sagemaker.record import parse_s3_store
from pipelines.errors import Refused, Unavailable
from pipelines.rollout.transitions import FULL_SHARE, Served
from pipelines.spec.deployment import Deployment, SageMaker

BUSY_STATUSES = frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack"})
POLL_SECONDS = 15.0
WAIT_SECONDS = 3600.0
"""How long one call waits for instances; a retry continues to wait."""
CONTAINER_MODEL_FOLDER = "/opt/ml/model"
"""Folder of a model's files in SageMaker's containers."""
log = logging.getLogger("airworthy.sagemaker")


@dataclass(frozen=True)
class ProductionVariant:
    """A variant that the endpoint should have; ``share`` in basis points."""

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
    """One endpoint of SageMaker, created and changed as ``deployment`` declares."""

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

    # ---- the current endpoint ---------------------------------------------------------------------------------------

    def describe(self) -> EndpointDescription | None:
        """The endpoint as it is now; None if it does not exist."""
        try:
            with aws_errors(f"endpoint {self.name}"):
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
            shares={name: round(weight / total * FULL_SHARE) if total else 0 for name, weight in weights.items()},
            instances={v["VariantName"]: v.get("CurrentInstanceCount") or 0 for v in running},
            failure=endpoint.get("FailureReason") or "",
        )

    def wait(self, seconds: float = WAIT_SECONDS) -> EndpointDescription:
        """The endpoint once it is in service. ``Unavailable`` if SageMaker still changes it after ``seconds``."""
        waited = 0.0
        while True:
            current = self.describe()
            if current is None:
                raise Refused(f"endpoint {self.name} was deleted during a rollout; release a version again")
            if current.status == "InService":
                return current
            if current.status not in BUSY_STATUSES:
                raise Refused(
                    f"endpoint {self.name} is {current.status}: {current.failure or 'SageMaker gives no reason'}",
                    [f"delete it (aws sagemaker delete-endpoint --endpoint-name {self.name}), then release a version"],
                )
            if waited >= seconds:
                raise Unavailable(f"endpoint {self.name} is {current.status} for {waited:.0f} s; a retry waits on")
            self._sleep(POLL_SECONDS)
            waited += POLL_SECONDS

    def serves(self, variants: Sequence[ProductionVariant], current: EndpointDescription) -> bool:
        """Whether the endpoint has every variant with its bundle, at any weight."""
        return all(current.models.get(v.name, "").startswith(self._prefix(v.served)) for v in variants)

    def has_shares(self, variants: Sequence[ProductionVariant], current: EndpointDescription) -> bool:
        """Whether the traffic is split by the variants' shares, up to one basis point of rounding."""
        shares = {variant.name: variant.share for variant in variants}
        return all(abs(share - shares.get(name, 0)) <= 1 for name, share in current.shares.items())

    # ---- changes ----------------------------------------------------------------------------------------------------

    def create(self, variants: Sequence[ProductionVariant]) -> None:
        """Create the endpoint, for the first version of a model."""
        config = self.ensure_config(variants, None)
        with aws_errors(f"endpoint {self.name}"):
            self._aws.sagemaker.create_endpoint(EndpointName=self.name, EndpointConfigName=config)

    def ensure_config(self, variants: Sequence[ProductionVariant], current: EndpointDescription | None) -> str:
        """Name of the configuration with these variants, created if it is missing. None is ever deleted."""
        content: dict[str, Any] = {
            "ProductionVariants": [self._variant_config(variant, current) for variant in variants]
        }
        capture = self._data_capture(current)
        if capture:
            content["DataCaptureConfig"] = capture
        name = f"{self.name[:48]}-{_digest(content)[:12]}"
        self._create_if_missing(
            "configuration",
            name,
            lambda: self._aws.sagemaker.describe_endpoint_config(EndpointConfigName=name),
            lambda: self._aws.sagemaker.create_endpoint_config(EndpointConfigName=name, **content),
        )
        return name

    def update(self, config: str, policy: dict[str, Any] | None = None) -> None:
        """Request the new configuration. Variants that stay keep the instance counts that scaling has set."""
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
        with aws_errors(f"the update of endpoint {self.name} to {config}"):
            self._aws.sagemaker.update_endpoint(**request)

    def set_weights(self, variants: Sequence[ProductionVariant], current: EndpointDescription) -> None:
        """Request the traffic split; variants that are not in ``variants`` get weight 0."""
        shares = dict.fromkeys(current.shares, 0) | {variant.name: variant.share for variant in variants}
        weights = [{"VariantName": name, "DesiredWeight": float(share)} for name, share in shares.items()]
        with aws_errors(f"the weights of endpoint {self.name}"):
            self._aws.sagemaker.update_endpoint_weights_and_capacities(
                EndpointName=self.name, DesiredWeightsAndCapacities=weights
            )

    def declare_autoscaling(self, variants: Sequence[ProductionVariant]) -> None:
        """Declare scaling of every variant, in requests per minute as SageMaker counts them."""
        scaling = self._deployment.resources.autoscaling
        if scaling is None or not scaling.enabled:
            return
        size = self._deployment.resources
        for variant in variants:
            scalable = self._scalable_target(variant.name)
            with aws_errors(f"scaling of {scalable['ResourceId']}"):
                self._aws.autoscaling.register_scalable_target(
                    **scalable,
                    MinCapacity=size.min_replicas or size.replicas,
                    MaxCapacity=size.max_replicas or size.replicas,
                )
                self._aws.autoscaling.put_scaling_policy(
                    **scalable,
                    PolicyName=f"{self.name}-invocations",
                    PolicyType="TargetTrackingScaling",
                    TargetTrackingScalingPolicyConfiguration={
                        "TargetValue": scaling.target_value * 60,
                        "PredefinedMetricSpecification": {
                            "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
                        },
                    },
                )

    def remove_other_variants(self, variants: Sequence[ProductionVariant], current: EndpointDescription) -> None:
        """Request a configuration with ``variants`` only, without waiting: all others already have weight 0."""
        names = {variant.name for variant in variants}
        surplus = [name for name in current.models if name not in names]
        if not surplus:
            return
        try:
            for name in surplus:
                self._remove_scaling(name)
            self.update(self.ensure_config(variants, current))
        except (Refused, Unavailable) as error:
            log.warning(
                "endpoint %s keeps variants %s at weight 0 until its next change: %s",
                self.name,
                ", ".join(surplus),
                error,
            )

    def ensure_model(self, served: Served) -> str:
        """Name of SageMaker's model of this bundle, created if it is missing."""
        if not served.bundle.startswith(("s3://", "s3a://")):
            raise Refused(f"{served.bundle} is not on S3, so SageMaker cannot read it; set AIRWORTHY_STORE to s3://…")
        bucket, prefix = parse_s3_store(served.bundle)
        with aws_errors(f"bundle {served.bundle}"):
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
                "AIRWORTHY_SERVE_BUNDLE": CONTAINER_MODEL_FOLDER,
                "AIRWORTHY_STORE": self._store,
            },
        }
        content = {"PrimaryContainer": container, "ExecutionRoleArn": self._declared.role_arn}
        name = f"{self._prefix(served)}{_digest(content)[:6]}"
        self._create_if_missing(
            "model",
            name,
            lambda: self._aws.sagemaker.describe_model(ModelName=name),
            lambda: self._aws.sagemaker.create_model(ModelName=name, **content),
        )
        return name

    # ---- parts ------------------------------------------------------------------------------------------------------

    def _variant_config(self, variant: ProductionVariant, current: EndpointDescription | None) -> dict[str, Any]:
        """Configuration of one variant; an existing variant keeps its model even if the declared image has changed."""
        name = current.models.get(variant.name, "") if current else ""
        content = {
            "VariantName": variant.name,
            "ModelName": name if name.startswith(self._prefix(variant.served)) else self.ensure_model(variant.served),
            "InstanceType": self._declared.instance_type,
            "InitialInstanceCount": self._deployment.resources.replicas,
            "InitialVariantWeight": float(variant.share),
        }
        if self._deployment.health_check.initial_delay:
            content["ContainerStartupHealthCheckTimeoutInSeconds"] = self._deployment.health_check.initial_delay
        if self._deployment.load_balancing.algorithm == "least-connections":
            content["RoutingConfig"] = {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}
        return content

    def _data_capture(self, current: EndpointDescription | None) -> dict[str, Any] | None:
        """The declared data capture, else the endpoint's current one, which a new configuration would drop."""
        if self._declared.data_capture:
            return {
                "EnableCapture": True,
                "InitialSamplingPercentage": 100,
                "DestinationS3Uri": self._declared.data_capture,
                "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
                "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
            }
        if current is None:
            return None
        with aws_errors(f"configuration {current.config}"):
            config = self._aws.sagemaker.describe_endpoint_config(EndpointConfigName=current.config)
        return config.get("DataCaptureConfig") or None

    def _create_if_missing(self, kind: str, name: str, describe: Callable[[], Any], create: Callable[[], Any]) -> None:
        """Create an object unless its name exists; names contain a digest of the content."""
        try:
            with aws_errors(f"{kind} {name}"):
                describe()
        except NotFound:
            try:
                with aws_errors(f"{kind} {name}"):
                    create()
            except Refused as error:
                if "already exist" not in str(error):
                    raise

    def _remove_scaling(self, variant: str) -> None:
        if self._deployment.resources.autoscaling is None:
            return
        scalable = self._scalable_target(variant)
        try:
            with aws_errors(f"scaling of {scalable['ResourceId']}"):
                self._aws.autoscaling.deregister_scalable_target(**scalable)
        except NotFound:
            return

    def _scalable_target(self, variant: str) -> dict[str, str]:
        return {
            "ServiceNamespace": "sagemaker",
            "ResourceId": f"endpoint/{self.name}/variant/{variant}",
            "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        }

    def _prefix(self, served: Served) -> str:
        """The prefix of the names of all SageMaker models of one bundle."""
        version = re.sub(r"[^A-Za-z0-9]+", "-", served.version).strip("-")[:12]
        return f"{self.name[:28]}-{version}-{served.sha256[:10]}-"


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
