"""The public door: who may ask, how often, and what a slow, huge or endless request costs the others (nothing)."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import psutil
import pytest

from pipelines.serving.data_plane.inference import DataPlane
from pipelines.serving.data_plane.public import PublicApplication, make_listener_state
from pipelines.serving.prediction_log.writer import LogWriter
from pipelines.serving.settings import GatewayConfig, LimitsConfig
from tests.serving.front_gateways import AUDIENCE, ISSUER, KEYS, front, key_set, keys, token
from tests.serving.gateway_process import COLUMNS, ROWS, Gateway, expected, write_bundle

BODY = json.dumps({"dataframe_split": {"columns": COLUMNS, "data": ROWS}}).encode()
V2_BODY = json.dumps(
    {
        "inputs": [
            {"name": "carrier", "shape": [1], "datatype": "BYTES", "data": ["UA"]},
            {"name": "distance", "shape": [1], "datatype": "FP64", "data": [1.0]},
            {"name": "hour", "shape": [1], "datatype": "FP64", "data": [2.0]},
        ]
    }
).encode()
JWT = {"algorithms": ["RS256", "ES256"], "audience": AUDIENCE, "issuer": ISSUER}


def running(folder: Path, **declared: Any) -> Iterator[Gateway]:
    """One gateway with version 1 live."""
    gateway = front(folder, **declared)
    try:
        gateway.start()
        assert gateway.release("1", write_bundle(folder / "bundles", "1")).status_code == 200, gateway.log
        yield gateway
    finally:
        gateway.stop()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "jwks.json").write_text(json.dumps(key_set("one")))
    declared = {"keys": keys(), "jwt": JWT | {"key_set": f"file:{folder / 'jwks.json'}"}, "failures_per_minute": 1000}
    yield from running(folder, authentication=declared)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Open on loopback, with tight limits."""
    limits = {"body_bytes": 2000, "rows": 5, "header_bytes": 2048, "request_seconds": 1.5, "connections": 40}
    yield from running(
        tmp_path_factory.mktemp("strict"),
        limits=limits,
        rate={"per_minute": 6000, "burst": 1000},
        checks={"missing": "refuse"},
    )


def test_a_gateway_that_declares_so_refuses_unseen_categories_and_rows_without_ids(tmp_path: Path) -> None:
    for gateway in running(tmp_path, checks={"categories": "refuse", "ids": "refuse"}):
        refused = gateway.invoke({"inputs": [["ZZ", 1.0, 2.0], [None, 1.0, 2.0]]})
        assert (refused.status_code, refused.json()["faults"]) == (
            400,
            [
                "ids are missing; give one entity id per row, by which labels find their predictions",
                "row 0, column 'carrier': 'ZZ' is none of AA, DL, UA",
            ],
        )
        assert gateway.invoke({"inputs": [["UA", 1.0, 2.0], [None, 1.0, 2.0]], "ids": ["a", "b"]}).status_code == 200


# ---- authentication ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": KEYS["caller"]},
        {"authorization": f"Bearer {KEYS['caller']}"},
        {"x-api-key": KEYS["root"]},
        {"authorization": "token"},
    ],
    ids=["key", "key as bearer", "admin", "token"],
)
def test_whoever_is_known_gets_the_models_answer(guarded: Gateway, headers: dict[str, str]) -> None:
    if headers.get("authorization") == "token":
        headers = {"authorization": f"Bearer {token()}"}
    response = guarded.invoke(BODY, **headers)
    assert response.status_code == 200, response.text
    assert response.json()["predictions"] == pytest.approx(expected(1), rel=1e-5)


def test_nobody_learns_what_was_wrong_with_their_credentials(guarded: Gateway) -> None:
    wrong: list[dict[str, str]] = [
        {},
        {"x-api-key": "guess"},
        {"x-api-key": KEYS["old"]},
        {"authorization": f"Bearer {token(exp=1)}"},
        {"authorization": f"Bearer {token(aud='other')}"},
        {"authorization": "Basic Zm9vOmJhcg=="},
    ]
    answers = [guarded.invoke(BODY, **headers) for headers in wrong]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].headers["www-authenticate"].startswith("Bearer")
    assert sorted(answers[0].json()) == ["error", "faults"]


def test_a_known_caller_without_the_scope_is_forbidden(guarded: Gateway) -> None:
    response = guarded.invoke(BODY, authorization=f"Bearer {token(scope='email')}")
    assert (response.status_code, response.json()["error"]) == (403, "these credentials do not have the scope predict")


