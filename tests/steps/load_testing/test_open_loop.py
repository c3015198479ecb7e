"""Whatever the server does, every request is sent when it is due and counted once; against servers that misbehave."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pipelines.steps.load_testing.open_loop import Histogram, OpenLoop, RequestOutcome, RequestSchedule, RequestTarget

Answer = Callable[[int, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b'{"predictions":[0.5]}'


def http(body: bytes = OK, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{more}\r\n".encode() + body


async def good(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(http())


def judge(status: int, headers: dict[bytes, bytes], body: bytes) -> str:
    if status != 200:
        return f"status {status}"
    return "wrong_version" if headers.get(b"x-model-version") == b"9" else "" if body == OK else "answer"


def tried(
    answer: Answer, schedule: RequestSchedule, *, timeout: float = 5, max_open: int = 64, **how: Any
) -> tuple[RequestOutcome, int]:
    """The outcome against a server, and how many requests it saw."""
    seen = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
                seen += 1
                await answer(seen, reader, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def run() -> RequestOutcome:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        door = RequestTarget(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x", [b"{}"], judge)
        stop = how.get("stop", lambda _: False)
        loop = OpenLoop(door, schedule, how.get("limits", [200.0]), timeout=timeout, max_open=max_open, stop=stop)
        try:
            return await loop.run()
        finally:
            server.close()

    return asyncio.run(run()), seen


def test_the_ramp_is_linear_and_the_plateau_even() -> None:
    schedule = RequestSchedule(rps=100, seconds=10, ramp_up=4)
    assert schedule.total == 200 + 600
    assert schedule.due(0) == 0
    assert schedule.due(50) == pytest.approx(2)  # half of the ramp's time, a quarter of its requests
    assert schedule.due(200) == pytest.approx(4)
    assert schedule.due(201) - schedule.due(200) == pytest.approx(0.01)
    times = [schedule.due(number) for number in range(schedule.total)]
    assert times == sorted(times)
    assert times[-1] < 10
    assert RequestSchedule(rps=3, seconds=2).total == 6


def test_percentiles_are_at_most_two_percent_too_high_and_failures_beyond_all() -> None:
    found = Histogram()
    for milliseconds in range(1, 1001):
        found.add(milliseconds)
    for share in (0.01, 0.5, 0.95, 0.99, 1.0):
        assert 1000 * share <= found.percentile(share) <= 1000 * share * 1.02 + 1e-9
    for _ in range(11):
        found.add(math.inf)
    assert found.percentile(0.99) == math.inf
    assert math.isnan(Histogram().percentile(0.5))


def test_every_request_is_answered_and_counted_once() -> None:
    outcome, seen = tried(good, RequestSchedule(100, 1.5, 0.5))
    assert (outcome.sent, outcome.answered, outcome.errors, outcome.unsent) == (125, 125, {}, 0)
    assert seen == 125
    assert outcome.plateau.total == 100
    assert sum(second.sent for second in outcome.seconds.values()) == 125


def test_a_stall_is_charged_to_all_who_had_to_wait_and_not_only_to_the_first() -> None:
    """Coordinated omission: a client that waits for answers would send one request into the stall."""

    class Stall:
        until: float | None = None

    async def answer(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        now = asyncio.get_running_loop().time()
        if number == 50:
            Stall.until = now + 0.6
        if Stall.until is not None and now < Stall.until:
            await asyncio.sleep(Stall.until - now)
        writer.write(http())

    outcome, _ = tried(answer, RequestSchedule(100, 2), limits=[200.0, 400.0])
    assert outcome.answered == 200
    assert 30 <= outcome.slow[200.0] <= 100  # those due in the first 0.4 s of the stall
    assert 10 <= outcome.slow[400.0] < outcome.slow[200.0]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (http(status="503 Service Unavailable"), "status 503"),
        (http(b"nonsense"), "answer"),
        (b"this is no HTTP\r\n\r\n", "answer"),
    ],
)
def test_an_answer_that_is_none_is_an_error_and_slower_than_any_limit(reply: bytes, kind: str) -> None:
    async def answer(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)

    outcome, _ = tried(answer, RequestSchedule(40, 0.5), limits=[1e6])
    assert outcome.errors == {kind: 20}
    assert (outcome.answered, outcome.plateau_errors, outcome.slow[1e6]) == (0, 20, 20)


def test_a_connection_that_is_cut_is_an_error_and_the_next_request_gets_a_new_one() -> None:
    async def answer(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if number % 4 == 0:
            raise ConnectionResetError
        writer.write(http())

    outcome, seen = tried(answer, RequestSchedule(100, 1))
    assert outcome.errors == {"connection": 25}
    assert (outcome.answered, seen) == (75, 100)


def test_a_server_that_closes_after_each_answer_is_served_all_the_same() -> None:
    async def answer(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http(more="connection: close\r\n"))

    outcome, _ = tried(answer, RequestSchedule(50, 1))
    assert (outcome.answered, outcome.errors) == (50, {})


def test_answers_that_never_come_are_given_up_and_what_exceeds_the_bound_is_an_error() -> None:
    async def answer(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    outcome, _ = tried(answer, RequestSchedule(100, 0.5), timeout=1, max_open=20)
    assert outcome.errors == {"overflow": 30, "timeout": 20}
    assert outcome.elapsed_seconds < 60, "it waited for the answers"


def test_nobody_at_the_door_is_counted_as_well() -> None:
    async def run() -> RequestOutcome:
        door = RequestTarget("http://127.0.0.1:9/x", [b"{}"], judge)
        schedule = RequestSchedule(50, 0.5)
        return await OpenLoop(door, schedule, [], timeout=2, max_open=64, stop=lambda _: False).run()

    assert asyncio.run(run()).errors == {"connection": 25}


def test_another_versions_answers_are_counted_apart() -> None:
    async def answer(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http(more="X-Model-Version: 9\r\n"))

    outcome, _ = tried(answer, RequestSchedule(40, 0.5))
    assert (outcome.wrong_version_answers, outcome.errors) == (20, {})


def test_it_ends_early_once_it_is_told_to() -> None:
    outcome, seen = tried(good, RequestSchedule(50, 30), stop=lambda found: found.sent > 50)
    assert outcome.stopped
    assert outcome.sent == seen < 500
    assert outcome.elapsed_seconds < 30
