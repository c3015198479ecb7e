"""A gateway that is started for one version is not ready before it serves it, and ends if it may not."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from pipelines.adapters.kubernetes.kserve_objects import GatewayPods, inference_spec
from pipelines.errors import Refused
from pipelines.rollout.transitions import Route, Served
from pipelines.serving import container
from pipelines.spec.deployment import Deployment
from tests.free_port import free_port
from tests.serving.gateway_process import ROWS, Gateway, expected, write_bundle
from tests.serving.rollout_calls import body


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
    assert gateway.process.wait(30) == 65


def test_the_container_that_kserve_is_given_answers_pings_once_it_serves_and_ends_by_sigterm(tmp_path: Path) -> None:
    bundle, sha256 = write_bundle(tmp_path, "7")
    port, folder = free_port(), tmp_path / "var"
    template = {
        "metadata": {},
        "spec": {"containers": [{"name": "gateway", "volumeMounts": [{"mountPath": str(tmp_path)}]}]},
    }
    pods = GatewayPods("none", template, str(tmp_path / "store"), {})
    declared, route = Deployment.model_validate({"target": {"kind": "kserve"}}), Route(Served("7", bundle, sha256))
    (told,) = inference_spec("flight_delay", route, [], declared=declared, pods=pods)["predictor"]["containers"]
    environment = os.environ | {entry["name"]: entry["value"] for entry in told["env"]}
    environment |= {"AIRWORTHY_HOME": str(folder), "AIRWORTHY_SERVE_ADMIN_PORT": str(free_port())}
    environment |= {"SAGEMAKER_BIND_TO_PORT": str(port)}
    process = subprocess.Popen([sys.executable, *told["command"][1:], *told["args"]], env=environment)
    try:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 60
        seen: set[int] = set()
        while 200 not in seen:
            assert time.monotonic() < deadline
            assert process.poll() is None
            with contextlib.suppress(httpx.TransportError):
                seen.add(httpx.get(f"{url}/ping", timeout=5).status_code)
        assert seen <= {200, 503}
        answer = httpx.post(f"{url}/invocations", json=body(*ROWS))
        assert [round(one, 5) for one in answer.json()["predictions"]] == [round(one, 5) for one in expected(1)]
    finally:
        process.terminate()
        assert process.wait(30) == 0
    assert list((tmp_path / "store").glob("predictions/flight_delay/*/*.parquet")), "its log is complete"


def test_a_container_that_was_told_too_little_says_all_that_is_missing() -> None:
    with pytest.raises(Refused) as refused:
        container.gateway_arguments({"AIRWORTHY_SERVE_MODEL": "m", "AIRWORTHY_SERVE_VERSION": "1"})
    missing = ["AIRWORTHY_SERVE_BUNDLE", "AIRWORTHY_SERVE_SHA256", "AIRWORTHY_STORE"]
    assert refused.value.reasons == [f"{name} is not set" for name in missing]
