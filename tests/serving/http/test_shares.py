"""Nobody takes the connections or the memory of a listener from the others, and nothing stays counted."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pipelines.serving.http.addresses import TrustedProxies
from pipelines.serving.http.listener import ConnectionLimits, ListenerState
from pipelines.serving.http.protocol import MAX_UNANSWERED
from tests.serving.http.connections import Connection, Listener, post, turns

PROXY, MALLORY, ALICE = "10.0.0.1", "203.0.113.9", "192.0.2.1"
LIMITS = ConnectionLimits(header_bytes=4096, body_bytes=10_000, connections=6, bytes_in_flight=30_000)


def listener(limits: ConnectionLimits = LIMITS, shed: list[str] | None = None) -> Listener:
    """A listener that believes one proxy."""
    note = shed.append if shed is not None else lambda _: None
    return Listener(ListenerState(limits, on_shed=note, proxies=TrustedProxies([PROXY])))


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


# ---- connections -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent", [b"", b"POST /inline HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n", post("/inline")]
)
def test_an_address_that_takes_all_connections_gives_one_up_to_each_other(sent: bytes) -> None:
    async def test() -> None:
        shed: list[str] = []
        served = listener(shed=shed)
        taken = [served.connect(MALLORY) for _ in range(8)]
        for connection in taken:
            connection.send(sent)
        await turns()
        for number in range(3):
            caller = served.connect(f"192.0.2.{number}")
            caller.send(post("/inline", b"x"))
            await turns()
            assert caller.statuses == [200]
        assert served.state.shares.connections <= 6
        assert sum(not connection.closed for connection in taken) == 3
        assert set(shed) == {"connections"}

    run(test)


def test_a_caller_that_waits_for_an_answer_is_never_given_up_and_the_newcomer_is_told() -> None:
    async def test() -> None:
        served = listener()
        waiting = [served.connect(MALLORY) for _ in range(6)]
        for connection in waiting:
            connection.send(post("/slow"))
        await turns()
        late = served.connect(ALICE)
        await turns()
        assert (late.statuses, b"retry-after: 1" in late.received) == ([503], True)
        served.handler.may_answer.set()
        await turns()
        assert [connection.statuses for connection in waiting] == [[200]] * 6

    run(test)


def test_an_address_makes_room_for_itself_by_what_it_left_idle_but_not_by_what_it_sends() -> None:
    async def test() -> None:
        served = listener()
        idle = served.connect(ALICE)
        idle.send(post("/inline"))
        silent = served.connect(ALICE)
        sending = [served.connect(ALICE) for _ in range(4)]
        for connection in sending:
            connection.send(post("/inline", b"x")[:-1])
        await turns()
        for given_up in (silent, idle):
            newcomer = served.connect(ALICE)
            await turns()
            assert (newcomer.closed, given_up.closed) == (False, True)
            newcomer.send(post("/inline", b"xy")[:-1])
        refused = served.connect(ALICE)
        await turns()
        assert refused.statuses == [503]
        assert not any(connection.closed for connection in sending)

    run(test)


def test_a_declared_share_of_connections_holds_for_every_address_but_a_trusted_proxy() -> None:
    async def test() -> None:
        limits = ConnectionLimits(connections=50, connections_per_address=2)
        served = listener(limits)
        by_address = {host: [served.connect(host) for _ in range(4)] for host in (ALICE, MALLORY, PROXY)}
        await turns()
        open_ones = {host: sum(not each.closed for each in each_of) for host, each_of in by_address.items()}
        assert open_ones == {ALICE: 2, MALLORY: 2, PROXY: 4}

    run(test)


def test_a_network_of_ipv6_is_one_caller() -> None:
    async def test() -> None:
        served = listener()
        taken = [served.connect(f"2001:db8:1:2::{number:x}") for number in range(1, 7)]
        caller = served.connect("2001:db8:1:3::1")
        other = served.connect("2001:db8:1:3::2")
        await turns()
        assert not caller.closed
        assert not other.closed
        assert sum(connection.closed for connection in taken) == 2

    run(test)


# ---- bytes -------------------------------------------------------------------------------------------------------


def test_bytes_beyond_the_share_of_an_address_are_refused_and_those_of_others_are_taken() -> None:
    async def test() -> None:
        shed: list[str] = []
        limits = ConnectionLimits(body_bytes=10_000, bytes_in_flight=60_000, bytes_in_flight_per_address=20_000)
        served = listener(limits, shed)
        sending = [served.connect(MALLORY) for _ in range(4)]
        for connection in sending:
            connection.send(post("/inline", b"x" * 9000)[:-1])
        await turns()
        assert [connection.statuses for connection in sending] == [[], [], [429], [429]]
        caller = served.connect(ALICE)
        caller.send(post("/inline", b"x" * 9000))
        await turns()
        assert caller.statuses == [200]
        assert shed == ["bytes_in_flight_per_address"] * 2

    run(test)


@pytest.mark.parametrize("path", ["/inline", "/task"])
def test_beyond_the_bytes_of_the_worker_the_address_that_sends_the_most_gives_way(path: str) -> None:
    async def test() -> None:
        served = listener()
        large = [served.connect(MALLORY) for _ in range(3)]
        for connection in large:
            connection.send(post(path, b"x" * 9000)[:-1])
        caller = served.connect(ALICE)
        for part in (post(path, b"x" * 6000)[:-1], b"x"):
            caller.send(part)
            await turns()
        assert caller.statuses == [200]
        assert sorted(connection.statuses for connection in large) == [[], [], [503]]
        assert served.state.shares.bytes <= LIMITS.bytes_in_flight

    run(test)


@pytest.mark.parametrize("path", ["/refused", "/early"])
def test_the_body_of_a_refused_request_counts_for_nothing(path: str) -> None:
    async def test() -> None:
        served = listener()
        connections = [served.connect(MALLORY) for _ in range(5)]
        for _ in range(9):
            for connection in connections:
                head = post(path, b"x" * 9000)
                connection.send(
                    head[:-9000] if not connection.statuses and not connection.protocol.began_at else b"x" * 900
                )
            await turns()
        assert served.state.shares.bytes == 0
        assert served.state.waiting == 0

    run(test)


def test_heads_that_never_end_count_and_their_number_of_headers_is_bounded() -> None:
    async def test() -> None:
        served = listener()
        slow = served.connect(MALLORY)
        slow.send(b"POST /inline HTTP/1.1\r\nhost: a\r\n")
        slow.send(b"x-filler: " + b"a" * 1000)
        assert served.state.shares.bytes > 1000
        many = served.connect(MALLORY)
        many.send(b"POST /inline HTTP/1.1\r\n" + b"a:b\r\n" * 300)
        assert many.statuses == [431]

    run(test)


# ---- pipelining --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("garbage", "status"),
    [
        (b"garbage\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"POST /task HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST /task HTTP/1.1\r\n" + b"a:b\r\n" * 300 + b"\r\n", 431),
        (b"POST /task HTTP/1.1\r\nx-filler: " + b"a" * 5000 + b"\r\n\r\n", 431),
    ],
)
@pytest.mark.parametrize("before", [["/inline"], ["/task"], ["/slow"], ["/inline", "/slow", "/task"]])
@pytest.mark.parametrize("at_once", [True, False])
def test_garbage_replaces_no_answer_before_it(before: list[str], garbage: bytes, status: int, at_once: bool) -> None:
    async def test() -> None:
        served = listener()
        caller = served.connect(ALICE)
        requests = b"".join(post(path, b"x") for path in before)
        for part in [requests + garbage] if at_once else [requests, garbage]:
            caller.send(part)
            await turns()
        served.handler.may_answer.set()
        await turns()
        assert caller.statuses == [*[200] * len(before), status]
        assert caller.closed

    run(test)


def test_a_request_that_was_refused_before_it_came_gets_no_second_answer() -> None:
    async def test() -> None:
        served = listener()
        caller = served.connect(ALICE)
        caller.send(b"POST /early HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n")
        await turns()
        caller.send(b"zz\r\n")
        await turns()
        assert (caller.statuses, caller.closed) == ([413], True)

    run(test)


@pytest.mark.parametrize("ahead", [1, 2], ids=["one request", "with another sent ahead"])
@pytest.mark.parametrize("knows", [True, False], ids=["after the loss is told", "in the turn of the loss"])
def test_an_answer_to_a_caller_who_has_left_is_dropped_without_a_fault(
    ahead: int, knows: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The transport of a lost connection refuses what is written, before and after the protocol is told of the loss."""

    async def test() -> None:
        served = listener()
        logging.getLogger("uvicorn.error").addHandler(caplog.handler)  # whose lines go nowhere else
        caller = served.connect(ALICE)
        caller.send(post("/slow") * ahead)
        await turns()
        if knows:
            caller.leave()
        else:
            caller.closed = True
        served.handler.may_answer.set()
        await turns()
        assert caller.received == b""

    try:
        run(test)
    finally:
        logging.getLogger("uvicorn.error").removeHandler(caplog.handler)
    assert caplog.messages == []


