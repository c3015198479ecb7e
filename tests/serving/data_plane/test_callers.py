"""What a caller of the public listener may say about itself and about time, and over which connection."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import polars as pl
import pytest

from tests.serving.front_gateways import KEYS, front, keys, sha256
from tests.serving.gateway_process import COLUMNS, ROWS, Gateway, write_bundle

REPLAY_KEY = "key-of-the-replayer-0123456789"
PROXY = "127.0.0.2"
BODY = json.dumps({"dataframe_split": {"columns": COLUMNS, "data": ROWS}}).encode()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway behind one proxy, with a key per scope and few connections."""
    folder = tmp_path_factory.mktemp("callers")
    declared = [*keys(), {"id": "replayer", "sha256": sha256(REPLAY_KEY), "scopes": ["replay"]}]
    started = front(
        folder,
        authentication={"keys": declared, "failures_per_minute": 3},
        trusted_proxies=[PROXY],
        limits={"connections": 40, "request_seconds": 20},
    ).start()
    try:
        assert started.release("1", write_bundle(folder / "bundles", "1")).status_code == 200, started.log
        yield started
    finally:
        started.stop()


def ask(gateway: Gateway, address: str = "127.0.0.1", *, chunked: bool = False, **headers: str) -> httpx.Response:
    """An answer to a request from this address of the machine; an underscore in a header's name is a hyphen."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    with httpx.Client(transport=httpx.HTTPTransport(local_address=address)) as client:
        content = iter([BODY]) if chunked else BODY
        return client.post(f"{gateway.base}/invocations", content=content, headers=fields)


@pytest.mark.parametrize(
    ("key", "days", "status"),
    [
        (KEYS["caller"], 0, 200),
        (KEYS["caller"], -6.9, 200),
        (KEYS["caller"], 6.9, 200),
        (KEYS["caller"], -7.1, 403),
        (KEYS["caller"], 5000, 403),
        (REPLAY_KEY, -5000, 200),
        (KEYS["root"], 5000, 200),
    ],
)
def test_a_time_far_from_now_needs_the_scope_replay(gateway: Gateway, key: str, days: float, status: int) -> None:
    moment = (datetime.now(UTC) + timedelta(days=days)).isoformat()
    for chunked in (False, True):
        answer = ask(gateway, chunked=chunked, x_api_key=key, x_prediction_time=moment)
        assert answer.status_code == status, answer.text
    if status == 403:
        assert "scope replay" in answer.json()["error"]


def test_the_log_names_the_key_that_asked_and_never_the_key_itself(gateway: Gateway) -> None:
    for name in ("caller", "root"):
        assert ask(gateway, x_api_key=KEYS[name], x_correlation_id=f"named-{name}").status_code == 200
    gateway.flush()
    files = list(gateway.store.glob("predictions/**/*.parquet"))
    rows = pl.concat([pl.read_parquet(file, hive_partitioning=False) for file in files], how="diagonal")
    named = rows.filter(pl.col("correlation_id").str.starts_with("named-")).select("correlation_id", "caller").unique()
    assert dict(named.iter_rows()) == {"named-caller": "key:caller", "named-root": "key:root"}
    written = b"".join(path.read_bytes() for path in gateway.folder.rglob("*") if path.is_file())
    assert not [key for key in KEYS.values() if key.encode() in written]


def test_wrong_tokens_of_one_caller_behind_a_proxy_are_no_one_elses(gateway: Gateway) -> None:
    answers = [ask(gateway, PROXY, x_api_key=f"guess-{n}", x_forwarded_for="203.0.113.9").status_code for n in range(5)]
    assert answers == [401, 401, 401, 429, 429]
    assert ask(gateway, PROXY, x_api_key="guess", x_forwarded_for="192.0.2.1").status_code == 401
    by_itself = [
        ask(gateway, "127.0.0.3", x_api_key="x", x_forwarded_for=f"192.0.2.{n}").status_code for n in range(9, 14)
    ]
    assert by_itself == [401, 401, 401, 429, 429], "who is no proxy names nobody"


def test_idle_sockets_of_one_address_keep_nobody_else_out(gateway: Gateway) -> None:
    idle = []
    for _ in range(62):
        connection = socket.socket()
        connection.bind(("127.0.0.4", 0))
        connection.connect(("127.0.0.1", gateway.port))
        idle.append(connection)
    try:
        for address in ("127.0.0.1", "127.0.0.5", "127.0.0.4"):
            assert ask(gateway, address, x_api_key=KEYS["caller"]).status_code == 200
        assert 'airworthy_shed_total{limit="connections"}' in httpx.get(f"{gateway.admin}/metrics").text
    finally:
        for connection in idle:
            connection.close()
