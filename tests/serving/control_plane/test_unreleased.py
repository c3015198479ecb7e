"""A model's first version is tested by those who know its secret, and is live for nobody before its release."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.steps.monitoring.prediction_log import INTERNAL_ROLES
from tests.serving.candidates import ANSWER, Fault, write_candidate
from tests.serving.gateway_process import Gateway
from tests.serving.rollout_calls import body, row
from tests.serving.test_gateway_life import predictions

Start = Callable[..., Gateway]


class FirstVersion:
    """Version 1 of flight_delay on a gateway that serves nothing."""

    def __init__(self, gateway: Gateway, folder: Path, fault: Fault = "none") -> None:
        self.gateway, self.bundle = gateway, write_candidate(folder, "1", fault)
        self.url = f"{gateway.admin}/models/flight_delay/unreleased"

    def load(self, seconds: float = 600) -> httpx.Response:
        content = {"version": "1", "bundle": self.bundle[0], "sha256": self.bundle[1], "seconds": seconds}
        return httpx.post(self.url, json=content, timeout=120)

    def unload(self) -> int:
        return httpx.delete(self.url, timeout=120).status_code

    def ask(self, probe: str | None = None) -> tuple[int, Any]:
        headers = {} if probe is None else {"x-rollout-probe": probe}
        url = f"{self.gateway.base}/models/flight_delay/invocations"
        response = httpx.post(url, json=body(row()), headers=headers, timeout=30)
        return response.status_code, response.json().get("predictions")


@pytest.fixture
def first(start_gateway: Start, tmp_path: Path) -> FirstVersion:
    return FirstVersion(start_gateway(), tmp_path / "bundles")


def test_only_its_probe_reaches_it_and_it_is_logged_as_a_probe(first: FirstVersion) -> None:
    probe = first.load().json()["probe"]
    assert first.ask(probe) == (200, [ANSWER])
    assert first.ask() == first.ask("guessed") == (503, None)
    live = httpx.get(first.url.removesuffix("/unreleased")).json()
    assert (live["version"], live["generation"]) == (None, 0)
    assert set(predictions(first.gateway)["role"]) == {"probe"}
    assert "probe" in INTERNAL_ROLES
    assert first.load().json()["probe"] == probe, "a repeat changes nothing"


def test_after_its_release_it_answers_everybody_and_there_is_no_test_of_a_first_version(first: FirstVersion) -> None:
    probe = first.load().json()["probe"]
    assert first.gateway.release("1", first.bundle).status_code == 200
    assert first.ask() == (200, [ANSWER])
    again = first.load()
    assert (again.status_code, "version 1 of flight_delay is live" in again.text) == (422, True)
    assert first.unload() == 200
    assert first.ask(probe) == (200, [ANSWER])


@pytest.mark.parametrize("how", ["unloaded", "out of time"])
def test_it_is_gone_when_it_is_unloaded_and_when_its_time_is_over(first: FirstVersion, how: str) -> None:
    probe = first.load(600 if how == "unloaded" else 3).json()["probe"]
    assert first.ask(probe) == (200, [ANSWER])
    if how == "unloaded":
        assert first.unload() == 200
    first.gateway.wait_for(lambda: first.ask(probe) == (503, None))
    assert first.unload() == 200
    cache = first.gateway.folder / "state" / "bundles"
    first.gateway.wait_for(lambda: not [path for path in cache.iterdir() if not path.name.startswith(".")])


@pytest.mark.parametrize("seconds", [0, -1, 10**6])
def test_a_test_has_a_length(first: FirstVersion, seconds: float) -> None:
    refused = first.load(seconds)
    assert (refused.status_code, "seconds is" in refused.text) == (422, True)


def test_a_bundle_that_cannot_be_loaded_is_refused_with_the_reason(start_gateway: Start, tmp_path: Path) -> None:
    broken = FirstVersion(start_gateway(), tmp_path / "bundles", "no model")
    refused = broken.load()
    assert (refused.status_code, "cannot be loaded" in refused.text) == (422, True)
