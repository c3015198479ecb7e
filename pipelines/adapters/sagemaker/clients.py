"""Clients of AWS, whose errors become ``Unavailable``, ``Refused``, ``NotFound`` or ``WriteConflict``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pipelines.errors import Refused, Unavailable

PATIENCE: dict[str, Any] = {
    "retries": {"mode": "standard", "total_max_attempts": 5},
    "connect_timeout": 5,
    "read_timeout": 60,
}
"""Arguments of ``botocore.config.Config`` for every client here."""
BUSY = frozenset(
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
"""Codes that another try can mend."""
SERVICES = ("sagemaker", "s3", "cloudwatch", "application-autoscaling")
"""By their names in boto3, in the order of ``AwsClients``."""
LOST = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412"})


class WriteConflict(Exception):
    """A conditional write came too late: somebody else wrote the object first."""


class NotFound(Exception):
    """There is no such thing."""


@dataclass(frozen=True)
class AwsClients:
    """boto3 clients of one account and region."""

    sagemaker: Any
    s3: Any
    cloudwatch: Any
    autoscaling: Any


def clients_of_environment(connection: str | None) -> AwsClients:
    """Clients by what the environment says (``AWS_*``, or the role of the machine). ``Refused`` for a connection."""
    if connection is not None:
        raise Refused(
            f"connection {connection!r} is Airflow's, and Airflow is not here",
            ["set AWS_REGION and credentials in the environment, and leave deployment.target.connection out"],
        )
    try:
        import boto3  # type: ignore[import-untyped]
        from botocore.config import Config  # type: ignore[import-untyped]
    except ImportError as error:
        raise Refused("boto3 is not installed here; pip install 'airworthy[airflow]'") from error
    with asking("clients of AWS"):
        session, config = boto3.Session(region_name=os.environ.get("AWS_REGION")), Config(**PATIENCE)
        return AwsClients(*(session.client(service, config=config) for service in SERVICES))


@contextmanager
def asking(doing: str) -> Iterator[None]:
    """Raises ``WriteConflict``, ``NotFound``, ``Unavailable`` or ``Refused`` in place of what botocore raises."""
    from botocore import exceptions as aws  # type: ignore[import-untyped]

    try:
        yield
    except aws.ClientError as error:
        raise _told(doing, error.response) from error
    except (aws.HTTPClientError, aws.ConnectionError, aws.CredentialRetrievalError) as error:
        raise Unavailable(f"{doing}: AWS does not answer ({type(error).__name__})") from error
    except aws.ParamValidationError as error:
        raise Refused(f"{doing}: AWS has no such parameters", [str(error)]) from error
    except aws.BotoCoreError as error:
        raise Refused(f"{doing}: {error}") from error


def _told(doing: str, response: Any) -> Exception:
    error, status = response.get("Error", {}), response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code, message = str(error.get("Code", "")), str(error.get("Message", ""))
    if code in LOST or status == 412:
        return WriteConflict(doing)
    if code in ("NoSuchKey", "404", "ObjectNotFoundException") or "could not find" in message.lower():
        return NotFound(f"{doing}: {message}")
    if code in BUSY or status >= 500 or "in-progress" in message:
        return Unavailable(f"{doing}: AWS cannot do it now ({code}: {message})")
    if code == "ResourceLimitExceeded":
        return Refused(f"{doing}: a quota of the AWS account is used up", [message, "ask AWS for a larger one"])
    return Refused(f"{doing}: AWS says no", [f"{code}: {message}"])
