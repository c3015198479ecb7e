"""A SageMaker target speaks to AWS by one connection of Airflow, with the provider's hooks and with patience."""

from __future__ import annotations

import os

from pipelines.adapters.amazon import PATIENCE, Clients
from practices import _amazon


def open_clients(connection: str | None) -> Clients:
    """boto3 clients by an Airflow connection; None: by what the environment says.

    ``Refused`` for a connection that is not there or not usable, ``Unavailable`` if AWS gives no credentials now.
    """
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    with _amazon.speaking(connection):
        named = ("s3", "cloudwatch", "application-autoscaling")
        region = None if connection else os.environ.get("AWS_REGION")
        others = [_amazon.open_hook(connection, service, config=PATIENCE, region_name=region) for service in named]
        sagemaker = SageMakerHook(  # type: ignore[no-untyped-call]
            aws_conn_id=connection, config=PATIENCE, region_name=region
        )
        return Clients(sagemaker.conn, *(hook.conn for hook in others))
