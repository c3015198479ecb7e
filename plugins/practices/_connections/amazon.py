"""Opens AWS clients and storage options by an Airflow connection; credentials are renewed and masked in logs."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipelines.errors import Refused, Unavailable

REREAD_SECONDS = 300.0
"""How long a process uses a connection before it reads it again; the triggerer runs for months."""
log = logging.getLogger(__name__)


class StoreConnection:
    """Storage options for the store at ``root`` from the Airflow connection ``connection``.

    Called before each use of the store, from any thread. Credentials of an assumed role, an instance or a pod are
    renewed by botocore some minutes before they expire; those in the connection are read again every five minutes.
    If reading fails, the present ones are used until the storage rejects them.
    """

    def __init__(self, connection: str, root: str) -> None:
        self._connection, self._root = connection, root
        self._lock = threading.Lock()
        self._opened: tuple[float, dict[str, str], Any] | None = None
        self._masked: frozenset[str] = frozenset()

    def __call__(self) -> dict[str, str]:
        """``Refused`` for a missing or unusable connection, ``Unavailable`` if STS does not answer."""
        with self._lock, translate_errors(self._connection):
            if self._opened is None or time.monotonic() - self._opened[0] > REREAD_SECONDS:
                self._opened = self._reopen()
            _, region, credentials = self._opened
            frozen = credentials.get_frozen_credentials()
            self._masked = _mask_secrets({frozen.access_key, frozen.secret_key, frozen.token} - {None}, self._masked)
        keys = {"AWS_ACCESS_KEY_ID": frozen.access_key, "AWS_SECRET_ACCESS_KEY": frozen.secret_key}
        if not frozen.token and os.environ.get("AWS_SESSION_TOKEN"):
            raise Refused(
                f"connection {self._connection!r} has keys without a token, but the environment has AWS_SESSION_TOKEN",
                ["the two would be sent together and rejected; remove AWS_SESSION_TOKEN from the environment"],
            )
        return region | keys | ({"AWS_SESSION_TOKEN": frozen.token} if frozen.token else {})

    def _reopen(self) -> tuple[float, dict[str, str], Any]:
        try:
            return time.monotonic(), *self._open()
        except Exception:
            if self._opened is None:
                raise
            log.warning("cannot read connection %s again, using its earlier content", self._connection)
            return time.monotonic(), *self._opened[1:]

    def _open(self) -> tuple[dict[str, str], Any]:
        if not self._root.startswith(("s3://", "s3a://")):
            raise Refused(
                f"AIRWORTHY_STORE_CONNECTION names {self._connection!r}, but the store {self._root} is not on S3",
                ["set AIRWORTHY_STORE to s3://bucket/prefix, or leave AIRWORTHY_STORE_CONNECTION empty"],
            )
        hook = open_hook(self._connection, "s3")
        session = hook.get_session(region_name=hook.region_name)
        credentials = session.get_credentials()
        endpoint = hook.conn_config.get_service_endpoint_url("s3") or os.environ.get("AWS_ENDPOINT_URL")
        region = session.region_name or os.environ.get("AWS_REGION") or ("us-east-1" if endpoint else None)
        faults = []
        if credentials is None:
            faults.append("neither it nor the machine has credentials; fill in the access key or a role_arn")
        if region is None:
            faults.append('it has no region; add "region_name" to its extra')
        if hook.verify not in (None, True):
            faults.append('"verify" in its extra is not supported; set SSL_CERT_FILE to the certificate instead')
        if faults:
            raise Refused(f"connection {self._connection!r} cannot open the store {self._root}", faults)
        options = {"AWS_REGION": region, "AWS_ENDPOINT_URL": endpoint}
        return {key: value for key, value in options.items() if value}, credentials


def open_client(connection: str | None, service: str) -> Any:
    """A boto3 client by an Airflow connection; None: by the environment."""
    with translate_errors(connection):
        return open_hook(connection, service).get_conn()


def open_hook(connection: str | None, service: str, **arguments: Any) -> Any:
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    if connection is not None:
        try:
            AwsBaseHook.get_connection(connection)
        except AirflowNotFoundException as error:
            raise Refused(
                f"Airflow has no connection {connection!r}",
                [f"create it: airflow connections add {connection} --conn-type aws …, or configure another"],
            ) from error
    return AwsBaseHook(aws_conn_id=connection, client_type=service, **arguments)


@contextmanager
def translate_errors(connection: str | None) -> Iterator[None]:
    """Raise botocore's errors as ``Refused`` or ``Unavailable``; their messages hold error codes, never a secret."""
    from botocore import exceptions as aws  # type: ignore[import-untyped]

    subject = f"connection {connection!r}"
    try:
        yield
    except (aws.HTTPClientError, aws.ConnectionError, aws.CredentialRetrievalError) as error:
        raise Unavailable(f"{subject}: AWS does not answer ({type(error).__name__})") from None
    except aws.ClientError as error:
        code, status = error.response["Error"].get("Code"), error.response["ResponseMetadata"].get("HTTPStatusCode", 0)
        if status >= 500 or code in ("Throttling", "ThrottlingException", "RequestLimitExceeded"):
            raise Unavailable(f"{subject}: AWS gives no credentials now ({code})") from None
        raise Refused(f"{subject}: AWS gives no credentials ({code}); check its keys and role") from None
    except (aws.BotoCoreError, ValueError, NotImplementedError) as error:
        raise Refused(f"{subject} cannot be used ({type(error).__name__}); check its extra") from None


def _mask_secrets(secrets: set[str], masked: frozenset[str]) -> frozenset[str]:
    """Register new secrets with Airflow's log masking; returns all that are masked."""
    from airflow.sdk.log import mask_secret

    for secret in secrets - masked:
        mask_secret(secret)
    return masked | secrets
