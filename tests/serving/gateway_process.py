"""A real gateway on free ports and small bundles to serve, for tests."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tests.free_port import free_port

COLUMNS = ["carrier", "distance", "hour"]
CARRIERS = ["AA", "DL", "UA"]
ROWS: list[list[Any]] = [["UA", 500.0, 7.0], ["AA", None, 23.0], ["ZZ", 2500, 12], [None, 100.5, None]]


@cache
def booster(seed: int) -> Any:
    """A small booster on three columns whose answers differ from seed to seed."""
    import xgboost

    random = np.random.default_rng(seed)
    data = np.column_stack([random.integers(0, 3, 400), random.uniform(50, 3000, 400), random.integers(0, 24, 400)])
    data = data.astype(np.float32)
    data[random.uniform(size=data.shape) < 0.1] = np.nan
    label = (np.nan_to_num(data[:, 1]) + 50 * seed * np.nan_to_num(data[:, 2]) > 1200).astype(int)
    parameters = {"objective": "binary:logistic", "max_depth": 3, "seed": seed, "nthread": 1}
    return xgboost.train(parameters, xgboost.DMatrix(data, label), num_boost_round=5)


def expected(seed: int, rows: list[list[Any]] = ROWS) -> list[float]:
    """What the model itself answers, without any of the gateway's code."""
    codes = {name: float(code) for code, name in enumerate(CARRIERS)}
    matrix = np.array(
        [[codes.get(row[0], np.nan), *(np.nan if value is None else value for value in row[1:])] for row in rows],
        dtype=np.float32,
    )
    return [float(value) for value in booster(seed).inplace_predict(matrix)]


@cache
def _onnx(seed: int) -> bytes:
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    content: bytes = convert_xgboost(
        booster(seed), "model", [("features", FloatTensorType([None, 3]))], target_opset=15
    ).SerializeToString()
    return content


def write_bundle(
    folder: Path,
    version: str,
    *,
    model: str = "flight_delay",
    seed: int = 1,
    predictor: str = "onnx",
    output: str = "probability",
    golden: list[float] | None = None,
) -> tuple[str, str]:
    """Write a servable bundle; returns its URI and digest."""
    target = folder / model / version
    target.mkdir(parents=True)
    entry = "model.onnx" if predictor == "onnx" else "model.ubj"
    (target / entry).write_bytes(_onnx(seed) if predictor == "onnx" else bytes(booster(seed).save_raw("ubj")))
    (target / "categories.json").write_text(json.dumps({"carrier": CARRIERS}))
    answers = golden if golden is not None else expected(seed)
    (target / "golden.json").write_text(json.dumps({"rows": ROWS, "predictions": answers}))
    manifest = {
        "model": model,
        "version": version,
        "predictor": predictor,
        "output": output,
        "features": [{"name": name, "type": "categorical" if name == "carrier" else "numeric"} for name in COLUMNS],
        "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(target.iterdir())},
        "model_digest": "0" * 64,
        "entry": entry,
    }
    content = json.dumps(manifest).encode()
    (target / "bundle.json").write_bytes(content)
    return str(target), hashlib.sha256(content).hexdigest()


PATIENCE = 180.0
ADMIN_TOKEN = "token-of-the-tests-gateway"


@dataclass
class Gateway:
    """One gateway process over a folder; stopped and started again it finds its state."""

    folder: Path
    workers: int = 1
    extra: list[str] = field(default_factory=list)
    port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    bundles: Path = Path(tempfile.gettempdir())
    """Bundles are taken from below."""
    session: bool = True
    """Whether it has a session of its own, so that Ctrl-C ends the tests and leaves it to be stopped."""
    variables: dict[str, str] = field(default_factory=dict)
    """What its environment has beside that of the tests."""

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin(self) -> str:
        return f"http://airworthy:{ADMIN_TOKEN}@127.0.0.1:{self.admin_port}"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def log(self) -> str:
        return (self.folder / "gateway.log").read_text()

    def start(self) -> Gateway:
        command = [sys.executable, "-m", "pipelines.serving", "--port", str(self.port)]
        command += ["--admin-port", str(self.admin_port), "--workers", str(self.workers)]
        command += ["--state", str(self.folder / "state"), "--store", str(self.store), *self.extra]
        command += ["--bundles", str(self.bundles)]
        environment = os.environ | {"AIRWORTHY_GATEWAY_TOKEN": ADMIN_TOKEN} | self.variables
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "gateway.log").open("ab") as log:
            streams = {"stdout": log, "stderr": log}
            self.process = subprocess.Popen(command, env=environment, start_new_session=self.session, **streams)
        self.wait_for(lambda: httpx.get(f"{self.base}/ready", timeout=2).status_code == 200)
        return self

    def wait_for(self, condition: Any) -> None:
        """Wait for what a quiet machine does within seconds; a question that finds no answer is asked again."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if condition():
                    return
            except (httpx.HTTPError, OSError):
                pass
            ended = self.process is None or self.process.poll() is not None
            assert not ended, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, number) if number == signal.SIGKILL else self.process.send_signal(number)
        if self.process is not None:
            self.process.wait(PATIENCE)
        self.process = None

    def worker_pids(self) -> list[int]:
        """Pids of the data workers."""
        return self.children("worker")

    def children(self, module: str) -> list[int]:
        """Pids of the supervisor's children that run ``pipelines.serving.<folder>.<module>``."""
        assert self.process is not None
        found = []
        for child in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if f".{module}".encode() in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(int(child))
        return found

    def release(self, version: str, bundle: tuple[str, str], *, model: str = "flight_delay", key: str = "") -> Any:
        content = {"version": version, "bundle": bundle[0], "sha256": bundle[1]}
        url = f"{self.admin}/models/{model}/release"
        return httpx.post(url, json=content, headers={"idempotency-key": key or f"{model}-{version}"}, timeout=60)

    def invoke(self, content: Any = None, **headers: str) -> httpx.Response:
        body = content if content is not None else {"dataframe_split": {"columns": COLUMNS, "data": ROWS}}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx.post(f"{self.base}/invocations", content=data, headers=headers, timeout=30)

    def flush(self) -> None:
        response = httpx.post(f"{self.admin}/flush", timeout=120)
        assert response.status_code == 200, response.text
