"""A model on SageMaker is reached by the connection that its declaration names, in a task and nowhere else."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import Refused
from pipelines.settings import REPOSITORY, Settings
from pipelines.wiring import RealPorts
from practices._connections import amazon, installation
from practices._connections.sagemaker import CachedAwsClients, open_clients
from tests.adapters.local_aws import local_aws
from tests.adapters.s3_server import BUCKET, KEYS

MODEL = "flight_delay"
TARGET = """
deployment:
  target:
    kind: sagemaker
    role_arn: arn:aws:iam::123456789012:role/airworthy
    image: 123456789012.dkr.ecr.eu-central-1.amazonaws.com/airworthy:step
    instance_type: ml.m5.large
"""


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An environment without any word of AWS, and ports that are opened anew."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    installation._open.cache_clear()
    yield
    installation._open.cache_clear()


@pytest.fixture
def declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write the repository's declarations with the model on SageMaker."""

    def write(connection: str | None = None) -> Settings:
        include = tmp_path / "include"
        for path in (REPOSITORY / "include").rglob("*.*"):
            (include / path.relative_to(REPOSITORY / "include")).parent.mkdir(parents=True, exist_ok=True)
            (include / path.relative_to(REPOSITORY / "include")).write_bytes(path.read_bytes())
        model = include / "models" / f"{MODEL}.yaml"
        text = model.read_text().split("\ndeployment:")[0]
        model.write_text(text + TARGET + (f"    connection: {connection}\n" if connection else ""))
        monkeypatch.setenv("AIRWORTHY_INCLUDE", str(include))
        monkeypatch.setenv("AIRWORTHY_STORE", f"s3://{BUCKET}/air")
        return Settings.from_environment()

    return write


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(**extra: Any) -> str:
        login = {"login": KEYS["aws_access_key_id"], "password": KEYS["aws_secret_access_key"]}
        monkeypatch.setenv("AIRFLOW_CONN_CLOUD", json.dumps({"conn_type": "aws", "extra": extra, **login}))
        return "cloud"

    return make


def test_the_connection_opens_every_client_with_patience(cloud: Any) -> None:
    clients = open_clients(cloud(region_name="eu-west-1"))
    for client in vars(clients).values():
        assert client.meta.region_name == "eu-west-1"
        assert client.meta.config.retries["total_max_attempts"] == 5
        assert client.meta.config.connect_timeout == 5


def test_without_a_connection_the_environment_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert {client.meta.region_name for client in vars(open_clients(None)).values()} == {"eu-central-1"}


def test_clients_are_kept_for_some_minutes_and_then_opened_by_what_the_connection_says_now(
    cloud: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections = CachedAwsClients()
    first = connections(cloud(region_name="eu-west-1"))
    cloud(region_name="eu-central-1")
    assert connections("cloud") is first
    monkeypatch.setattr(amazon, "REREAD_SECONDS", -1.0)
    assert connections("cloud").sagemaker.meta.region_name == "eu-central-1"


@pytest.mark.parametrize("connection", ["unknown", "cloud"])
def test_a_connection_that_is_not_there_or_names_no_region_is_refused(cloud: Any, connection: str) -> None:
    cloud()
    with pytest.raises(Refused, match=connection):
        open_clients(connection)


def test_a_task_reaches_the_endpoint_by_the_declared_connection(declared: Any, cloud: Any) -> None:
    with local_aws():
        declared(cloud(region_name="us-east-1"))
        target = installation.open_ports().target(MODEL)
        assert target.state(MODEL).version is None


def test_outside_airflow_the_environment_opens_the_clients_and_a_connection_is_refused(
    declared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with local_aws():
        assert RealPorts(declared()).target(MODEL).state(MODEL).version is None
    with pytest.raises(Refused, match="only a task can read the Airflow connection"):
        RealPorts(declared("cloud")).target(MODEL)
