"""`make soak` lets 2,000 connections do their worst at once; the worker's memory stays under the stated bound.

``python -m tests.fuzz.soak [--connections 2000]``. From twenty addresses of this machine: silent ones, heads and bodies
without an end, bodies of refused callers, and answers that nobody reads. Meanwhile another address asks as a caller
does. Exit status 1 if the worker held more than its bound, or that caller was not answered.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx
import psutil

from tests.serving.front_gateways import KEYS, front, keys
from tests.serving.gateway_process import COLUMNS, ROWS, Gateway, write_bundle

BYTES_IN_FLIGHT = 64 * 1024 * 1024
CONNECTION_BYTES = 40 * 1024
"""What a connection may take beside its bytes in flight: parser, buffers, objects."""
ADDRESSES = [f"127.0.1.{number}" for number in range(1, 21)]
BODY_BYTES = 1024 * 1024
DECLARED = {
    "authentication": {"keys": keys(), "failures_per_minute": 1_000_000},
    "limits": {"bytes_in_flight": BYTES_IN_FLIGHT, "body_bytes": BODY_BYTES, "request_seconds": 60},
}
POST = b"POST /invocations HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
KEY = f"x-api-key: {KEYS['caller']}\r\n".encode()
LONG = b"content-length: 1000000\r\n\r\n"
ATTACKS = {
    "silent": (b"", 0),
    "head without end": (POST + b"x-filler: ", 60_000),
    "many headers": (POST + b"a: b\r\n" * 190, 0),
    "body without end": (POST + KEY + LONG, 900_000),
    "refused body": (POST + LONG, 900_000),
    "chunks without end": (POST + KEY + b"transfer-encoding: chunked\r\n\r\nF4240\r\n", 900_000),
    "pages that nobody reads": ((b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n") * 90, 0),
}
"""What is sent first, and the number of bytes that follow."""


def bound(connections: int) -> int:
    """Bytes by which a worker may grow."""
    return 2 * BYTES_IN_FLIGHT + connections * CONNECTION_BYTES


async def attack(port: int, number: int, stop: asyncio.Event) -> None:
    """One connection, opened again whenever the gateway ends it."""
    first, rest = list(ATTACKS.values())[number % len(ATTACKS)]
    address = (ADDRESSES[number % len(ADDRESSES)], 0)
    while not stop.is_set():
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=address)
        except OSError:
            await asyncio.sleep(0.5)
            continue
        try:
            writer.write(first)
            for _ in range(rest // 10_000):
                writer.write(b" " * 10_000)
                await writer.drain()
                await asyncio.sleep(0.01)
            if b"GET" not in first:
                await asyncio.wait(
                    {asyncio.ensure_future(reader.read()), asyncio.ensure_future(stop.wait())},
                    return_when="FIRST_COMPLETED",
                )
            else:
                await stop.wait()
        except OSError:
            pass
        finally:
            writer.close()
        await asyncio.sleep(0.5)


async def ask(base: str, seconds: float, statuses: Counter[int], took: list[float]) -> None:
    content = {"dataframe_split": {"columns": COLUMNS, "data": ROWS[:1]}}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        async with httpx.AsyncClient(timeout=30) as client:
            began = time.monotonic()
            answer = await client.post(f"{base}/invocations", json=content, headers={"x-api-key": KEYS["caller"]})
            statuses[answer.status_code] += 1
            took.append(time.monotonic() - began)
        await asyncio.sleep(0.05)


async def soak(gateway: Gateway, connections: int, seconds: float) -> tuple[int, Counter[int], list[float]]:
    """Most bytes by which the worker grew, and what a caller from another address met."""
    [pid] = gateway.worker_pids()
    before, most = psutil.Process(pid).memory_info().rss, 0
    stop, statuses, took = asyncio.Event(), Counter[int](), list[float]()
    attacks = [asyncio.create_task(attack(gateway.port, number, stop)) for number in range(connections)]
    asking = asyncio.create_task(ask(gateway.base, seconds, statuses, took))
    while not asking.done():
        most = max(most, psutil.Process(pid).memory_info().rss - before)
        await asyncio.sleep(0.2)
    stop.set()
    await asyncio.wait(attacks, timeout=30)
    await asking
    return most, statuses, took


def run(folder: Path, connections: int, seconds: float) -> tuple[int, Counter[int], list[float], str]:
    gateway = front(folder, **DECLARED).start()
    try:
        assert gateway.release("1", write_bundle(folder / "bundles", "1")).status_code == 200, gateway.log
        most, statuses, took = asyncio.run(soak(gateway, connections, seconds))
        lines = httpx.get(f"{gateway.admin}/metrics").text.splitlines()
        return most, statuses, took, ", ".join(line for line in lines if line.startswith("airworthy_shed_total{"))
    finally:
        gateway.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        most, statuses, took, shed = run(Path(name), options.connections, options.seconds)
    limit = bound(options.connections)
    print(
        f"{options.connections} connections: the worker grew by at most {most / 2**20:.0f} MiB of {limit / 2**20:.0f}; "
        f"another caller got {dict(statuses)}, median {statistics.median(took) * 1000:.0f} ms; {shed}"
    )
    return 0 if most <= limit and set(statuses) == {200} else 1


if __name__ == "__main__":
    sys.exit(main())
