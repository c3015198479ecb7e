"""`make fuzz` sends 200,000 requests, most of them broken, to both listeners of a gateway, for ten minutes at most.

``python -m tests.fuzz [--requests 200000] [--seconds 600] [--seed 1]``. Raw HTTP that ``tests.fuzz.raw_http`` draws,
and requests that schemathesis derives from the descriptions of both listeners. Exit status 1, with the seed and the
bytes, for any 5xx that is no "try again", any request that hangs, any worker that ended, and memory that grew.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil

from tests.fuzz.described import admin_document, send_described
from tests.fuzz.drive import Findings, connections, drive
from tests.fuzz.raw_http import RawHttp
from tests.serving.front_gateways import KEYS, front, keys
from tests.serving.gateway_process import ADMIN_TOKEN, COLUMNS, Gateway, write_bundle

KINDS = {name: "categorical" if name == "carrier" else "numeric" for name in COLUMNS}
CREDENTIALS = [f"x-api-key: {KEYS['caller']}", f"authorization: Bearer {KEYS['root']}", "x-api-key: guess", "x-a: b"]
ADMIN_CREDENTIALS = [f"authorization: Bearer {ADMIN_TOKEN}"]
MOST_GROWTH = 48 * 1024 * 1024
"""Bytes by which a process may have grown after the first tenth of the requests: caches and arenas fill up."""
DECLARED = {
    "authentication": {"keys": keys(), "failures_per_minute": 1_000_000},
    "limits": {"request_seconds": 1, "body_bytes": 100_000, "rows": 50},
}


def fuzzed_gateway(folder: Path) -> Gateway:
    """A gateway with version 1 live, whose requests may take a second."""
    gateway = front(folder, **DECLARED).start()
    assert gateway.release("1", write_bundle(folder / "bundles", "1")).status_code == 200, gateway.log
    return gateway


def draws(gateway: Gateway, seed: int) -> list[tuple[int, RawHttp]]:
    """The listeners by their ports, and what is drawn for each."""
    public = RawHttp(seed, "flight_delay", KINDS, CREDENTIALS)
    admin = RawHttp(seed, "flight_delay", KINDS, CREDENTIALS, ADMIN_CREDENTIALS)
    return [(gateway.port, public), (gateway.admin_port, admin)]


def memory(gateway: Gateway) -> dict[int, int]:
    """Bytes that the supervisor and each worker hold."""
    assert gateway.process is not None
    return {pid: psutil.Process(pid).memory_info().rss for pid in (gateway.process.pid, *gateway.worker_pids())}


def send(gateway: Gateway, seed: int, count: int, seconds: float) -> Findings:
    """``count`` connections in at most so many seconds, nine of ten to the public listener."""
    findings = Findings()
    for (port, draw), share in zip(draws(gateway, seed), (0.9, 0.1), strict=True):
        drawn, until = connections(draw, round(count * share)), time.monotonic() + seconds * share
        asyncio.run(drive("127.0.0.1", port, drawn, findings, until))
    findings.faults += faults_left(gateway)
    return findings


def send_drawn_from_descriptions(gateway: Gateway, seconds: float, examples: int) -> Findings:
    """What schemathesis draws from the descriptions of both listeners; the public one's describes both protocols."""
    findings = Findings()
    root = {"x-api-key": KEYS["root"]}
    page = httpx.get(f"{gateway.base}/openapi.json", headers=root).json()
    admin = f"http://127.0.0.1:{gateway.admin_port}", {"authorization": f"Bearer {ADMIN_TOKEN}"}
    for document, (base, headers) in ((page, (gateway.base, root)), (admin_document("flight_delay"), admin)):
        until, each = time.monotonic() + seconds / 2, {"post": examples, "put": examples}
        statuses, faults = send_described(document, base, headers, until, each)
        findings.statuses.update(statuses)
        findings.faults += faults
    findings.faults += faults_left(gateway)
    return findings


def faults_left(gateway: Gateway) -> list[str]:
    """What the requests left behind that they should not have."""
    faults = []
    answer = httpx.get(f"{gateway.base}/health", timeout=5)
    if answer.status_code != 200:
        faults.append(f"/health answers {answer.status_code} afterwards")

    def settled() -> bool:
        values = dict(
            line.split(" ")
            for line in httpx.get(f"{gateway.admin}/metrics").text.splitlines()
            if " " in line and line[0] != "#"
        )
        return values["airworthy_bytes_in_flight"] == "0" and float(values["airworthy_connections"]) <= 2

    try:
        gateway.wait_for(settled)
    except AssertionError:
        faults.append("bytes or connections of callers that have left stay counted")
    if "Traceback" in gateway.log:
        faults.append(f"the log has a traceback: {gateway.log[gateway.log.index('Traceback') :][:2000]}")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        gateway = fuzzed_gateway(Path(name))
        try:
            return _run(gateway, options.requests, options.seconds, options.seed)
        finally:
            gateway.stop()


def _run(gateway: Gateway, count: int, seconds: float, seed: int) -> int:
    started = time.monotonic()
    first = send(gateway, seed, count // 10, seconds / 10)
    described = send_drawn_from_descriptions(gateway, seconds / 5, count // 100)
    before = memory(gateway)
    rest = send(gateway, seed + 1, count - count // 10, seconds - (time.monotonic() - started))
    after = memory(gateway)
    faults = first.faults + described.faults + rest.faults
    if before.keys() != after.keys():
        faults.append(f"processes ended: {sorted(before)} became {sorted(after)}")
    grown = {pid: after[pid] - before[pid] for pid in before.keys() & after.keys()}
    faults += [f"process {pid} grew by {size:,} bytes" for pid, size in grown.items() if size > MOST_GROWTH]
    statuses = first.statuses + described.statuses + rest.statuses
    took = time.monotonic() - started
    print(
        f"{first.connections + rest.connections:,} connections, {statuses.total():,} answers in {took:.0f} s, "
        f"seed {seed}; by status: {dict(sorted(statuses.items()))}; processes grew by {sorted(grown.values())} bytes"
    )
    for fault in faults:
        print(f"FAULT: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
