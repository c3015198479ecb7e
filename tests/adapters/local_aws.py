"""AWS in this process: moto, and what moto lacks of SageMaker's endpoints.

moto knows no ``UpdateEndpoint`` and changes everything at once. Here an endpoint is busy for one look after each change
and takes no other meanwhile; an update to a configuration with a model whose image contains ``broken`` falls back
without a word, as SageMaker does: in service, with the configuration from before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from moto import mock_aws
from moto.core.responses import ActionResult
from moto.sagemaker.exceptions import AWSValidationException
from moto.sagemaker.models import SageMakerModelBackend
from moto.sagemaker.responses import SageMakerResponse

from pipelines.adapters.sagemaker.clients import SERVICES
from tests.adapters.s3_server import BUCKET, KEYS, REGION


@contextmanager
def local_aws() -> Iterator[dict[str, Any]]:
    """Clients by the name of their service, of an account with one bucket ``models``."""
    import boto3  # type: ignore[import-untyped]

    with pytest.MonkeyPatch.context() as patched, mock_aws():
        extend(patched)
        clients = {service: boto3.client(service, region_name=REGION, **KEYS) for service in SERVICES}
        clients["s3"].create_bucket(Bucket=BUCKET)
        yield clients


def extend(patched: pytest.MonkeyPatch) -> None:
    """Teach moto's SageMaker what it lacks."""
    create, weigh, describe = (
        SageMakerModelBackend.create_endpoint,
        SageMakerModelBackend.update_endpoint_weights_and_capacities,
        SageMakerModelBackend.describe_endpoint,
    )

    def settled(backend: Any, name: str) -> Any:
        endpoint = backend.endpoints.get(name)
        if endpoint is None:
            raise AWSValidationException(f'Could not find endpoint "{name}".')
        if endpoint.endpoint_status != "InService":
            raise AWSValidationException(f'Cannot update in-progress endpoint "{endpoint.arn}".')
        return endpoint

    def create_endpoint(backend: Any, endpoint_name: str, **arguments: Any) -> Any:
        if endpoint_name in backend.endpoints:
            raise AWSValidationException(f'Cannot create already existing endpoint "{endpoint_name}".')
        endpoint = create(backend, endpoint_name=endpoint_name, **arguments)
        endpoint.endpoint_status, endpoint.becomes = "Creating", {"endpoint_status": "InService"}
        return endpoint

    def update(backend: Any, name: str, config_name: str, retain: bool, excluded: set[str]) -> str:
        endpoint, config = settled(backend, name), backend.describe_endpoint_config(config_name)
        models = [backend._models[variant["ModelName"]] for variant in config["ProductionVariants"]]
        endpoint.endpoint_status = "Updating"
        if any("broken" in model.primary_container.get("Image", "") for model in models):
            endpoint.becomes = {"endpoint_status": "InService", "failure_reason": "the container did not pass its ping"}
            return str(endpoint.arn)
        former = {variant["VariantName"]: variant for variant in endpoint.production_variants}
        variants = endpoint._process_production_variants(config["ProductionVariants"])
        for variant in variants if retain else []:
            for kept in {"DesiredInstanceCount", "DesiredWeight"} - excluded:
                current = kept.replace("Desired", "Current")
                value = former.get(variant["VariantName"], {}).get(kept)
                if value is not None:
                    variant[kept] = variant[current] = value
        endpoint.becomes = {
            "endpoint_status": "InService",
            "failure_reason": None,
            "endpoint_config_name": config_name,
            "production_variants": variants,
            "data_capture_config": config.get("DataCaptureConfig"),
        }
        return str(endpoint.arn)

    def update_weights(backend: Any, endpoint_name: str, desired_weights_and_capacities: Any) -> Any:
        endpoint = settled(backend, endpoint_name)
        counts = {v["VariantName"]: v.get("CurrentInstanceCount") for v in endpoint.production_variants}
        arn = weigh(backend, endpoint_name, desired_weights_and_capacities)
        for variant in endpoint.production_variants:
            variant["CurrentInstanceCount"] = variant["DesiredInstanceCount"] = counts[variant["VariantName"]]
        endpoint.endpoint_status, endpoint.becomes = "Updating", {"endpoint_status": "InService"}
        return arn

    def describe_endpoint(backend: Any, endpoint_name: str) -> Any:
        found = describe(backend, endpoint_name)
        endpoint = backend.endpoints[endpoint_name]
        for name, value in endpoint.__dict__.pop("becomes", {}).items():
            setattr(endpoint, name, value)
        return {name: value for name, value in found.items() if name != "Becomes"}

    def respond(response: Any) -> ActionResult:
        excluded = {one["VariantPropertyType"] for one in response._get_param("ExcludeRetainedVariantProperties") or []}
        arn = update(
            response.sagemaker_backend,
            response._get_param("EndpointName"),
            response._get_param("EndpointConfigName"),
            bool(response._get_param("RetainAllVariantProperties")),
            excluded,
        )
        return ActionResult({"EndpointArn": arn})

    patched.setattr(SageMakerModelBackend, "create_endpoint", create_endpoint)
    patched.setattr(SageMakerModelBackend, "update_endpoint_weights_and_capacities", update_weights)
    patched.setattr(SageMakerModelBackend, "describe_endpoint", describe_endpoint)
    patched.setattr(SageMakerResponse, "update_endpoint", respond, raising=False)