def test_only_the_scope_admin_chooses_a_version(guarded: Gateway) -> None:
    chosen = {"x-model-version": "1"}
    assert guarded.invoke(BODY, **chosen, **{"x-api-key": KEYS["caller"]}).status_code == 403
    assert guarded.invoke(BODY, **chosen, **{"x-api-key": KEYS["root"]}).headers["x-model-version"] == "1"
    absent = guarded.invoke(BODY, **{"x-model-version": "7", "x-api-key": KEYS["root"]})
    assert (absent.status_code, "version 1 is live" in absent.text) == (404, True)


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded"])
@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://pages.example", 403),
        ("null", 403),
        ("http://127.0.0.1.pages.example", 403),
        ("http://localhost:8080", 200),
        ("http://127.0.0.1:8900", 200),
    ],
)
def test_a_gateway_without_a_declaration_answers_no_page_of_another_site(
    strict: Gateway, origin: str, status: int, content_type: str
) -> None:
    """A form may be sent to this machine by any page; both types take both ways to an answer."""
    row = {"inputs": [["UA", 1.0, 2.0]]}
    answer = strict.invoke(row, origin=origin, **{"content-type": content_type})
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("page", ["/metrics", "/openapi.json", "/docs", "/v2/models/flight_delay"])
def test_a_gateway_without_a_declaration_shows_its_pages_by_the_names_of_this_machine_alone(
    strict: Gateway, page: str
) -> None:
    assert httpx.get(strict.base + page).status_code == 200
    rebound = httpx.get(strict.base + page, headers={"host": "rebound.example"})
    assert (rebound.status_code, "is not this machine" in rebound.text) == (403, True)
    assert httpx.get(f"{strict.base}/health", headers={"host": "rebound.example"}).status_code == 200


def test_whoever_declares_who_may_ask_may_be_asked_by_any_name(guarded: Gateway) -> None:
    key = {"x-api-key": KEYS["caller"], "host": "models.example", "origin": "https://shop.example"}
    assert guarded.invoke(BODY, **key).status_code == 200


@pytest.mark.parametrize("path", [b"/invocations", b"/v2/models/flight_delay/infer"])
def test_a_trailer_is_no_header_and_chooses_no_version(guarded: Gateway, path: bytes) -> None:
    body = BODY if path == b"/invocations" else V2_BODY
    key = b"x-api-key: " + KEYS["caller"].encode() + b"\r\n"
    head = b"POST " + path + b" HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nconnection: close\r\n" + key
    chunks = b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n" % (len(body), body)
    for sent in ([head + chunks + b"x-model-version: 7\r\n\r\n"], [head, chunks, b"x-model-version: 7\r\n\r\n"]):
        answer = answered(opened(guarded, *sent))
        assert answer.startswith(b"HTTP/1.1 200"), answer
        assert b"x-model-version: 1" in answer


def test_the_bodies_of_refused_requests_are_not_kept(guarded: Gateway) -> None:
    [worker] = guarded.worker_pids()
    before = psutil.Process(worker).memory_info().rss
    head = HEAD + b"content-length: 8000000\r\n\r\n"
    connections = [opened(guarded, head, b" " * 7_999_000) for _ in range(12)]
    for connection in connections:
        guarded.wait_for(lambda connection=connection: is_read(connection))
    assert psutil.Process(worker).memory_info().rss - before < 24_000_000, "12 bodies of 8 MB, none of them kept"
    assert guarded.invoke(BODY, **{"x-api-key": KEYS["caller"]}).status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [("/health", 200), ("/ready", 200), ("/v2/health/ready", 200), ("/metrics", 401), ("/openapi.json", 401)]
    + [("/", 401), ("/docs", 401), ("/version", 401), ("/v2/models/flight_delay/versions/1", 401)]
    + [("/v2", 401), ("/nothing", 401), ("/v2/models/flight_delay", 401)],
)
def test_without_credentials_only_the_open_pages_answer(guarded: Gateway, path: str, status: int) -> None:
    assert httpx.get(f"{guarded.base}{path}").status_code == status


def test_refused_requests_are_counted_without_naming_anybody(guarded: Gateway) -> None:
    guarded.invoke(BODY, **{"x-api-key": "guess"})
    text = httpx.get(f"{guarded.admin}/metrics").text
    assert 'code="401"' in text
    assert not [key for key in (*KEYS, *KEYS.values()) if f'"{key}"' in text]


def test_guessing_is_slowed_down_and_the_known_are_not(tmp_path: Path) -> None:
    for gateway in running(tmp_path, authentication={"keys": keys(), "failures_per_minute": 5}):
        answers = [gateway.invoke(BODY, **{"x-api-key": f"guess-{number}"}).status_code for number in range(8)]
        assert answers == [401] * 5 + [429] * 3
        assert gateway.invoke(BODY, **{"x-api-key": KEYS["caller"]}).status_code == 200


