"""The store's credentials come from Airflow's amazon connection, are renewed in time, and are never shown."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines.errors import Refused, Unavailable
from pipelines.settings import Settings
from practices._connections import amazon, installation
from practices._connections.amazon import StoreConnection, open_client
from tests.adapters.s3_server import KEYS, REGION, S3Server, s3_server

ROOT = "s3://models/airworthy"
ROLE = "arn:aws:iam::123456789012:role/airworthy"


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as made:
        yield made


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without any word of AWS."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(name: str = "lake", keys: bool = True, **extra: Any) -> str:
        login = {"login": KEYS["aws_access_key_id"], "password": KEYS["aws_secret_access_key"]} if keys else {}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps({"conn_type": "aws", "extra": extra, **login}))
        return name

    return make


def test_the_connection_gives_keys_token_region_and_endpoint(connect: Any) -> None:
    connect(region_name="eu-west-1", endpoint_url="http://s3:8333", aws_session_token="a-token")
    assert StoreConnection("lake", ROOT)() == {
        "AWS_ACCESS_KEY_ID": KEYS["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": KEYS["aws_secret_access_key"],
        "AWS_SESSION_TOKEN": "a-token",
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": "http://s3:8333",
    }


def test_an_endpoint_of_s3_alone_is_preferred_to_that_of_all_services(connect: Any) -> None:
    connect(
        region_name=REGION, endpoint_url="http://all:1", service_config={"s3": {"endpoint_url": "http://s3-alone:2"}}
    )
    assert StoreConnection("lake", ROOT)()["AWS_ENDPOINT_URL"] == "http://s3-alone:2"


def test_a_store_on_s3_is_read_and_written_by_the_connection_alone(
    connect: Any, server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(endpoint_url=server.url, region_name=REGION)
    monkeypatch.setenv("AIRWORTHY_STORE", ROOT)
    monkeypatch.setenv("AIRWORTHY_STORE_CONNECTION", "lake")
    installation._open.cache_clear()
    store = installation.open_ports().store
    store.put("a.json", b"content")
    assert store.get("a.json") == b"content"
    assert store.version("raw/none") is None
    assert not [name for name in os.environ if name.startswith("AWS_ACCESS")]
    installation._open.cache_clear()


def test_an_assumed_role_is_renewed_before_it_expires(
    connect: Any, server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(
        region_name=REGION, endpoint_url=server.url, role_arn=ROLE, service_config={"sts": {"endpoint_url": server.url}}
    )
    options = StoreConnection("lake", ROOT)
    first = options()
    assert first["AWS_ACCESS_KEY_ID"] != KEYS["aws_access_key_id"]
    assert first["AWS_SESSION_TOKEN"]
    assert options() == first
    assert options._opened is not None
    options._opened[2]._expiry_time = datetime.now(UTC) + timedelta(minutes=1)
    assert options()["AWS_SESSION_TOKEN"] != first["AWS_SESSION_TOKEN"]


def test_a_connection_that_was_changed_is_read_again_and_one_that_went_away_is_still_used(
    connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(region_name="eu-west-1")
    options = StoreConnection("lake", ROOT)
    options()
    connect(region_name="eu-west-2")
    assert options()["AWS_REGION"] == "eu-west-1"
    monkeypatch.setattr(amazon, "REREAD_SECONDS", -1.0)
    assert options()["AWS_REGION"] == "eu-west-2"
    monkeypatch.delenv("AIRFLOW_CONN_LAKE")
    assert options()["AWS_REGION"] == "eu-west-2"


def test_a_connection_that_is_not_there_is_refused_and_says_how_to_make_it() -> None:
    with pytest.raises(Refused, match="no connection 'lake'") as error:
        StoreConnection("lake", ROOT)()
    assert "airflow connections add lake --conn-type aws" in str(error.value)


@pytest.mark.parametrize(
    ("keys", "extra", "reason"),
    [
        (True, {}, "no region"),
        (False, {"region_name": REGION}, "has credentials"),
        (True, {"region_name": REGION, "verify": False}, "SSL_CERT_FILE"),
        (True, {"region_name": REGION, "profile_name": "nobody"}, "ProfileNotFound"),
        (True, {"region_name": REGION, "role_arn": ROLE, "assume_role_method": "by_magic"}, "NotImplementedError"),
    ],
)
def test_a_connection_that_cannot_open_the_store_is_refused_with_the_reason(
    connect: Any, keys: bool, extra: dict[str, Any], reason: str
) -> None:
    connect(keys=keys, **extra)
    with pytest.raises(Refused, match=reason):
        StoreConnection("lake", ROOT)()


def test_a_connection_for_a_store_that_is_not_on_s3_is_refused(connect: Any) -> None:
    connect(region_name=REGION)
    with pytest.raises(Refused, match="is not on S3"):
        StoreConnection("lake", "/var/store")()


def test_keys_are_not_mixed_with_a_token_of_the_environment(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(region_name=REGION)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-other-keys")
    with pytest.raises(Refused, match="AWS_SESSION_TOKEN") as error:
        StoreConnection("lake", ROOT)()
    assert "of-other-keys" not in str(error.value)


def test_a_role_is_unavailable_while_sts_does_not_answer(connect: Any) -> None:
    connect(
        region_name=REGION,
        role_arn=ROLE,
        service_config={"sts": {"endpoint_url": "http://127.0.0.1:9"}},
        config_kwargs={"retries": {"max_attempts": 0}, "connect_timeout": 1},
    )
    with pytest.raises(Unavailable, match="does not answer"):
        StoreConnection("lake", ROOT)()


def test_no_log_line_repr_or_setting_shows_a_credential(
    connect: Any, server: S3Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "practices")
    caplog.set_level(logging.DEBUG, "pipelines")
    caplog.set_level(logging.DEBUG, "airflow")
    connect(endpoint_url=server.url, region_name=REGION, aws_session_token="a-token-for-nobody")
    settings = Settings.from_environment({"AIRWORTHY_STORE": ROOT, "AIRWORTHY_STORE_CONNECTION": "lake"})
    ports = installation._open(settings)
    ports.store.put("a.json", b"x")
    options = ports.store._access._configured
    seen = [caplog.text, repr(settings), repr(ports), repr(ports.store), repr(options), repr(ports.store._access)]
    for text in seen:
        for secret in (KEYS["aws_secret_access_key"], "a-token-for-nobody"):
            assert secret not in text
    installation._open.cache_clear()


def test_airflow_blanks_the_credentials_out_of_every_log_line(connect: Any) -> None:
    from airflow.sdk.log import redact

    connect(region_name=REGION, aws_session_token="another-token-for-nobody")
    StoreConnection("lake", ROOT)()
    assert "another-token-for-nobody" not in str(redact("the library says another-token-for-nobody"))
    assert KEYS["aws_secret_access_key"] not in str(redact(f"it says {KEYS['aws_secret_access_key']}"))


def test_a_client_of_the_queue_goes_where_the_connection_says(connect: Any, server: S3Server) -> None:
    connect("events", endpoint_url=server.url, region_name=REGION)
    queue = open_client("events", "sqs").create_queue(QueueName="landed")["QueueUrl"]
    assert queue in server.client("sqs").list_queues()["QueueUrls"]
    with pytest.raises(Refused, match="no connection 'nothing'"):
        open_client("nothing", "sqs")
