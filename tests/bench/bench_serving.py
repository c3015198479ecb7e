"""The gateway beside `mlflow models serve`: same model, same body, one worker each; JSON lines on standard output.

``python tests/bench/bench_serving.py [--seconds 3] [--skip-mlflow]``. The client is one Python process, so above some
thousand requests per second it is the client that is measured: ratios are lower bounds.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.serving.gateway_process import Gateway, free_port

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


def say(**line: Any) -> None:
    print(json.dumps(line), flush=True)


def train() -> tuple[Any, np.ndarray[Any, Any]]:
    """100 trees of depth 6 on 15 floats, and 2,000 rows."""
    import xgboost

    random = np.random.default_rng(7)
    rows = random.normal(size=(2000, len(NAMES))).astype(np.float32)
    label = (rows[:, 0] * rows[:, 1] + rows[:, 2] > 0).astype(int)
    return xgboost.XGBClassifier(n_estimators=100, max_depth=6, n_jobs=1).fit(rows, label), rows


def bundle(folder: Path, model: Any, rows: np.ndarray[Any, Any], version: str) -> tuple[str, str]:
    """The same model as a bundle of the gateway."""
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    target = folder / version
    target.mkdir(parents=True)
    onnx = convert_xgboost(model, "bench", [("features", FloatTensorType([None, len(NAMES)]))], target_opset=15)
    golden = {"rows": rows[:8].tolist(), "predictions": model.predict_proba(rows[:8])[:, 1].tolist()}
    (target / "model.onnx").write_bytes(onnx.SerializeToString())
    (target / "categories.json").write_text("{}")
    (target / "golden.json").write_text(json.dumps(golden))
    manifest = {
        "model": MODEL,
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


def request(rows: np.ndarray[Any, Any], count: int) -> bytes:
    """The same bytes for every server; the key means something to the guarded gateway alone."""
    body = json.dumps({"dataframe_split": {"columns": NAMES, "data": rows[:count].astype(float).tolist()}}).encode()
    head = f"POST /invocations HTTP/1.1\r\nhost: bench\r\nx-api-key: {KEY}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


class Client(asyncio.Protocol):
    """Sends the same request again as soon as its answer is complete."""

    def __init__(self, content: bytes, latencies: list[float], failures: list[int]) -> None:
        self._content, self._latencies, self._failures = content, latencies, failures
        self._seen = b""

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.WriteTransport = transport
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._content)

    def data_received(self, data: bytes) -> None:
        self._seen += data
        head, found, rest = self._seen.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        if not found or (length and len(rest) < int(length[1])):
            return
        self._latencies.append(time.perf_counter() - self._sent)
        if not head.startswith(b"HTTP/1.1 200"):
            self._failures.append(int(head[9:12]))
        self._seen = b""
        self._send()


async def _load(port: int, content: bytes, clients: int, seconds: float) -> tuple[list[float], list[int]]:
    latencies: list[float] = []
    failures: list[int] = []
    loop = asyncio.get_running_loop()
    opened = [
        await loop.create_connection(lambda: Client(content, latencies, failures), "127.0.0.1", port)
        for _ in range(clients)
    ]
    await asyncio.sleep(min(1.0, seconds / 3))
    latencies.clear()
    await asyncio.sleep(seconds)
    measured = list(latencies)
    for transport, _ in opened:
        transport.abort()
    return measured, failures


def measure(server: str, port: int, rows: np.ndarray[Any, Any], seconds: float) -> dict[str, float]:
    """Requests per second and latency at several loads; returns the rates by load."""
    import uvloop

    rates = {}
    for clients, count in LOADS:
        latencies, failures = uvloop.run(_load(port, request(rows, count), clients, seconds))
        p50, p99 = (float(np.percentile(latencies, share)) * 1000 for share in (50, 99))
        rates[f"{clients} clients, {count} rows"] = len(latencies) / seconds
        say(
            bench="serving",
            server=server,
            clients=clients,
            rows=count,
            rps=round(len(latencies) / seconds, 1),
            p50_ms=round(p50, 3),
            p99_ms=round(p99, 3),
            failed=len(failures),
        )
    return rates


def pss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"no Pss of {pid}")


def await_answer(port: int, content: bytes) -> None:
    """Return at the first 200 to a real request."""
    body = content.partition(b"\r\n\r\n")[2]
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            sent = {"content-type": "application/json", "x-api-key": KEY}
            if httpx.post(f"http://127.0.0.1:{port}/invocations", content=body, headers=sent).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.01)
    raise TimeoutError(f"port {port} did not answer")


def bench_switch(gateway: Gateway, bundles: dict[str, tuple[str, str]], content: bytes) -> None:
    """Releases while 8 clients send without pause."""
    found: list[tuple[list[float], list[int]]] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(_load(gateway.port, content, 8, 4.0))))
    thread.start()
    time.sleep(1.5)
    durations = []
    for version in ("2", "3"):
        started = time.perf_counter()
        gateway.release(version, bundles[version], model=MODEL).raise_for_status()
        durations.append(time.perf_counter() - started)
    thread.join()
    latencies, failures = found[0]
    say(
        bench="serving_switch",
        releases=len(durations),
        release_seconds=[round(one, 3) for one in durations],
        requests=len(latencies),
        failed=len(failures),
        slowest_ms=round(max(latencies) * 1000, 1),
    )


def bench_gateway(folder: Path, model: Any, rows: np.ndarray[Any, Any], seconds: float) -> dict[str, float]:
    """Start, load, memory, switches and log of a gateway whose door is guarded."""
    declared = folder / "gateway.json"
    declared.write_text(json.dumps(GUARDED))
    bundles = {version: bundle(folder / "bundles", model, rows, version) for version in "123"}
    gateway = Gateway(folder / "gateway", extra=["--config", str(declared)]).start()
    try:
        gateway.release("1", bundles["1"], model=MODEL).raise_for_status()
        gateway.stop()
        started = time.perf_counter()
        gateway.start()
        await_answer(gateway.port, request(rows, 1))
        say(bench="serving_start", server="gateway", seconds=round(time.perf_counter() - started, 2))
        rates = measure("gateway", gateway.port, rows, seconds)
        say(bench="serving_memory", server="gateway", pss_mb=round(pss_mb(gateway.worker_pids()[0]), 1))
        bench_switch(gateway, bundles, request(rows, 1))
        gateway.flush()
        files = list(gateway.store.glob("predictions/*/*/*.parquet"))
        say(bench="serving_log", files=len(files), bytes=sum(path.stat().st_size for path in files))
        return rates
    finally:
        gateway.stop()


def spent(gateway: Gateway) -> tuple[float, int]:
    """CPU seconds of the only worker, and requests it has answered."""
    (worker,) = gateway.worker_pids()
    times = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[11:13]
    text = httpx.get(f"{gateway.admin}/metrics", timeout=10).text
    answered = sum(int(count) for count in re.findall(r"^airworthy_requests_total\{.*\} (\d+)$", text, re.MULTILINE))
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK"), answered


def bench_door(folder: Path, model: Any, rows: np.ndarray[Any, Any], seconds: float, rounds: int = 3) -> None:
    """What a guarded door costs: CPU per request of the same worker, open and with everything on, in turns."""
    declared = folder / "door.json"
    declared.write_text(json.dumps(GUARDED))
    sealed = bundle(folder / "sealed", model, rows, "1")
    gateways = {
        "open": Gateway(folder / "open"),
        "guarded": Gateway(folder / "guarded", extra=["--config", str(declared)]),
    }
    costs: dict[tuple[str, int, int], list[float]] = {}
    try:
        for gateway in gateways.values():
            gateway.start().release("1", sealed, model=MODEL).raise_for_status()
        for _ in range(rounds):
            for clients, count in LOADS:
                for name, gateway in gateways.items():
                    cpu, answered = spent(gateway)
                    asyncio.run(_load(gateway.port, request(rows, count), clients, seconds / 2))
                    after, more = spent(gateway)
                    costs.setdefault((name, clients, count), []).append((after - cpu) / (more - answered) * 1e6)
        for clients, count in LOADS:
            cheap, dear = (float(np.median(costs[name, clients, count])) for name in ("open", "guarded"))
            figures = {"open_us": round(cheap), "guarded_us": round(dear), "times": round(dear / cheap, 3)}
            say(bench="serving_door_cpu", clients=clients, rows=count, **figures)
        for name, gateway in gateways.items():
            (worker,) = gateway.worker_pids()
            say(bench="serving_memory", server=f"gateway, {name}", pss_mb=round(pss_mb(worker), 1))
    finally:
        for gateway in gateways.values():
            gateway.stop()


def bench_mlflow(folder: Path, model: Any, rows: np.ndarray[Any, Any], seconds: float) -> dict[str, float]:
    import mlflow
    import pandas as pd

    frame = pd.DataFrame(rows, columns=NAMES)
    signature = mlflow.models.infer_signature(frame.astype(float), model.predict(rows[:5]))
    mlflow.xgboost.save_model(model, str(folder / "mlflow"), signature=signature, model_format="ubj")
    port = free_port()
    command = [str(Path(sys.executable).with_name("mlflow")), "models", "serve", "-m", str(folder / "mlflow")]
    command += ["--env-manager", "local", "-p", str(port), "--workers", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    started = time.perf_counter()
    with (folder / "mlflow.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        await_answer(port, request(rows, 1))
        say(bench="serving_start", server="mlflow models serve", seconds=round(time.perf_counter() - started, 2))
        rates = measure("mlflow models serve", port, rows, seconds)
        group = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and _in_group(path, process)]
        say(bench="serving_memory", server="mlflow models serve", pss_mb=round(max(map(pss_mb, group)), 1))
        return rates
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _in_group(path: Path, process: subprocess.Popen[bytes]) -> bool:
    try:
        return os.getpgid(int(path.name)) == process.pid
    except ProcessLookupError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--skip-mlflow", action="store_true")
    options = parser.parse_args()
    model, rows = train()
    with tempfile.TemporaryDirectory() as folder:
        bench_door(Path(folder), model, rows, options.seconds)
        ours = bench_gateway(Path(folder), model, rows, options.seconds)
        if options.skip_mlflow:
            return
        theirs = bench_mlflow(Path(folder), model, rows, options.seconds)
        for load, rate in ours.items():
            say(bench="serving_ratio", load=load, times=round(rate / theirs[load], 1))


if __name__ == "__main__":
    main()
