"""A gateway that is started for one version is not ready before it serves it, and ends if it may not."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import polars as pl
import pytest
import yaml

from pipelines.adapters.kubernetes.gateway_pods import STATE_FOLDER
from pipelines.adapters.kubernetes.kserve_objects import PORT, GatewayPods, inference_spec
from pipelines.errors import Refused
from pipelines.rollout.transitions import Route, Served
from pipelines.serving import container
from pipelines.settings import REPOSITORY
from pipelines.spec.deployment import Deployment
from tests.free_port import free_port
from tests.serving.candidates import TRIGGER, write_candidate
from tests.serving.gateway_process import PATIENCE, ROWS, Gateway, expected, write_bundle
from tests.serving.rollout_calls import body, row


def test_a_gateway_started_for_a_version_is_ready_once_it_answers_with_it(tmp_path: Path) -> None:
    bundle, sha256 = write_bundle(tmp_path, "7")
    gateway = Gateway(tmp_path / "gateway", extra=["--serve", "flight_delay", "7", bundle, sha256])
    for _ in range(2):  # a second start finds it live already
        gateway.start()
        assert httpx.get(f"{gateway.base}/ready").json()["models"] == {"flight_delay": "7"}
        answer = httpx.post(f"{gateway.base}/models/flight_delay/invocations", json=body(*ROWS))
        assert [round(one, 5) for one in answer.json()["predictions"]] == [round(one, 5) for one in expected(1)]
        gateway.stop()


def test_a_gateway_started_for_an_altered_bundle_ends_with_the_reason_and_was_never_ready(tmp_path: Path) -> None:
    bundle, _ = write_bundle(tmp_path, "7")
    gateway = Gateway(tmp_path / "gateway", extra=["--serve", "flight_delay", "7", bundle, "0" * 64])
    with pytest.raises(AssertionError, match="approved was 000"):
        gateway.start()
    assert gateway.process is not None
    assert gateway.process.wait(120) == 65


def test_a_container_told_to_serve_answers_pings_once_it_serves_and_ends_by_sigterm(tmp_path: Path) -> None:
    bundle, sha256 = write_bundle(tmp_path, "7")
    port, folder = free_port(), tmp_path / "var"
    named = {"MODEL": "flight_delay", "VERSION": "7", "BUNDLE": bundle, "SHA256": sha256}
    environment = os.environ | {f"AIRWORTHY_SERVE_{name}": value for name, value in named.items()}
    environment |= {"AIRWORTHY_STORE": str(tmp_path / "store"), "AIRWORTHY_HOME": str(folder)}
    environment |= {"SAGEMAKER_BIND_TO_PORT": str(port), "AIRWORTHY_SERVE_ADMIN_PORT": str(free_port())}
    with serving([sys.executable, "-m", "pipelines", "serve"], environment, port) as url:
        answer = httpx.post(f"{url}/invocations", json=body(*ROWS))
        assert [round(one, 5) for one in answer.json()["predictions"]] == [round(one, 5) for one in expected(1)]
    assert list((tmp_path / "store").glob("predictions/flight_delay/*/*.parquet")), "its log is complete"


def test_the_container_that_kserve_is_told_to_run_answers_and_its_predictions_reach_the_store(tmp_path: Path) -> None:
    served = Served("7", *write_candidate(tmp_path, "7", "raises", answer=0.75))
    template = yaml.safe_load((REPOSITORY / "include" / "pods" / "gateway.yaml").read_text())
    template["spec"]["containers"][0]["volumeMounts"].append({"name": "data", "mountPath": str(tmp_path)})
    pods = GatewayPods("image", template, str(tmp_path / "store"), {})
    declared = Deployment.model_validate({"target": {"kind": "kserve"}})
    predictor = inference_spec("flight_delay", Route(served), declared=declared, pods=pods)["predictor"]
    (told,) = predictor["containers"]
    port = free_port()
    here = {STATE_FOLDER: str(tmp_path / "home"), str(PORT): str(port)}
    config = tmp_path / "gateway.yaml"
    config.write_text(json.dumps({"schema": 1, "authentication": {"anonymous": "callers of a test"}}))
    command = [sys.executable, *told["command"][1:], *(here.get(word, word) for word in told["args"])]
    environment = os.environ | {"AIRWORTHY_GATEWAY_CONFIG": str(config)}
    with serving([*command, "--admin-port", str(free_port())], environment, port) as url:
        page = f"{url}/models/flight_delay/invocations"
        assert httpx.post(page, json=body(row())).json()["predictions"] == [0.75]
        assert httpx.post(page, json=body(row(TRIGGER))).status_code == 500
    files = list((tmp_path / "store").glob("predictions/flight_delay/*/*.parquet"))
    rows = pl.concat([pl.read_parquet(file) for file in files], how="diagonal_relaxed")
    assert rows.select("version", "prediction").rows() == [("7", 0.75)]


@contextlib.contextmanager
def serving(command: list[str], environment: dict[str, str], port: int) -> Iterator[str]:
    """The URL of a process that answers pings, which were 503 until then; it ends by SIGTERM, with status 0."""
    process = subprocess.Popen(command, env=environment)
    try:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE
        seen: set[int] = set()
        while 200 not in seen:
            assert time.monotonic() < deadline
            assert process.poll() is None
            with contextlib.suppress(httpx.TransportError):
                seen.add(httpx.get(f"{url}/ping", timeout=5).status_code)
        assert seen <= {200, 503}
        yield url
    finally:
        process.terminate()
        assert process.wait(120) == 0


def test_a_container_that_was_told_too_little_says_all_that_is_missing() -> None:
    with pytest.raises(Refused) as refused:
        container.gateway_arguments({"AIRWORTHY_SERVE_MODEL": "m", "AIRWORTHY_SERVE_VERSION": "1"})
    missing = ["AIRWORTHY_SERVE_BUNDLE", "AIRWORTHY_SERVE_SHA256", "AIRWORTHY_STORE"]
    assert refused.value.reasons == [f"{name} is not set" for name in missing]


NAMED = {"AIRWORTHY_SERVE_MODEL": "m", "AIRWORTHY_SERVE_VERSION": "1", "AIRWORTHY_SERVE_SHA256": "0" * 64}


@pytest.mark.parametrize(
    ("bundle", "host", "listens_at", "declares"),
    [
        ("bundles/m/1", {}, "127.0.0.1", False),
        ("/opt/ml/model/../other", {}, "127.0.0.1", False),
        ("/opt/ml/model", {}, "0.0.0.0", True),
        ("bundles/m/1", {"AIRWORTHY_SERVE_HOST": "0.0.0.0"}, "0.0.0.0", False),
    ],
)
def test_the_container_serves_others_unasked_where_sagemaker_started_it_and_nowhere_else(
    bundle: str, host: dict[str, str], listens_at: str, declares: bool, tmp_path: Path
) -> None:
    places = {"AIRWORTHY_SERVE_BUNDLE": bundle, "AIRWORTHY_STORE": "store", "AIRWORTHY_HOME": str(tmp_path)}
    arguments = container.gateway_arguments(NAMED | places | host)
    assert arguments[arguments.index("--host") + 1] == listens_at
    assert ("--config" in arguments) is declares


def test_a_container_that_was_told_to_serve_others_does_not_start_without_a_declaration(tmp_path: Path) -> None:
    places = {"AIRWORTHY_SERVE_BUNDLE": "b", "AIRWORTHY_STORE": str(tmp_path), "AIRWORTHY_HOME": str(tmp_path)}
    environment = os.environ | NAMED | places | {"AIRWORTHY_SERVE_HOST": "0.0.0.0"}
    ended = subprocess.run(
        [sys.executable, "-m", "pipelines", "serve"], env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert ended.returncode == 65
    assert "authentication" in ended.stderr
