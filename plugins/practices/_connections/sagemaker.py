"""Opens the boto3 clients of a SageMaker target by an Airflow connection, and caches them for five minutes."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from practices._connections import amazon

if TYPE_CHECKING:
    from pipelines.adapters.sagemaker.clients import AwsClients


class CachedAwsClients:
    """boto3 clients by Airflow connection; None: by the environment.

    Cached because a trigger uses them every few seconds, and opened again after five minutes because the connection
    may have changed. ``Refused`` for a missing or unusable connection, ``Unavailable`` if AWS gives no credentials now.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened: dict[str | None, tuple[float, AwsClients]] = {}

    def __call__(self, connection: str | None) -> AwsClients:
        with self._lock:
            opened_at, clients = self._opened.get(connection, (0.0, None))
            if clients is None or time.monotonic() - opened_at > amazon.REREAD_SECONDS:
                clients = open_clients(connection)
                self._opened[connection] = (time.monotonic(), clients)
            return clients


def open_clients(connection: str | None) -> AwsClients:
    """Clients of every service that a SageMaker target needs."""
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from pipelines.adapters.sagemaker.clients import CLIENT_CONFIG, SERVICES, AwsClients

    with amazon.translate_errors(connection):
        region = None if connection else os.environ.get("AWS_REGION")
        hooks = [
            amazon.open_hook(connection, service, config=CLIENT_CONFIG, region_name=region) for service in SERVICES[1:]
        ]
        sagemaker = SageMakerHook(  # type: ignore[no-untyped-call]
            aws_conn_id=connection, config=CLIENT_CONFIG, region_name=region
        )
        return AwsClients(sagemaker.conn, *(hook.conn for hook in hooks))
