"""What AWS answers becomes try again, ask a person, too late, or not there."""

from __future__ import annotations

import pytest
from botocore.exceptions import (  # type: ignore[import-untyped]
    ClientError,
    EndpointConnectionError,
    NoRegionError,
    ParamValidationError,
    ReadTimeoutError,
)

from pipelines.adapters.sagemaker.clients import NotFound, WriteConflict, aws_errors, clients_of_environment
from pipelines.errors import Refused, Unavailable


def answered(code: str, message: str = "no", status: int = 400) -> ClientError:
    told = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(told, "UpdateEndpoint")


ANSWERS: list[tuple[Exception, type[Exception]]] = [
    (answered("ThrottlingException"), Unavailable),
    (answered("InternalFailure", status=500), Unavailable),
    (answered("Unknown", status=503), Unavailable),
    (answered("ExpiredTokenException"), Unavailable),
    (answered("ValidationException", 'Cannot update in-progress endpoint "arn".'), Unavailable),
    (answered("ResourceInUse"), Unavailable),
    (answered("ResourceLimitExceeded", "ml.m5.large is 0 Instances"), Refused),
    (answered("ValidationException", "Value 3 failed to satisfy a constraint"), Refused),
    (answered("AccessDeniedException", status=403), Refused),
    (answered("ValidationException", 'Could not find endpoint "arn".'), NotFound),
    (answered("NoSuchKey", status=404), NotFound),
    (answered("PreconditionFailed", status=412), WriteConflict),
    (answered("ConditionalRequestConflict", status=409), WriteConflict),
    (EndpointConnectionError(endpoint_url="https://sagemaker"), Unavailable),
    (ReadTimeoutError(endpoint_url="https://sagemaker"), Unavailable),
    (ParamValidationError(report="Unknown parameter"), Refused),
    (NoRegionError(), Refused),
]


@pytest.mark.parametrize(("raised", "told"), ANSWERS)
def test_each_answer_of_aws_says_whether_trying_again_can_help(raised: Exception, told: type[Exception]) -> None:
    with pytest.raises(told) as found, aws_errors("endpoint flights"):
        raise raised
    assert "endpoint flights" in str(found.value)


def test_outside_airflow_a_connection_is_refused_and_the_environment_opens_clients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(Refused, match="only a task can read"):
        clients_of_environment("aws_default")
    for name, value in {"REGION": "eu-central-1", "ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "y"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    clients = clients_of_environment(None)
    assert clients.sagemaker.meta.region_name == "eu-central-1"
    assert clients.sagemaker.meta.config.retries["total_max_attempts"] == 5
