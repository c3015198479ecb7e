"""A rollout on KServe keeps its contract on a cluster in memory, and starts no pod anew that serves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pipelines.adapters.kubernetes.http_route_target import Timeouts, read_template
from pipelines.adapters.kubernetes.kserve_objects import predictor_name, stored_predictors
from pipelines.adapters.kubernetes.kserve_target import KServeTarget
from pipelines.adapters.kubernetes.pod_readings import PodCounts
from pipelines.errors import Unavailable
from pipelines.rollout.transitions import Route, Served
from pipelines.settings import REPOSITORY
from pipelines.spec.deployment import Deployment
from tests.adapters.rollout_contract import MODEL, Bundle, RolloutContract, prepared
from tests.installations.kubernetes_in_memory import KubernetesInMemory

ONE, TWO = (Served(version, f"s3://bucket/bundles/{version}", version * 64) for version in "12")
AT_ONCE = Timeouts(ready_seconds=0, applied_seconds=0, linger_seconds=0)


class KServeInMemory(KServeTarget):
    """Every pod is ready at once, unless it is ``slow``, and has counted nothing."""

    slow = False

    def _wait_ready(self, model: str, served: Served) -> None:
        if self.slow:
            raise Unavailable("no node has room")

    def _read_pods(self, model: str, route: Route) -> dict[str, tuple[str, PodCounts]]:
        return {}


class Killed(BaseException):
    """The process ends here."""


class Dying:
    """A client whose process ends right after the request of this number."""

    def __init__(self, cluster: KubernetesInMemory, number: int) -> None:
        self._cluster, self._left = cluster, number

    def call_api(self, *arguments: Any, **named: Any) -> Any:
        self._left -= 1
        try:
            return self._cluster.call_api(*arguments, **named)
        finally:
            if not self._left:
                raise Killed


def opened(cluster: KubernetesInMemory | Dying, image: str | None = "gateway:1", **blocks: Any) -> KServeInMemory:
    return KServeInMemory(
        Deployment.model_validate({"strategy": "canary", "target": {"kind": "kserve"}} | blocks),
        lambda: cluster,
        template=read_template(REPOSITORY / "include" / "pods" / "gateway.yaml"),
        image=image,
        store="s3://bucket",
        clock=lambda: datetime.now(UTC),
        timeouts=AT_ONCE,
        environment={},
    )


@pytest.fixture
def cluster() -> KubernetesInMemory:
    return KubernetesInMemory()


@pytest.fixture
def target(cluster: KubernetesInMemory) -> KServeInMemory:
    return opened(cluster)


@pytest.fixture
def bundle() -> Bundle:
    return lambda version: (f"s3://bucket/bundles/{version}", version * 64)


class TestKServe(RolloutContract):
    """The behaviours of every target."""

    reaches_without_traffic = False


def containers(cluster: KubernetesInMemory) -> dict[str, Any]:
    """What runs for each version, by its predictor's name."""
    (service,) = cluster.objects.values()
    return {name: predictor["containers"] for name, predictor in stored_predictors(service["spec"]).items()}


def test_promotion_and_rollback_start_no_pod_anew_although_another_image_is_declared(
    cluster: KubernetesInMemory, target: KServeInMemory, bundle: Bundle
) -> None:
    generation = prepared(target, bundle)
    before = containers(cluster)
    assert set(before) == {predictor_name(ONE), predictor_name(TWO)}
    later = opened(cluster, "gateway:2", resources={"memory_limit": "8Gi"})
    later.promote(MODEL, "r1", "2", expect=generation, key="promote")
    assert containers(cluster) == before
    opened(cluster, image=None).roll_back(MODEL, "r1", "worse", key="back")
    assert containers(cluster)[predictor_name(ONE)] == before[predictor_name(ONE)]
    assert target.state(MODEL).version == "1"


def test_the_next_try_of_a_version_whose_pods_found_no_room_starts_them_as_they_are_declared_now(
    cluster: KubernetesInMemory, target: KServeInMemory, bundle: Bundle
) -> None:
    target.release(MODEL, "1", *bundle("1"), key="first")
    target.slow = True
    with pytest.raises(Unavailable, match="no node has room"):
        target.release(MODEL, "2", *bundle("2"), key="second")
    smaller = opened(cluster, resources={"memory_request": "1Gi"})
    smaller.release(MODEL, "2", *bundle("2"), key="second")
    (served,) = containers(cluster)[predictor_name(TWO)]
    assert served["resources"] == {"requests": {"memory": "1Gi"}}


def test_a_process_that_ends_at_any_call_leaves_whole_traffic_and_its_next_try_goes_to_the_end(
    cluster: KubernetesInMemory, target: KServeInMemory, bundle: Bundle
) -> None:
    for number in range(1, 100):
        dying = opened(Dying(cluster, number))
        try:
            generation = prepared(dying, bundle) if dying.state(MODEL).generation < 3 else 3
            dying.set_traffic(MODEL, "r1", {"1": 9500, "2": 500}, expect=generation, key="step")
            break
        except Killed:
            if target.state(MODEL).version is not None:
                assert sum(target.rollout(MODEL).split.values()) == 10_000
    assert number > 15
    state = target.rollout(MODEL)
    assert (state.generation, state.step, state.split) == (4, 1, {"1": 9500, "2": 500})
    assert containers(cluster).keys() == {predictor_name(ONE), predictor_name(TWO)}
