"""The gateway beside `mlflow models serve`: same model, same body, one worker on one core each, in interleaved rounds.

``make bench-serving``, or ``python -m tests.bench.bench_serving [--rounds 5] [--seconds 1.5] [--only mlflow]``. JSON
lines, then a table. Every figure is a median over rounds in which the sides took turns, and a ratio is the median of
the rounds' ratios, so that what else the machine does meets both alike. CPU time is the answering process's, per
request. The client is one Python process on another core: where it is the slower one, ratios are lower bounds.

What a mirror costs its callers is measured within one worker that serves two models, one of them mirrored: processes of
one program differ among themselves by more than that.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.free_port import free_port
from tests.serving.gateway_process import Gateway
from tests.serving.rollout_calls import Rollout, roll_back_under_load

NAMES = [f"column_{number}" for number in range(15)]
MODEL = "bench"
KEY = "bench-key-0123456789abcdef0123456789"
GUARDED: dict[str, Any] = {
    "schema": 1,
    "authentication": {"keys": [{"id": "bench", "sha256": hashlib.sha256(KEY.encode()).hexdigest()}]},
    "rate": {"per_minute": 60_000_000, "burst": 1_000_000},
    "privacy": {"net": True},
}
"""Everything a production door does: key, rate, limits, checks, masking, every answer logged."""
LOADS = ((1, 1), (16, 1), (16, 100))
"""Clients and rows per request."""
CORES = sorted(os.sched_getaffinity(0))
SERVER, CLIENT = CORES[0], CORES[-1]
"""The core of the process that answers, and that of everything else."""
TARGETS = {"rps, 1 client, 1 row": 15.0, "rps, 16 clients, 1 row": 25.0, "p50_ms, mirrored": 1.1}
"""At least so many times what MLflow's server answers; at most so many times the latency without a mirror."""
TURN_SECONDS = 0.3
PARTS = ("mlflow", "shadow", "rollback", "door")


LINES: list[dict[str, Any]] = []


def say(**line: Any) -> None:
    LINES.append(line)
    print(json.dumps(line), flush=True)


def train() -> tuple[Any, np.ndarray[Any, Any]]:
    """100 trees of depth 6 on 15 floats, and 2,000 rows."""
    import xgboost

    random = np.random.default_rng(7)
    rows = random.normal(size=(2000, len(NAMES))).astype(np.float32)
    label = (rows[:, 0] * rows[:, 1] + rows[:, 2] > 0).astype(int)
    return xgboost.XGBClassifier(n_estimators=100, max_depth=6, n_jobs=1).fit(rows, label), rows


def bundle(folder: Path, model: Any, rows: np.ndarray[Any, Any], version: str, name: str = MODEL) -> tuple[str, str]:
    """The same model as a bundle of the gateway."""
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    target = folder / name / version
    target.mkdir(parents=True)
    onnx = convert_xgboost(model, "bench", [("features", FloatTensorType([None, len(NAMES)]))], target_opset=15)
    golden = {"rows": rows[:8].tolist(), "predictions": model.predict_proba(rows[:8])[:, 1].tolist()}
    (target / "model.onnx").write_bytes(onnx.SerializeToString())
    (target / "categories.json").write_text("{}")
    (target / "golden.json").write_text(json.dumps(golden))
    manifest = {
        "model": name,
        "version": version,
        "predictor": "onnx",
        "output": "probability",
        "features": [{"name": name, "type": "numeric"} for name in NAMES],
        "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(target.iterdir())},
        "model_digest": "0" * 64,
        "entry": "model.onnx",
    }
    content = json.dumps(manifest).encode()
    (target / "bundle.json").write_bytes(content)
    return str(target), hashlib.sha256(content).hexdigest()


def request(rows: np.ndarray[Any, Any], count: int, name: str = "") -> bytes:
    """The same bytes for every server; the key means something to the guarded gateway alone."""
    body = json.dumps({"dataframe_split": {"columns": NAMES, "data": rows[:count].astype(float).tolist()}}).encode()
    path = f"/models/{name}/invocations" if name else "/invocations"
    head = f"POST {path} HTTP/1.1\r\nhost: bench\r\nx-api-key: {KEY}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


