"""The OpenAPI page can be believed: its examples run, and nothing drawn from it brings about a server error."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fuzz.described import send_described
from tests.serving.front_gateways import KEYS, front, keys
from tests.serving.gateway_process import Gateway, write_bundle

FUZZ_SECONDS = 25.0
ADMIN = {"x-api-key": KEYS["root"]}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with everything on and two models live."""
    folder = tmp_path_factory.mktemp("full")
    (folder / "secret").write_text("a-pepper-of-more-than-32-characters")
    privacy = {"secret": f"file:{folder / 'secret'}", "columns": {"flight_delay": {"carrier": "hash"}}, "net": True}
    running = front(
        folder,
        authentication={"keys": keys(), "failures_per_minute": 100_000},
        rate={"per_minute": 600_000, "burst": 100_000},
        limits={"request_seconds": 5},
        cache={},
        privacy=privacy,
    )
    try:
        running.start()
        for model in ("flight_delay", "second"):
            bundle = write_bundle(folder / "bundles", "1", model=model)
            assert running.release("1", bundle, model=model).status_code == 200, running.log
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def page(gateway: Gateway) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{gateway.base}/openapi.json", headers=ADMIN).json()
    return found


@pytest.mark.parametrize("model", ["flight_delay", "second"])
@pytest.mark.parametrize("path", ["/models/{}/invocations", "/v2/models/{}/infer"])
@pytest.mark.parametrize("language", ["cURL", "Python"])
def test_every_example_runs_as_it_stands(
    gateway: Gateway, page: dict[str, Any], model: str, path: str, language: str
) -> None:
    operation = page["paths"][path.format(model)]["post"]
    (source,) = [one["source"] for one in operation["x-codeSamples"] if one["lang"] == language]
    if language == "cURL":
        if shutil.which("curl") is None:
            pytest.skip("curl is not installed")
        command = ["bash", "-c", source]
    else:
        ast.parse(source)
        command = [sys.executable, "-c", source]
    environment = os.environ | {"AIRWORTHY_GATEWAY": gateway.base, "AIRWORTHY_GATEWAY_KEY": KEYS["caller"]}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=True)
    answer = json.loads(done.stdout.replace("'", '"') if language == "Python" else done.stdout)
    predictions = answer["predictions"] if "predictions" in answer else answer["outputs"][0]["data"]
    assert 0 < predictions[0] < 1


def test_the_page_names_how_to_say_who_one_is(page: dict[str, Any]) -> None:
    assert page["security"] == [{"key": []}, {"token": []}]
    assert page["components"]["securitySchemes"]["key"] == {"type": "apiKey", "in": "header", "name": "x-api-key"}
    assert {"401", "403", "408", "413", "429", "431", "503"} <= set(page["paths"]["/invocations"]["post"]["responses"])


def test_requests_drawn_from_the_page_bring_about_no_server_error_and_no_hang(
    gateway: Gateway, page: dict[str, Any]
) -> None:
    codes = Counter[int]()
    for patience in (1, 4, 16):  # a busy machine takes longer to come to as many
        until = time.monotonic() + patience * FUZZ_SECONDS
        answers, failed = send_described(page, gateway.base, ADMIN, until, {"post": 30})
        assert failed == []
        codes += answers
        if sum(codes.values()) >= 20 and {200, 400} <= set(codes):
            break
    assert sum(codes.values()) >= 20, codes
    assert {200, 400} <= set(codes), codes
    assert gateway.invoke({"inputs": [["UA", 1, 2]]}, **ADMIN, **{"x-model": "second"}).is_success
    assert "Traceback" not in gateway.log
