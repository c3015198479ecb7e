"""A real gateway with a candidate at 0 %: a good one keeps its assertions, a slow or failing one is found out."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines import store_paths
from pipelines.adapters.gateway.rollouts import GatewayRollouts
from pipelines.errors import Refused
from pipelines.messages.release import LoadTestRequest, LoadTestResult
from pipelines.rules.load_test import judge_load_test
from pipelines.settings import Settings
from pipelines.spec.catalog import Catalog
from pipelines.spec.deployment import Deployment
from pipelines.steps import load_candidate
from pipelines.steps.load_testing.candidate_endpoint import endpoint_fault, find_endpoint
from pipelines.testing.ports import FakePorts
from pipelines.testing.rollout_target import FakeTarget
from pipelines.verdict import Outcome, Verdict
from tests.declared import shipped_model
from tests.serving.candidates import TRIGGER, Fault, write_candidate
from tests.serving.front_gateways import KEYS, front, keys
from tests.serving.gateway_process import Gateway
from tests.serving.rollout_calls import Rollout

MODEL = "flight_delay"
PLAN = {"strategy": "canary", "lease_seconds": 600, "guard": {"max_error_rate": 0.01}}
LOAD = {"duration": 4, "target_rps": 60, "ramp_up_time": 1, "assertions": {"p95_latency": {"max": 400}}}


@pytest.fixture(scope="module")
def rollout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rollout]:
    folder = tmp_path_factory.mktemp("load")
    gateway = Gateway(folder / "gateway").start()
    yield Rollout(gateway, folder / "bundles").champion()
    gateway.stop()


def tried(
    rollout: Rollout, tmp_path: Path, number: int, fault: Fault, hour: float, **load_test: Any
) -> tuple[LoadTestResult, Verdict, FakePorts]:
    """Prepare a candidate as version ``number`` and try it with rows of this hour."""
    rollout.id = f"r{number}"
    version = str(number)
    for response in (rollout.create(deadline_ms=20_000, supersede=True), rollout.prepare(fault, version)):
        assert response.status_code == 200, response.text
    ports = surroundings(rollout, tmp_path, LOAD | load_test)
    put_bundle(ports, version, hour)
    request = LoadTestRequest(model=MODEL, version=version, rollout_id=rollout.id)
    try:
        result = load_candidate.run(request, ports)
    finally:
        ports.targets[MODEL].close()
    return result, judge_load_test(result, ports.catalog.model(MODEL).deployment), ports


def put_bundle(ports: FakePorts, version: str, hour: float) -> None:
    """The rows with which a version was compared, all of one hour."""
    golden = pl.DataFrame({"carrier": ["UA", None], "distance": [500.0, 1.0], "hour": [hour, hour]})
    content = io.BytesIO()
    golden.with_columns(prediction=pl.lit(0.0)).write_parquet(content)
    manifest = {"features": [{"name": "distance", "type": "numeric", "minimum": 5}]}
    ports.store.put(store_paths.bundle(MODEL, version, "golden.parquet"), content.getvalue())
    ports.store.put(store_paths.bundle(MODEL, version, "bundle.json"), json.dumps(manifest).encode())


def surroundings(rollout: Rollout, tmp_path: Path, load_test: Any) -> FakePorts:
    spec = shipped_model(MODEL)
    deployment = Deployment.model_validate({"strategy": "canary", "load_test": load_test})
    catalog = Catalog(models={MODEL: spec.model_copy(update={"deployment": deployment})})
    gateway = rollout.gateway
    where = {"AIRWORTHY_GATEWAY": gateway.base, "AIRWORTHY_GATEWAY_ADMIN": gateway.admin}
    settings = Settings.from_environment({"AIRWORTHY_HOME": str(tmp_path), **where})
    target = GatewayRollouts(gateway.base, gateway.admin)
    return FakePorts.make(tmp_path, catalog=catalog, settings=settings, targets={MODEL: target})


def test_a_good_candidate_keeps_what_is_asserted_and_nobody_else_notices(rollout: Rollout, tmp_path: Path) -> None:
    result, verdict, ports = tried(rollout, tmp_path, 2, "none", 7.0, rows=3)
    assert verdict.passed or result.lag_p99_ms > 80, verdict  # a busy machine may be too slow for the client
    assert result.errors == {}
    assert result.wrong_version_answers == 0
    assert result.sent == result.answered == 210
    assert result.shown[0].total == 180
    assert rollout.state()["rollout"]["phase"] == "READY"
    assert {role: arm["requests"] for role, arm in rollout.counts().items()}.get("candidate", 0) == 0
    assert ports.store.get(store_paths.rollout(MODEL, "r2", "load_test.png")).startswith(b"\x89PNG")
    kept = LoadTestResult.model_validate_json(ports.store.get(store_paths.rollout(MODEL, "r2", "load_test.json")))
    assert kept == result
    assert sum(result.histogram.values()) == 180
    secret = rollout.state()["rollout"]["probe"].encode()
    assert secret
    assert not [path for path, content in ports.store.files.items() if secret in content]


def test_a_slow_candidate_is_refused_and_the_test_ends_as_soon_as_that_is_shown(
    rollout: Rollout, tmp_path: Path
) -> None:
    result, verdict, _ = tried(
        rollout, tmp_path, 3, "slow once triggered", TRIGGER, duration=60, assertions={"p99_latency": {"max": 150}}
    )
    assert result.stopped_early
    assert result.seconds < 50
    assert result.shown[0].above >= math.log(20)
    assert verdict.outcome is not Outcome.PASS
    if result.lag_p99_ms < 30:  # else a busy machine was too slow for the client, and the verdict says so
        assert verdict.outcome is Outcome.FAIL
        assert "slower than 150 ms or failed" in verdict.reasons[0]


def test_a_candidate_that_fails_is_refused_with_how_it_failed(rollout: Rollout, tmp_path: Path) -> None:
    result, verdict, _ = tried(
        rollout, tmp_path, 4, "raises", TRIGGER, duration=60, assertions={"error_rate": {"max": 0.01}}
    )
    assert verdict.outcome is Outcome.FAIL
    assert "error_rate" in verdict.reasons[0]
    assert "status 500" in verdict.reasons[0] or "status 503" in verdict.reasons[0]
    assert result.answered == 0
    assert result.seconds < 50


def test_what_the_door_turns_away_is_not_the_candidates_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = front(tmp_path, authentication={"keys": keys()}, rate={"per_minute": 60, "burst": 30})
    try:
        guarded = Rollout(gateway.start(), tmp_path / "bundles").champion()
        monkeypatch.delenv("AIRWORTHY_GATEWAY_KEY", raising=False)
        with pytest.raises(Refused, match="the endpoint answers status 401"):
            tried(guarded, tmp_path, 2, "none", 7.0)
        monkeypatch.setenv("AIRWORTHY_GATEWAY_KEY", KEYS["caller"])
        result, verdict, ports = tried(guarded, tmp_path, 3, "none", 7.0, duration=1, ramp_up_time=0)
    finally:
        gateway.stop()
    assert result.errors.keys() == {"status 429"}
    assert verdict.outcome is Outcome.UNKNOWN
    assert "the endpoint refused requests (status 429" in verdict.reasons[-1]
    assert not [path for path, content in ports.store.files.items() if KEYS["caller"].encode() in content]


def test_a_first_version_is_tested_by_its_probe_before_it_is_live(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "gateway").start()
    try:
        first = Rollout(gateway, tmp_path / "bundles")
        ports = surroundings(first, tmp_path, LOAD)
        version, hour = write_candidate(first.folder, "1"), 7.0
        put_bundle(ports, "1", hour)
        target = ports.targets[MODEL]
        probe = target.load_unreleased(MODEL, "1", *version, seconds=600)
        assert gateway.invoke().status_code == 503, "nobody else reaches it"
        request = LoadTestRequest(model=MODEL, version="1", rollout_id="r1", probe=probe)
        result = load_candidate.run(request, ports)
        assert judge_load_test(result, ports.catalog.model(MODEL).deployment).passed
        assert (result.errors, target.state(MODEL).version) == ({}, None)
    finally:
        gateway.stop()


def test_a_rollout_that_is_not_this_one_is_not_tried(tmp_path: Path) -> None:
    ports = FakePorts.make(tmp_path, targets={MODEL: FakeTarget("1")})
    spec = ports.catalog.models[MODEL]
    declared = Deployment.model_validate({"strategy": "canary", "load_test": LOAD})
    ports.catalog.models[MODEL] = spec.model_copy(update={"deployment": declared})
    with pytest.raises(Refused, match="no rollout with candidate none"):
        load_candidate.run(LoadTestRequest(model=MODEL, version="2", rollout_id="r1"), ports)


HTTP_ROUTE = {"kind": "http_route", "gateway": "door", "image": "image"}


def test_a_target_says_how_its_candidate_is_reached_or_there_is_no_load_test(tmp_path: Path) -> None:
    class WithDoor(FakeTarget):
        def probe_endpoint(self, model: str, probe: str) -> tuple[str, dict[str, str]]:
            return f"http://127.0.0.1/{model}", {"x-candidate": probe}

    declared = Deployment.model_validate({"strategy": "canary", "target": HTTP_ROUTE, "load_test": LOAD})
    request = LoadTestRequest(model=MODEL, version="2", rollout_id="r1")
    for target, said in ((FakeTarget("1"), "target http_route has no endpoint"), (WithDoor("1"), None)):
        ports = FakePorts.make(tmp_path, targets={MODEL: target})
        target.create_rollout(MODEL, "r1", PLAN, expect=1, key="c")
        target.prepare(MODEL, "r1", "2", "bundles/2", "s2", expect=target.rollout(MODEL).generation, key="p")
        fault = endpoint_fault(declared, target)
        assert (fault or "").startswith(said or "")
        if said:
            with pytest.raises(Refused, match=said):
                find_endpoint(request, declared, ports)
        else:
            assert find_endpoint(request, declared, ports) == (f"http://127.0.0.1/{MODEL}", {"x-candidate": "probe"})
            first = request.model_copy(update={"probe": "first"})
            assert find_endpoint(first, declared, ports)[1] == {"x-candidate": "first"}