class Client(asyncio.Protocol):
    """Sends the same request again as soon as its answer is complete."""

    def __init__(self, content: bytes, answered: list[tuple[float, float]], failures: list[int]) -> None:
        self._content, self._answered, self._failures = content, answered, failures
        self._seen = b""

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.WriteTransport = transport
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._content)

    def data_received(self, data: bytes) -> None:
        self._seen = seen = self._seen + data
        end = seen.find(b"\r\n\r\n")
        at = seen.find(b"ontent-length: ")  # some servers write it with a capital letter
        if end < 0 or (at > 0 and len(seen) - end - 4 < int(seen[at + 15 : seen.find(b"\r", at)])):
            return
        now = time.perf_counter()
        self._answered.append((now, now - self._sent))
        if seen[9:12] != b"200":
            self._failures.append(int(seen[9:12]))
        self._seen = b""
        self._send()


async def _load(port: int, content: bytes, clients: int, seconds: float) -> tuple[list[tuple[float, float]], list[int]]:
    """Moment and seconds of every answer after a short warm-up; status of every failure."""
    answered: list[tuple[float, float]] = []
    failures: list[int] = []
    loop = asyncio.get_running_loop()
    opened = [
        await loop.create_connection(lambda: Client(content, answered, failures), "127.0.0.1", port)
        for _ in range(clients)
    ]
    await asyncio.sleep(min(0.3, seconds / 3))
    answered.clear()
    await asyncio.sleep(seconds)
    measured = list(answered)
    for transport, _ in opened:
        transport.abort()
    return measured, failures