@pytest.mark.parametrize("path", ["/inline", "/task"])
def test_one_connection_may_not_send_any_number_of_requests_ahead(path: str) -> None:
    async def test() -> None:
        shed: list[str] = []
        served = listener(shed=shed)
        caller = served.connect(ALICE)
        caller.send(post(path, b"x") * (MAX_UNANSWERED + 50))
        await turns(MAX_UNANSWERED * 10)
        assert caller.statuses == [*[200] * MAX_UNANSWERED, 429]
        assert shed == ["unanswered"]

    run(test)


def test_answers_that_nobody_reads_and_requests_sent_ahead_keep_nobody_else_waiting() -> None:
    async def test() -> None:
        served = listener(ConnectionLimits())
        for _ in range(20):
            deaf = served.connect(MALLORY)
            deaf.protocol.pause_writing()
            deaf.send(post("/task", b"x") * 50)
        busy = served.connect(MALLORY)
        busy.send(post("/slow") * 50)
        ahead = served.connect(MALLORY)
        ahead.send(post("/inline") * 50)
        assert served.state.waiting == 2
        await turns(100)
        assert served.state.waiting == 1

    run(test)


# ---- proxies -----------------------------------------------------------------------------------------------------


def test_a_trusted_proxy_names_the_caller_of_each_request_and_nobody_else_does() -> None:
    async def test() -> None:
        served = listener()
        proxy, liar = served.connect(PROXY), served.connect(MALLORY)
        for host in (ALICE, MALLORY):
            for connection in (proxy, liar):
                connection.send(post("/inline", b"", f"x-forwarded-for: 198.51.100.1, {host}"))
                await turns()
        assert served.handler.callers == [ALICE, MALLORY, MALLORY, MALLORY]

    run(test)


