"""A gateway that is started for one version is not ready before it serves it, and ends if it may not."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

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