def pin(pid: int, core: int) -> None:
    """Every thread of a process to one core."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), {core})


def cpu(pids: Sequence[int]) -> float:
    """CPU seconds that these processes have used."""
    times = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13] for pid in pids]
    return sum(int(one) for pair in times for one in pair) / os.sysconf("SC_CLK_TCK")


def pss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"no Pss of {pid}")


class Side:
    """One server under measurement: its port, and the processes that answer."""

    def __init__(self, name: str, port: int, pids: Callable[[], Sequence[int]]) -> None:
        self.name, self.port, self._pids = name, port, pids

    def round(self, content: bytes, clients: int, seconds: float) -> dict[str, float]:
        """One measurement: requests per second, latency in milliseconds, CPU microseconds per request."""
        pids = self._pids()
        os.sched_setaffinity(0, {CLIENT})
        for pid in pids:
            pin(pid, SERVER)
        before, started = cpu(pids), time.perf_counter()
        answered, failures = uvloop.run(_load(self.port, content, clients, seconds))
        assert not failures, f"{self.name} answered {failures[:3]}"
        took = [one for _, one in answered]
        whole = (time.perf_counter() - started) / seconds  # the warm-up has its share of the CPU time
        return {
            "rps": len(took) / seconds,
            "p50_ms": float(np.percentile(took, 50)) * 1000,
            "p99_ms": float(np.percentile(took, 99)) * 1000,
            "cpu_us": (cpu(pids) - before) / (len(took) * whole) * 1e6,
        }


def named(clients: int, count: int) -> str:
    return f"{clients} client{'s' * (clients > 1)}, {count} row{'s' * (count > 1)}"


def take_turns(
    bench: str, sides: Sequence[Side], rows: np.ndarray[Any, Any], rounds: int, seconds: float, loads: Any = LOADS
) -> dict[tuple[str, str], float]:
    """Rounds in which the sides take turns; what the first has over the second, by figure and load."""
    ratios: dict[tuple[str, str], float] = {}
    for clients, count in loads:
        found: dict[str, list[dict[str, float]]] = {side.name: [] for side in sides}
        for _ in range(rounds):
            for side in sides:
                found[side.name].append(side.round(request(rows, count), clients, seconds))
        for name, measured in found.items():
            figures = {figure: round(float(np.median([one[figure] for one in measured])), 3) for figure in measured[0]}
            say(bench=bench, server=name, clients=clients, rows=count, rounds=rounds, **figures)
        ours, theirs = (found[side.name] for side in sides[:2])
        for figure in ours[0]:
            by_round = [one[figure] / other[figure] for one, other in zip(ours, theirs, strict=True)]
            load = named(clients, count)
            ratios[figure, load] = times = round(float(np.median(by_round)), 2)
            known = {"least": round(min(by_round), 2), "most": round(max(by_round), 2)}
            target = TARGETS.get(f"{figure}, {load}") if bench == "serving" else None
            met = {} if target is None else {"target": target, "met": times >= target}
            say(bench=f"{bench}_ratio", figure=figure, load=load, times=times, **known, **met)
    return ratios


def await_answer(port: int, content: bytes) -> None:
    """Return at the first 200 to a real request."""
    head, _, body = content.partition(b"\r\n\r\n")
    url = f"http://127.0.0.1:{port}{head.split()[1].decode()}"
    sent = {"content-type": "application/json", "x-api-key": KEY}
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            if httpx.post(url, content=body, headers=sent).status_code == 200:
                return
        time.sleep(0.01)
    raise TimeoutError(f"port {port} did not answer")


# ---- the gateway -------------------------------------------------------------------------------------------------


@contextmanager
def serving(folder: Path, sealed: tuple[str, str], door: Mapping[str, Any] | None = GUARDED) -> Iterator[Gateway]:
    """A gateway with one worker that serves version 1."""
    folder.mkdir(parents=True)
    extra = []
    if door is not None:
        (folder / "gateway.json").write_text(json.dumps(door))
        extra = ["--config", str(folder / "gateway.json")]
    gateway = Gateway(folder / "gateway", extra=extra).start()
    try:
        gateway.release("1", sealed, model=MODEL).raise_for_status()
        yield gateway
    finally:
        gateway.stop()


def side_of(name: str, gateway: Gateway) -> Side:
    assert gateway.process is not None
    for pid in (gateway.process.pid, *gateway.children("compactor")):
        pin(pid, CLIENT)
    return Side(name, gateway.port, gateway.worker_pids)


def start_seconds(gateway: Gateway, content: bytes) -> float:
    """From the command to the first answer, with a version live in its state."""
    gateway.stop()
    started = time.perf_counter()
    gateway.start()
    await_answer(gateway.port, content)
    return time.perf_counter() - started


def mirror(gateway: Gateway, name: str, bundle: tuple[str, str]) -> int:
    """Every request to this model is copied to its version 2; the process that sees the copies."""
    rollout = Rollout(gateway, gateway.folder, "bench", name)
    guard = {"max_error_rate": 0.9}
    for answer in (
        rollout.create(strategy="shadow", lease_seconds=86400, guard=guard, deadline_ms=60_000),
        rollout.call("prepare", {"version": "2", "bundle": bundle[0], "sha256": bundle[1]}),
        rollout.call("mirror", {"version": "2", "basis_points": 10_000}),
    ):
        answer.raise_for_status()
    gateway.wait_for(lambda: gateway.children("shadow_process"))
    return gateway.children("shadow_process")[0]


def bench_shadow(folder: Path, model: Any, rows: Any, pairs: int) -> None:
    """What callers notice of a mirror of all requests.

    ``own core``: the shadow worker takes only what the client leaves of the other core, as if it had one of its own.
    ``one core``: it shares the core of the worker, as it does on a machine that is full.
    """
    bundles = {
        (name, version): bundle(folder / "bundles", model, rows, version, name)
        for name, version in (("plain", "1"), ("mirrored", "1"), ("mirrored", "2"))
    }
    (folder / "gateway.json").write_text(json.dumps(GUARDED))
    # In one session, since the kernel shares cores between sessions before it looks at priorities.
    gateway = Gateway(folder / "gateway", extra=["--config", str(folder / "gateway.json")], session=False).start()
    try:
        for name in ("plain", "mirrored"):
            gateway.release("1", bundles[name, "1"], model=name).raise_for_status()
        shadow = mirror(gateway, "mirrored", bundles["mirrored", "2"])
        await_answer(gateway.port, request(rows, 1, "mirrored"))
        side = side_of("gateway", gateway)
        pin(shadow, SERVER)
        compare_models(side, rows, 1, pairs, "one core")
        told = shadow_line(gateway, "one core", {})
        pin(shadow, CLIENT)
        os.sched_setscheduler(shadow, os.SCHED_IDLE, os.sched_param(0))
        for clients in (1, 16):
            compare_models(side, rows, clients, pairs, "own core")
        shadow_line(gateway, "own core", told)
    finally:
        gateway.stop()


def shadow_line(gateway: Gateway, where: str, before: Mapping[str, int]) -> dict[str, int]:
    """What was handed to the shadow worker, what was dropped and what it answered, since ``before``; and until now."""
    time.sleep(2)
    counts = httpx.get(f"{gateway.admin}/models/mirrored/rollouts/bench/counts", timeout=30).json()["arms"]
    counted = next(arm for arm in counts if arm["role"] == "shadow")
    found: dict[str, int] = {name: counted[name] for name in ("sent", "dropped", "requests")}
    since = {name: count - before.get(name, 0) for name, count in found.items()}
    say(bench="serving_shadow_line", where=where, **since)
    return found


def compare_models(side: Side, rows: Any, clients: int, pairs: int, where: str) -> None:
    """Short turns with the mirrored model and the plain one; figures of the first over the second."""
    found: dict[str, list[dict[str, float]]] = {"mirrored": [], "plain": []}
    for turn in range(pairs):
        for name in ("mirrored", "plain") if turn % 2 else ("plain", "mirrored"):
            found[name].append(side.round(request(rows, 1, name), clients, TURN_SECONDS))
            time.sleep(0.1)  # what is still to be compared is not the other model's
    random = np.random.default_rng(7)
    for figure in ("p50_ms", "p99_ms", "cpu_us"):
        pair = zip(found["mirrored"], found["plain"], strict=True)
        ratios = np.array([one[figure] / other[figure] for one, other in pair])
        drawn = np.median(random.choice(ratios, (1000, pairs)), axis=1)
        target = TARGETS.get(f"{figure}, mirrored") if where == "own core" else None
        times = round(float(np.median(ratios)), 3)
        say(
            bench="serving_shadow_ratio",
            figure=figure,
            load=f"{named(clients, 1)}, {where}",
            times=times,
            least=round(float(np.percentile(drawn, 5)), 3),
            most=round(float(np.percentile(drawn, 95)), 3),
            **{name: round(float(np.median([one[figure] for one in found[name]])), 3) for name in found},
            **({} if target is None else {"target": target, "met": times < target}),
        )


def bench_door(folder: Path, bundle: tuple[str, str], rows: Any, rounds: int, seconds: float) -> None:
    """What a guarded door costs, beside an open one."""
    with serving(folder / "guarded", bundle) as guarded, serving(folder / "open", bundle, None) as opened:
        sides = [side_of("gateway, guarded", guarded), side_of("gateway, open", opened)]
        take_turns("serving_door", sides, rows, rounds, seconds)


def bench_switch(gateway: Gateway, bundles: Mapping[str, tuple[str, str]], content: bytes) -> None:
    """Latency within a quarter of a second around each release, beside that of the rest, with 8 clients."""
    found: list[tuple[list[tuple[float, float]], list[int]]] = []
    thread = threading.Thread(target=lambda: found.append(uvloop.run(_load(gateway.port, content, 8, 8.0))))
    thread.start()
    time.sleep(1.5)
    moments, durations = [], []
    for version in ("2", "3", "1", "2"):
        started = time.perf_counter()
        gateway.release(version, bundles[version], model=MODEL, key=f"switch-{started}").raise_for_status()
        moments.append(time.perf_counter())
        durations.append(moments[-1] - started)
        time.sleep(0.8)
    thread.join()
    answered, failures = found[0]
    near = [took for at, took in answered if any(abs(at - moment) < 0.25 for moment in moments)]
    quiet = [took for at, took in answered if all(abs(at - moment) >= 0.25 for moment in moments)]

    def told(name: str, took: list[float]) -> dict[str, float]:
        return {
            f"{name}_p99_ms": round(float(np.percentile(took, 99)) * 1e3, 2),
            f"{name}_max_ms": round(max(took) * 1e3, 2),
        }

    say(
        bench="serving_switch",
        releases=len(durations),
        release_seconds=round(float(np.median(durations)), 3),
        requests=len(answered),
        failed=len(failures),
        **told("around", near),
        **told("quiet", quiet),
    )


def bench_rollback(folder: Path, rollbacks: int) -> None:
    """From asking for a rollback to the last answer of the candidate, which has half of the traffic of two callers."""
    gateway = Gateway(folder, workers=2).start()
    try:
        rolled_back, loads = roll_back_under_load(gateway, folder, rollbacks)
    finally:
        gateway.stop()
    took = [one.seconds for one in rolled_back]
    say(
        bench="serving_rollback",
        rollbacks=rollbacks,
        requests=sum(len(load.answered) for load in loads),
        failed=sum(len(load.failures) for load in loads),
        p50_ms=round(float(np.percentile(took, 50)) * 1e3, 1),
        p99_ms=round(float(np.percentile(took, 99)) * 1e3, 1),
        max_ms=round(max(took) * 1e3, 1),
    )


# ---- MLflow's server ---------------------------------------------------------------------------------------------


class MlflowServer:
    """`mlflow models serve` with one worker."""

    def __init__(self, folder: Path, model: Any, rows: np.ndarray[Any, Any]) -> None:
        import mlflow
        import pandas as pd

        frame = pd.DataFrame(rows, columns=NAMES)
        signature = mlflow.models.infer_signature(frame.astype(float), model.predict(rows[:5]))
        mlflow.xgboost.save_model(model, str(folder / "mlflow"), signature=signature, model_format="ubj")
        self._folder, self.port = folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, content: bytes) -> float:
        """Seconds from the command to the first answer."""
        command = [str(Path(sys.executable).with_name("mlflow")), "models", "serve", "-m", str(self._folder / "mlflow")]
        command += ["--env-manager", "local", "-p", str(self.port), "--workers", "1"]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        started = time.perf_counter()
        with (self._folder / "mlflow.log").open("ab") as log:
            environment = os.environ | {"OMP_NUM_THREADS": "1", "PATH": path}
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        await_answer(self.port, content)
        return time.perf_counter() - started

    def pids(self) -> list[int]:
        assert self._process is not None
        found = []
        for path in Path("/proc").iterdir():
            with suppress(ProcessLookupError):
                if path.name.isdigit() and os.getpgid(int(path.name)) == self._process.pid:
                    found.append(int(path.name))
        return found

    def stop(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(60)
        self._process = None


def bench_mlflow(
    folder: Path, bundles: Mapping[str, tuple[str, str]], model: Any, rows: Any, rounds: int, seconds: float
) -> None:
    """Rates, latency, start and memory beside MLflow's server; then the switches and the log."""
    content = request(rows, 1)
    theirs = MlflowServer(folder, model, rows)
    try:
        with serving(folder / "beside", bundles["1"]) as gateway:
            starts: dict[str, list[float]] = {"gateway": [], "mlflow models serve": []}
            for _ in range(max(2, rounds // 2)):
                theirs.stop()
                starts["gateway"].append(start_seconds(gateway, content))
                starts["mlflow models serve"].append(theirs.start(content))
            for server, took in starts.items():
                say(
                    bench="serving_start",
                    server=server,
                    seconds=round(float(np.median(took)), 2),
                    best=round(min(took), 2),
                )
            sides = [side_of("gateway", gateway), Side("mlflow models serve", theirs.port, theirs.pids)]
            take_turns("serving", sides, rows, rounds, seconds)
            say(bench="serving_memory", server="gateway", pss_mb=round(pss_mb(gateway.worker_pids()[0]), 1))
            say(bench="serving_memory", server="mlflow models serve", pss_mb=round(max(map(pss_mb, theirs.pids())), 1))
            bench_switch(gateway, bundles, content)
            gateway.flush()
            files = list(gateway.store.glob("predictions/*/*/*.parquet"))
            say(bench="serving_log", files=len(files), bytes=sum(path.stat().st_size for path in files))
    finally:
        theirs.stop()


def table() -> str:
    """The ratios and single figures as Markdown."""
    lines = ["", "| what | figure | load | times | least to most |", "|---|---|---|---|---|"]
    for line in LINES:
        if line["bench"].endswith("_ratio"):
            met = "" if "met" not in line else f" (target {line['target']:g}: {'met' if line['met'] else 'missed'})"
            spread = f"{line['least']} to {line['most']}"
            what = line["bench"].removesuffix("_ratio")
            lines.append(f"| {what} | {line['figure']} | {line['load']} | {line['times']}{met} | {spread} |")
    rest = [
        line
        for line in LINES
        if line["bench"].split("_")[-1] in ("start", "memory", "switch", "line", "rollback", "log")
    ]
    lines += ["", *("- " + ", ".join(f"{name} {value}" for name, value in line.items()) for line in rest)]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of one measurement")
    parser.add_argument("--only", choices=PARTS, action="append")
    options = parser.parse_args()
    wanted = options.only or PARTS
    model, rows = train()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundles = {version: bundle(folder / "bundles", model, rows, version) for version in "123"}
        how = (rows, options.rounds, options.seconds)
        if "mlflow" in wanted:
            bench_mlflow(folder, bundles, model, *how)
        if "shadow" in wanted:
            bench_shadow(folder / "shadow", model, rows, 6 * options.rounds)
        if "rollback" in wanted:
            bench_rollback(folder / "rollback", 20 * options.rounds)
        if "door" in wanted:
            bench_door(folder / "door", bundles["1"], *how)
    print(table())


if __name__ == "__main__":
    main()