# ---- rates -------------------------------------------------------------------------------------------------------


def test_a_client_beyond_its_burst_is_told_when_to_come_back_and_another_is_served(tmp_path: Path) -> None:
    declared = {"authentication": {"keys": keys()}, "rate": {"per_minute": 30, "burst": 4}}
    for gateway in running(tmp_path, **declared):
        answers = [gateway.invoke(BODY, **{"x-api-key": KEYS["caller"]}) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 4 + [429] * 2
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 2
        assert gateway.invoke(BODY, **{"x-api-key": KEYS["root"]}).status_code == 200
        assert httpx.get(f"{gateway.base}/health").status_code == 200


# ---- slow, huge, endless -----------------------------------------------------------------------------------------


OPENED: list[socket.socket] = []


@pytest.fixture(autouse=True)
def _closed_afterwards() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def opened(gateway: Gateway, *sent: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
    OPENED.append(connection)
    for one in sent:
        connection.sendall(one)
    return connection


def answered(connection: socket.socket) -> bytes:
    """Everything until the other end closes."""
    content = b""
    while True:
        try:
            part = connection.recv(65536)
        except ConnectionResetError:
            return content
        if not part:
            return content
        content += part


HEAD = b"POST /invocations HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"


def test_a_client_that_sends_one_byte_at_a_time_is_cut_off_and_others_do_not_wait(strict: Gateway) -> None:
    slow = [opened(strict, HEAD, b"content-length: 400\r\n\r\n") for _ in range(10)]
    slow += [opened(strict, b"POST /invoc") for _ in range(10)]
    started, waits = time.monotonic(), []
    while time.monotonic() - started < 1.2:
        for connection in slow:
            connection.sendall(b"x")
        before = time.monotonic()
        assert strict.invoke(ROW).status_code == 200
        waits.append(time.monotonic() - before)
        time.sleep(0.2)
    answers = [answered(connection) for connection in slow]
    assert {answer.split(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 408 Request Timeout"}
    assert statistics.median(waits) < 1


def test_a_connection_that_never_asks_is_closed(strict: Gateway) -> None:
    assert answered(opened(strict)) == b""


def test_a_head_without_end_is_431(strict: Gateway) -> None:
    for sent in (b"x-filler: " + b"a" * 5000, b"x: y\r\n" * 1000, b"x-filler: " + b"a" * 5000 + b"\r\n\r\n"):
        connection = opened(strict, HEAD, sent)
        assert answered(connection).startswith(b"HTTP/1.1 431"), sent[:20]
    assert answered(opened(strict, b"GET /" + b"a" * 5000)).startswith(b"HTTP/1.1 431")


def test_a_body_that_says_it_is_too_large_is_refused_unread_and_one_that_does_not_is_while_it_is_read(
    strict: Gateway,
) -> None:
    said = opened(strict, HEAD, b"content-length: 99999999\r\n\r\n")
    assert said.recv(65536).startswith(b"HTTP/1.1 413")
    chunks = b"7d0\r\n" + b" " * 2000 + b"\r\n1\r\n \r\n"
    unsaid = opened(strict, HEAD, b"transfer-encoding: chunked\r\n\r\n", chunks)
    assert unsaid.recv(65536).startswith(b"HTTP/1.1 413")


def test_a_body_without_end_is_cut_off(strict: Gateway) -> None:
    connection = opened(strict, HEAD, b"transfer-encoding: chunked\r\n\r\n")
    for _ in range(10_000):
        try:
            connection.sendall(b"400\r\n" + b" " * 1024 + b"\r\n")
        except OSError:
            break
    else:
        pytest.fail("10 MB were taken")
    assert strict.invoke(ROW).status_code == 200


def test_too_many_connections_are_told_so_and_room_is_there_again(strict: Gateway) -> None:
    connections = [opened(strict) for _ in range(45)]
    told = [one for one in connections if _peek(one).startswith(b"HTTP/1.1 503")]
    assert 3 <= len(told) <= 8
    for connection in connections:
        connection.close()
    strict.wait_for(lambda: strict.invoke(ROW).status_code == 200)


def _peek(connection: socket.socket) -> bytes:
    connection.settimeout(0.3)
    try:
        return connection.recv(100)
    except TimeoutError:
        return b""


ROW = json.dumps({"inputs": [["UA", 1.0, 2.0]]}).encode()


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET http://[::1 HTTP/1.1\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: a\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /health HTTP/9.9\r\n\r\n",
    ],
)
def test_what_is_no_http_gets_a_400_and_no_server_error(strict: Gateway, sent: bytes) -> None:
    assert answered(opened(strict, sent)).startswith(b"HTTP/1.1 400"), sent


def test_many_requests_sent_at_once_on_one_connection_are_all_answered(strict: Gateway) -> None:
    one = HEAD + b"content-length: %d\r\n\r\n" % len(ROW) + ROW
    connection = opened(strict, one * 19 + one.replace(b"host: a\r\n", b"host: a\r\nconnection: close\r\n"))
    assert answered(connection).count(b"HTTP/1.1 200") == 20


def test_answers_come_in_the_order_of_the_requests_whatever_way_each_is_answered(strict: Gateway) -> None:
    plain = HEAD + b"content-length: %d\r\n\r\n" % len(ROW) + ROW
    chunked = HEAD + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(ROW), ROW)
    page = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"
    last = page.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    with opened(strict) as connection:
        connection.sendall(plain + page + plain + chunked + plain + plain + page + chunked + plain + last)
        seen = b""
        while more := connection.recv(65536):
            seen += more
    kinds = re.findall(rb"predictions|alive", seen)
    one, other = b"predictions", b"alive"
    assert kinds == [one, other, one, one, one, one, other, one, one, other]


def is_read(connection: socket.socket) -> bool:
    """Whether a process has accepted this connection and read all that was sent on it."""
    ports = f":{connection.getpeername()[1]:04X}", f":{connection.getsockname()[1]:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, _, _, _, _, inode, *_ = line.split()
        if (local[-5:], remote[-5:]) == ports:
            return inode != "0" and queues.endswith(":00000000")
    return False


def test_a_request_whose_body_is_on_its_way_is_answered_before_the_gateway_ends(tmp_path: Path) -> None:
    for gateway in running(tmp_path):
        with opened(gateway) as connection, opened(gateway, b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n") as idle:
            while b"alive" not in idle.recv(65536):
                pass
            connection.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(ROW) + ROW[:5])
            gateway.wait_for(lambda: is_read(connection))
            assert gateway.process is not None
            gateway.process.terminate()
            assert answered(idle) == b"", "the only worker is about to end"
            connection.sendall(ROW[5:])
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        assert gateway.process.wait(60) == 0


def test_an_upgrade_is_not_taken_and_fills_no_log(strict: Gateway) -> None:
    asked = b"GET /health HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    assert opened(strict, asked).recv(1000).startswith(b"HTTP/1.1 200")
    assert "upgrade" not in strict.log.lower()


def test_what_exceeds_the_requests_that_may_wait_is_shed(tmp_path: Path) -> None:
    door = GatewayConfig(limits=LimitsConfig(concurrency=10), workers=2)
    data_plane = DataPlane(cast(LogWriter, None))
    watch = make_listener_state(door, 1000, data_plane.counters)
    front_door = PublicApplication(data_plane, cast(Any, None), door, watch, tmp_path)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": ROW, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asked = {"type": "http", "method": "POST", "path": "/invocations", "headers": [], "client": ("127.0.0.1", 1)}
    codes = []
    for waiting in (5, 6):  # a worker's share of 10 is 5
        watch.waiting = waiting
        sent.clear()
        asyncio.run(front_door(dict(asked), receive, send))
        codes.append((sent[0]["status"], (b"retry-after", b"1") in sent[0]["headers"], b"wait" in sent[1]["body"]))
    assert codes == [(503, False, False), (503, True, True)]  # the first one for want of a model


def test_a_flood_is_answered_or_shed_and_others_are_served_afterwards(tmp_path: Path) -> None:
    one = HEAD + b"content-length: %d\r\n\r\n" % len(ROW) + ROW
    for gateway in running(tmp_path, limits={"concurrency": 5}):
        connections = [opened(gateway) for _ in range(60)]
        (pid,) = gateway.worker_pids()
        os.kill(pid, signal.SIGSTOP)  # so that many of them wait at once
        for connection in connections:
            connection.sendall(one)
        os.kill(pid, signal.SIGCONT)
        codes = [int(connection.recv(65536)[9:12]) for connection in connections]
        assert set(codes) <= {200, 503}
        assert codes.count(200) >= 5
        assert gateway.invoke(ROW).status_code == 200


# ---- what a row must be ------------------------------------------------------------------------------------------


def test_missing_values_are_refused_where_the_declaration_says_so(strict: Gateway) -> None:
    response = strict.invoke({"inputs": [["UA", None, 1], [None, 2, 3]]})
    assert response.status_code == 400
    assert response.json()["faults"] == [
        "row 1, column 'carrier': null, not a string",
        "row 0, column 'distance': null, not a number",
    ]


def test_too_many_rows_are_413(strict: Gateway) -> None:
    assert strict.invoke({"inputs": [["UA", 1, 1]] * 6}).status_code == 413
