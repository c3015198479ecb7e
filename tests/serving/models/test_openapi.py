"""The OpenAPI page can be believed: its examples run, and nothing drawn from it brings about a server error."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.config import SchemathesisConfig

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
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
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
    schema = schemathesis.openapi.from_dict(page, config=SchemathesisConfig())
    schema.config.base_url = gateway.base
    deadline = time.monotonic() + FUZZ_SECONDS
    codes: dict[int, int] = {}
    failed: list[str] = []
    operations = [found.ok() for found in schema.get_all_operations()]
    with httpx.Client(timeout=10) as client:
        for place, operation in enumerate(operations):
            until = time.monotonic() + (deadline - time.monotonic()) / (len(operations) - place)
            for mode in schemathesis.GenerationMode:
                _fuzz(operation, mode, client, until, codes, failed)
    assert failed == []
    assert sum(codes.values()) >= 20, codes  # as many as a busy machine comes to
    assert {200, 400} <= set(codes), codes
    assert gateway.invoke({"inputs": [["UA", 1, 2]]}, **ADMIN, **{"x-model": "second"}).is_success
    assert "Traceback" not in gateway.log


def _fuzz(
    operation: Any, mode: Any, client: httpx.Client, until: float, codes: dict[int, int], failed: list[str]
) -> None:
    """Send cases drawn for one operation until the time is up."""

    @settings(
        max_examples=30 if operation.method == "post" else 5,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        if time.monotonic() > until:
            return
        drawn = case.as_transport_kwargs(headers=ADMIN)
        content = drawn.get("data")
        request = {"json": drawn["json"]} if "json" in drawn else {"content": content}
        try:
            sent = client.build_request(
                drawn["method"],
                drawn["url"],
                params=drawn.get("params"),
                headers=dict(drawn["headers"] or {}),
                **request,
            )
        except (TypeError, ValueError, httpx.InvalidURL):
            return  # not even a client would send it
        try:
            response = client.send(sent)
        except (httpx.LocalProtocolError, httpx.RemoteProtocolError, UnicodeEncodeError):
            return  # a header or method that is no HTTP
        codes[response.status_code] = codes.get(response.status_code, 0) + 1
        if response.status_code >= 500:
            failed.append(f"{response.status_code} to {sent.method} {sent.url}: {response.text[:200]}")

    send()
