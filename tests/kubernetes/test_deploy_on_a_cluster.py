"""The practices of a deploy run go their way on an HTTPRoute and on KServe: a good candidate, a bad one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.adapters.kubernetes.api import open_client
from pipelines.adapters.kubernetes.http_route_target import Timeouts
from pipelines.adapters.kubernetes.pod_readings import PodCounts
from pipelines.adapters.kubernetes.rollout_record import ObservedRecord, ServingRecord
from tests.kubernetes.serving_lab import Unawaited, UnawaitedKServe, declared, definition, nowhere
from tests.practices.deploy_run import CANARY, TICKET, DeployRun
from tests.practices.practice_harness import MODEL, PracticeHarness

pytestmark = pytest.mark.kubernetes

AT_ONCE = Timeouts(ready_seconds=30, applied_seconds=0, linger_seconds=0)


class Counting:
    """The pods answer what ``add_counts`` says."""

    down = False
    counted: dict[str, tuple[str, PodCounts]] = {}

    def add_counts(self, model: str, version: str, role: str, *, requests: int, failed: int = 0) -> None:
        before = self.counted.get(version, (version, PodCounts()))[1]
        self.counted = {**self.counted, version: (version, before.plus(PodCounts(requests, failed)))}


def accept(where: tuple[str, ...], status: Any) -> None:
    """As a controller does that has taken the newest write."""
    from kubernetes import client

    api = client.CustomObjectsApi(open_client())
    newest = api.get_namespaced_custom_object(*where)["metadata"]["generation"]
    api.patch_namespaced_custom_object_status(*where, {"status": status(newest)})


class Route(Counting, Unawaited):
    """A Gateway's controller takes every write at once."""

    def _write(self, model: str, record: ServingRecord, before: ObservedRecord | None) -> None:
        super()._write(model, record, before)
        where = ("gateway.networking.k8s.io", "v1", self._target.namespace, "httproutes", "flight-delay")
        taken = {"type": "Accepted", "status": "True"}
        accept(where, lambda newest: {"parents": [{"conditions": [taken | {"observedGeneration": newest}]}]})


class Inference(Counting, UnawaitedKServe):
    """KServe's controller does, and every pod is ready."""

    def _write(self, model: str, record: ServingRecord, before: ObservedRecord | None) -> None:
        super()._write(model, record, before)
        where = ("serving.kserve.io", "v1beta1", self._target.namespace, "inferenceservices", "flight-delay")
        good = [{"type": kind, "status": "True"} for kind in ("Ready", "CanaryReady")]
        accept(where, lambda newest: {"observedGeneration": newest, "conditions": good})


@pytest.fixture(params=["http_route", "kserve"])
def run(
    request: pytest.FixtureRequest, core_api: Any, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DeployRun]:
    harness = PracticeHarness.open(tmp_path, monkeypatch)
    deployment = CANARY.model_copy(update={"target": declared(namespace, request.param).target})
    how: dict[str, Any] = {"store": "s3://bucket", "clock": lambda: harness.clock(), "timeouts": AT_ONCE}
    kind = Inference if request.param == "kserve" else Route
    target: Any = kind(deployment, open_client, template=nowhere(), **how)
    with definition("inferenceservices" if request.param == "kserve" else "httproutes"):
        target.release(MODEL, "4", "s3://bundles/4", "s4", key="first")
        yield DeployRun(harness, ticket=TICKET.model_copy(update={"bundle": "s3://bundles/5"}), target=target)


def test_a_good_candidate_is_promoted_step_by_step_and_the_former_one_retired(run: DeployRun) -> None:
    assert set(run.play().values()) == {"success"}, run.reasons
    state = run.state
    assert (state.champion, state.phase, state.split) == ("5", "SUCCEEDED", {"5": 10_000})


def test_a_bad_candidate_loses_its_traffic(run: DeployRun) -> None:
    run.bad = 40
    states = run.play()
    assert states["judge_at_5"] == "failed"
    assert (run.state.phase, run.state.split) == ("ROLLED_BACK", {"4": 10_000})
