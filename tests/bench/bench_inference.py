"""A worker of this code beside one of an earlier revision: CPU time per request, in one process and in turns.

``python -m tests.bench.bench_inference [--revision HEAD] [--rounds 400] [--only LOAD]``. JSON lines. Both workers are
whole (guarded door, rows checked, predictions logged and masked) and get the same bytes by connections without a
socket: what differs between two processes or two moments differs for neither. A ratio is the median of the rounds'
ratios, ``least`` and ``most`` are the 90 % interval of that median; the same code beside itself is within 1 %. On a
busy machine others take the cache away between two turns: ``fastest`` is the ratio of the sides' fastest tenths of
turns, which ran undisturbed, the median over the pairs; ``fastest_least`` and ``fastest_most`` are the pairs' extremes.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import uvloop
from uvicorn.server import ServerState

from tests.bench.bench_serving import GUARDED, KEY, MODEL, NAMES, bundle, request, say, train

EARLIER = "pipelines_of_the_revision"
"""What the package of the revision is called beside the present one."""
WORKER = "serving.data_plane.worker"
CONNECTIONS = 8
"""Of each worker; their requests come in the same turn of the loop, as under load."""
PAIRS = 4
"""Of workers, which take turns, too: two of the same code differ by where they happen to lie in memory."""
TURNS = 1000
"""Of the loop, within which every request is answered."""
PATIENT: dict[str, Any] = {"limits": {"request_seconds": 3600}}


def check_out(revision: str, folder: Path) -> None:
    """The package of that revision under a name of its own, importable from ``folder``."""
    archive = subprocess.run(["git", "archive", revision, "pipelines"], capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    (folder / "pipelines").rename(folder / EARLIER)
    for path in (folder / EARLIER).rglob("*.py"):
        path.write_text(re.sub(r"\bpipelines\b(?=\.| import)", EARLIER, path.read_text()))
    sys.path.insert(0, str(folder))


class Connection(asyncio.Transport):
    """The other end of a worker's connection: notes what is written, and sends nothing anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()

    def write(self, data: Any) -> None:
        self.written += data

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass


class Side:
    """One worker in this process, and connections to it."""

    def __init__(self, package: str, folder: Path, door: dict[str, Any]) -> None:
        self._package, self._folder, self._door = package, folder, door
        self._opened: list[tuple[Any, Connection]] = []

    async def start(self, sealed: tuple[str, str]) -> None:
        """Serve version 1."""
        loop = asyncio.get_running_loop()
        module = import_module(f"{self._package}.{WORKER}")
        settings = import_module(f"{self._package}.serving.settings")
        (self._folder / "bundles").mkdir(parents=True)
        (self._folder / "bundles" / sealed[1]).symlink_to(sealed[0])
        (self._folder / "gateway.json").write_text(json.dumps(self._door))
        settings.write_config(self._folder, settings.load_config(self._folder / "gateway.json", "127.0.0.1", 1))
        mirror = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)[0]
        mirror_queue = module.MirrorQueue(mirror, loop.call_later)
        self._log = module.open_log_writer(self._folder, "0-1", loop.call_later)
        control, self._supervisor = socket.socketpair()
        worker = module.Worker(control, self._folder / "bundles", self._log, mirror_queue, module.RequestLimits())
        table = {"generation": 1, "routes": {MODEL: {"live": {"version": "1", "bundle": "", "sha256": sealed[1]}}}}
        await worker._apply_table(msgspec.convert(table, module.RoutingTable))
        self._config = worker.server.config
        self._config.load()

    def open(self) -> None:
        """Connect anew, with an empty log and nothing left to collect."""
        for protocol, _ in self._opened:
            protocol.connection_lost(None)
        state, loop = ServerState(), asyncio.get_running_loop()
        self._opened = [
            (self._config.http_protocol_class(self._config, state, {}, loop), Connection()) for _ in range(CONNECTIONS)
        ]
        for protocol, connection in self._opened:
            protocol.connection_made(connection)
        self._log.rotate()
        gc.collect()

    async def answer(self, content: bytes) -> bytes:
        """The bytes of one answer, once every connection has one and all of them are logged."""
        for protocol, connection in self._opened:
            connection.written.clear()
            protocol.data_received(content)
        for _ in range(TURNS):
            await asyncio.sleep(0)
            if all(connection.written.endswith(b"}") for _, connection in self._opened):
                await asyncio.sleep(0)
                return bytes(self._opened[0][1].written)
        raise TimeoutError(f"no answer to {content[:80]!r}")

    async def turn(self, content: bytes, times: int) -> float:
        """CPU microseconds per request, of so many from each connection."""
        started = time.process_time()
        for _ in range(times):
            await self.answer(content)
        return (time.process_time() - started) / (times * CONNECTIONS) * 1e6