def test_bytes_by_a_proxy_count_for_the_caller_that_it_names() -> None:
    async def test() -> None:
        limits = ConnectionLimits(body_bytes=10_000, bytes_in_flight=60_000, bytes_in_flight_per_address=20_000)
        served = listener(limits)
        connections = [served.connect(PROXY) for _ in range(5)]
        for connection, host in zip(connections, [MALLORY] * 4 + [ALICE], strict=True):
            connection.send(post("/inline", b"x" * 9000, f"x-forwarded-for: {host}")[:-1])
        await turns()
        assert [connection.statuses for connection in connections] == [[], [], [429], [429], []]

    run(test)


# ---- nothing stays counted ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_whatever_callers_send_and_however_they_leave_nothing_stays_counted(seed: int) -> None:
    """Requests of every kind in pieces of any size, pipelined, broken off, refused; then all of them are gone."""
    draw = random.Random(seed)
    paths = ["/inline", "/refused", "/early", "/task", "/slow"]

    def content() -> bytes:
        body = b"x" * draw.choice([0, 1, 100, 9000])
        fields = [f"x-forwarded-for: 198.51.100.{draw.randrange(3)}"] if draw.random() < 0.5 else []
        request = post(draw.choice(paths), body, *fields)
        if draw.random() < 0.2:
            head = request.partition(b"content-length")[0]
            request = (
                head + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
                if body
                else request
            )
        return b"garbage\r\n\r\n" if draw.random() < 0.05 else request

    async def test() -> None:
        served = listener()
        open_ones: list[Connection] = []
        most = 0
        for _ in range(150):
            if draw.random() < 0.3 or not open_ones:
                open_ones.append(served.connect(draw.choice([PROXY, MALLORY, ALICE, "2001:db8::1"])))
            connection = draw.choice(open_ones)
            sent = content() * draw.choice([1, 1, 3])
            while sent and not connection.closed:
                size = draw.choice([len(sent), 1 + draw.randrange(len(sent))])
                connection.send(sent[:size])
                sent = sent[size:] if draw.random() < 0.8 else b""
                most = max(most, served.state.shares.bytes)
                if draw.random() < 0.5:
                    await turns(3)
            if draw.random() < 0.1:
                open_ones.pop(draw.randrange(len(open_ones))).leave()
            if draw.random() < 0.05:
                served.handler.may_answer.set()
                await turns(3)
                served.handler.may_answer.clear()
        served.handler.may_answer.set()
        await turns()
        for connection in open_ones:
            connection.leave()
        await turns()
        shares = served.state.shares
        assert (shares.bytes, shares.connections, served.state.waiting) == (0, 0, 0)
        assert shares._holders == {}
        assert most <= LIMITS.bytes_in_flight + LIMITS.body_bytes + LIMITS.header_bytes

    run(test)
