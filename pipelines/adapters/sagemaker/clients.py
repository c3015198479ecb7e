"""Clients of AWS, whose errors become ``Unavailable``, ``Refused``, ``NotFound`` or ``WriteConflict``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pipelines.errors import Refused, Unavailable

CLIENT_CONFIG: dict[str, Any] = {
    "retries": {"mode": "standard", "total_max_attempts": 5},
    "connect_timeout": 5,
    "read_timeout": 60,
}
"""Arguments of ``botocore.config.Config`` for every client here."""
RETRYABLE_CODES = frozenset(
    {
        "ConcurrentUpdateException",
        "ConflictException",
        "ExpiredToken",
        "ExpiredTokenException",
        "InternalFailure",
        "InternalServiceException",
        "RequestExpired",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ResourceInUse",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
"""Error codes that a retry may not meet again."""
SERVICES = ("sagemaker", "s3", "cloudwatch", "application-autoscaling")
"""Names of the services in boto3, in the order of ``AwsClients``."""
CONFLICT_CODES = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412"})


class WriteConflict(Exception):
    """A conditional write failed because another writer changed the object first."""


class NotFound(Exception):
    """AWS has no such object."""


@dataclass(frozen=True)
class AwsClients:
    """boto3 clients of one account and region."""

    sagemaker: Any
    s3: Any
    cloudwatch: Any
    autoscaling: Any


def clients_of_environment(connection: str | None) -> AwsClients:
    """Clients configured by the environment (``AWS_*``, or the machine's role). ``Refused`` for a connection."""
    if connection is not None:
        raise Refused(
            f"only a task can read the Airflow connection {connection!r}",
            ["set AWS_REGION and credentials in the environment, and remove deployment.target.connection"],
        )
    try:
        import boto3  # type: ignore[import-untyped]
        from botocore.config import Config  # type: ignore[import-untyped]
    except ImportError as error:
        raise Refused("boto3 is not installed; run pip install 'airworthy[airflow]'") from error
    with aws_errors("clients of AWS"):
        session, config = boto3.Session(region_name=os.environ.get("AWS_REGION")), Config(**CLIENT_CONFIG)
        return AwsClients(*(session.client(service, config=config) for service in SERVICES))


@contextmanager
def aws_errors(action: str) -> Iterator[None]:
    """Raises ``WriteConflict``, ``NotFound``, ``Unavailable`` or ``Refused`` instead of botocore's errors."""
    from botocore import exceptions as aws  # type: ignore[import-untyped]

    try:
        yield
    except aws.ClientError as error:
        raise _translated(action, error.response) from error
    except (aws.HTTPClientError, aws.ConnectionError, aws.CredentialRetrievalError) as error:
        raise Unavailable(f"{action}: AWS does not answer ({type(error).__name__})") from error
    except aws.ParamValidationError as error:
        raise Refused(f"{action}: AWS does not accept these parameters", [str(error)]) from error
    except aws.BotoCoreError as error:
        raise Refused(f"{action}: {error}") from error


def _translated(action: str, response: Any) -> Exception:
    error, status = response.get("Error", {}), response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code, message = str(error.get("Code", "")), str(error.get("Message", ""))
    if code in CONFLICT_CODES or status == 412:
        return WriteConflict(action)
    if code in ("NoSuchKey", "404", "ObjectNotFoundException") or "could not find" in message.lower():
        return NotFound(f"{action}: {message}")
    if code in RETRYABLE_CODES or status >= 500 or "in-progress" in message:
        return Unavailable(f"{action}: AWS is busy; try again later ({code}: {message})")
    if code == "ResourceLimitExceeded":
        return Refused(f"{action}: a quota of the AWS account is used up", [message, "ask AWS for a larger one"])
    return Refused(f"{action}: AWS refused the request", [f"{code}: {message}"])