def post(path: str, content: Any) -> bytes:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: bench\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body


def chunked(content: bytes) -> bytes:
    """The same request without the length of its body, which is answered in a task of its own."""
    head, _, body = content.partition(b"\r\n\r\n")
    fields = b"\r\n".join(field for field in head.split(b"\r\n") if not field.startswith(b"content-length"))
    return fields + b"\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def tensors(rows: Any, count: int) -> bytes:
    """The rows of ``request`` as the Open Inference Protocol has them."""
    columns = zip(NAMES, rows[:count].astype(float).T.tolist(), strict=True)
    inputs = [{"name": name, "shape": [count], "datatype": "FP64", "data": data} for name, data in columns]
    return post(f"/v2/models/{MODEL}/infer", {"inputs": inputs})


async def pair_of(folder: Path, sealed: tuple[str, str], number: int) -> dict[tuple[str, str], Side]:
    """A worker of each revision, without a cache and with one; the one is made before the other or after it."""
    doors = {"log": GUARDED | PATIENT, "cache": GUARDED | PATIENT | {"cache": {}}}
    packages = [("earlier", EARLIER), ("now", "pipelines")][:: 1 if number % 2 else -1]
    sides = {}
    for door, declared in doors.items():
        for name, package in packages:
            sides[door, name] = Side(package, folder / str(number) / door / name, declared)
            await sides[door, name].start(sealed)
    return sides


async def compare(folder: Path, sealed: tuple[str, str], rows: Any, rounds: int, only: Sequence[str]) -> None:
    pairs = [await pair_of(folder, sealed, number) for number in range(PAIRS)]
    wrong = post("/invocations", {"dataframe_split": {"columns": NAMES, "data": [["x"] * len(NAMES)]}})
    loads = {
        "MLflow, 1 row": ("log", request(rows, 1), 4),
        "MLflow, 100 rows": ("log", request(rows, 100), 1),
        "v2, 1 row": ("log", tensors(rows, 1), 4),
        "v2, 100 rows": ("log", tensors(rows, 100), 1),
        "MLflow, 1 row, in a task": ("log", chunked(request(rows, 1)), 4),
        "MLflow, 1 row, cached": ("cache", request(rows, 1), 4),
        "v2, 1 row, cached": ("cache", tensors(rows, 1), 4),
        "MLflow, 400, no JSON": ("log", post("/invocations", b"{"), 4),
        "MLflow, 400, 15 faults": ("log", wrong, 4),
        "MLflow, 404": ("log", post("/models/nobody/invocations", b"{}"), 4),
        "v2, 400, no JSON": ("log", post(f"/v2/models/{MODEL}/infer", b"{"), 4),
        "v2, 404": ("log", post("/v2/models/nobody/infer", b"{}"), 4),
    }
    random = np.random.default_rng(7)
    for load, (door, content, times) in loads.items():
        if only and load not in only:
            continue
        took: dict[str, list[float]] = {"earlier": [], "now": []}
        for sides in pairs:
            for name in took:
                sides[door, name].open()
                await sides[door, name].turn(content, 10)
        for number in range(rounds):
            sides = pairs[number % PAIRS]
            for name in ("earlier", "now") if number // PAIRS % 2 else ("now", "earlier"):
                took[name].append(await sides[door, name].turn(content, times))
        status = [(await pairs[0][door, name].answer(content))[9:12].decode() for name in took]
        ratios = np.array(took["now"]) / np.array(took["earlier"])
        fastest = [
            float(np.percentile(took["now"][number::PAIRS], 10) / np.percentile(took["earlier"][number::PAIRS], 10))
            for number in range(PAIRS)
        ]
        drawn = np.median(random.choice(ratios, (1000, rounds)), axis=1)
        say(
            bench="inference_ratio",
            figure="cpu_us",
            load=load,
            times=round(float(np.median(ratios)), 3),
            least=round(float(np.percentile(drawn, 5)), 3),
            most=round(float(np.percentile(drawn, 95)), 3),
            fastest=round(float(np.median(fastest)), 3),
            fastest_least=round(min(fastest), 3),
            fastest_most=round(max(fastest), 3),
            **{name: round(float(np.median(each)), 1) for name, each in took.items()},
            status="/".join(status),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--revision", default="HEAD", help="the commit to compare with")
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--only", action="append", default=[], help="a load, such as 'MLflow, 1 row'")
    options = parser.parse_args()
    model, rows = train()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        check_out(options.revision, folder)
        sealed = bundle(folder / "bundles", model, rows, "1")
        uvloop.run(compare(folder, sealed, rows, options.rounds, options.only))


if __name__ == "__main__":
    main()
