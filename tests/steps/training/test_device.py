"""A GPU that is asked for and absent is an error with its reason, or a fallback that all can see; never silent."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import Refused
from pipelines.messages.training import ReproduceRequest, TrainResult
from pipelines.mlflow_client import open_client
from pipelines.spec.model import ModelSpec
from pipelines.spec.runner import StageRunner
from pipelines.steps import reproduce_model, train_model
from pipelines.steps.training import device
from pipelines.steps.training.boosting_plan import plan_boosting
from pipelines.steps.training.plan import TrainingPlan, plan_training
from pipelines.testing.ports import FakePorts
from tests.steps.small_training import FEATURES, keep_snapshot, ports, request, rows, spec

KEPT_DIGEST = "69c09b0e2b210606ebca312cf9041370a2cdf41ee79022b1fb6451749d42c0e5"
without_cuda = pytest.mark.skipif(device.xgboost_device() == "cuda", reason="a CUDA device answers on this machine")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


def on(model: ModelSpec, **runner: Any) -> ModelSpec:
    return model.model_copy(update={"runner": {"train": StageRunner(**runner)}})


def order_of(world: FakePorts) -> TrainingPlan:
    return plan_training(request("s" * 64), FEATURES, world)


def test_the_digest_of_an_order_for_the_cpu_is_what_it_was_before_there_were_gpus(tmp_path: Path, shared: Path) -> None:
    """Nor did refits change it, where none is made."""
    order = order_of(ports(tmp_path, shared)).model_copy(update={"refit": False})
    assert order.digest() == KEPT_DIGEST
    assert "device" not in order.model_dump_json(by_alias=True)
    assert TrainingPlan.model_validate_json(order.model_dump_json(by_alias=True)) == order


def test_an_order_for_a_gpu_has_a_digest_of_its_own_and_is_read_back_with_its_device(
    tmp_path: Path, shared: Path
) -> None:
    order = order_of(ports(tmp_path, shared))
    accelerated = order.with_device("cuda")
    assert accelerated.digest() != order.digest()
    assert TrainingPlan.model_validate_json(accelerated.model_dump_json(by_alias=True)).device == "cuda"


def test_a_gpu_reaches_xgboost_and_the_cpu_leaves_its_parameters_as_they_were() -> None:
    training = spec().training
    plain, accelerated = (plan_boosting(training, "classification", 7, where) for where in device.DEVICES)
    assert "device" not in plain.parameters
    assert accelerated.parameters == {**plain.parameters, "device": "cuda"}


def test_the_device_is_declared_by_the_runner_and_not_among_the_parameters() -> None:
    training = spec(estimator={"rounds": 2, "parameters": {"device": "cuda"}}).training
    with pytest.raises(Refused, match=r"device: declare it as runner\.train\.gpus"):
        plan_boosting(training, "classification", 7)


@without_cuda
def test_without_a_cuda_device_a_training_with_gpus_is_refused_before_it_starts(tmp_path: Path, shared: Path) -> None:
    world = ports(tmp_path, shared, on(spec(), gpus=1))
    with pytest.raises(Refused, match=r"no CUDA device answers, .* of small_delay is 1") as no:
        train_model.run(request(keep_snapshot(world.store, rows())), world)
    assert len(no.value.reasons) >= 2
    assert "cpu_fallback: true" in no.value.reasons[-1]
    assert world.registry.versions("small_delay") == []


@without_cuda
def test_an_estimator_that_uses_no_gpu_is_refused_one(tmp_path: Path, shared: Path) -> None:
    estimator = {"kind": "sklearn", "class_path": "sklearn.ensemble.HistGradientBoostingClassifier"}
    with pytest.raises(Refused, match="kind sklearn uses none; set gpus: 0"):
        order_of(ports(tmp_path, shared, on(spec(estimator=estimator), gpus=1, cpu_fallback=True)))


@without_cuda
def test_a_fallback_trains_the_model_of_the_cpu_and_is_said_everywhere(
    tmp_path: Path, shared: Path, caplog: pytest.LogCaptureFixture
) -> None:
    declared = spec(estimator={"rounds": 5, "parameters": {"nthread": 1}})
    for name in ("cpu", "gpu"):
        (tmp_path / name).mkdir()
    plain = _trained(ports(tmp_path / "cpu", shared, declared))
    world = ports(tmp_path / "gpu", shared, on(declared, gpus=1, cpu_fallback=True))
    with caplog.at_level(logging.WARNING):
        fallen = _trained(world)
    assert fallen.model_digest == plain.model_digest
    assert fallen.device == "cpu"
    assert "no CUDA device answers" in caplog.text
    assert "is trained on the CPU" in caplog.text
    run = open_client(world.settings.tracking).get_run(fallen.run_id).data
    assert run.tags["airworthy.device"] == run.params["device_used"] == "cpu"


@without_cuda
def test_a_version_from_a_gpu_is_not_reproduced_without_one(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = ports(tmp_path, shared, spec(estimator={"rounds": 2, "parameters": {"nthread": 1}}))
    result = _trained(world)
    recorded = reproduce_model.read_training_record

    def on_cuda(*given: Any) -> Any:
        order, then, trial = recorded(*given)
        return order.with_device("cuda"), then, trial

    monkeypatch.setattr(reproduce_model, "read_training_record", on_cuda)
    with pytest.raises(Refused, match="which was trained on one, needs a CUDA device, and none answers here"):
        reproduce_model.run(ReproduceRequest(model="small_delay", version=result.version), world)


@without_cuda
def test_a_retry_that_gets_the_other_device_finds_what_the_first_attempt_registered(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = on(spec(estimator={"rounds": 2, "parameters": {"nthread": 1}}), gpus=1, cpu_fallback=True)
    world = ports(tmp_path, shared, declared)
    first = _trained(world)
    monkeypatch.setattr(device, "xgboost_device", lambda: "cuda")
    assert _trained(world).version == first.version


def test_what_stands_in_the_way_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device.xgb, "build_info", lambda: {"USE_CUDA": False})
    assert "is built without CUDA" in device.cuda_faults()[0]


@without_cuda
def test_hidden_devices_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "CUDA_VISIBLE_DEVICES is ''" in device.cuda_faults()[0]


def _trained(world: FakePorts) -> TrainResult:
    return train_model.run(request(keep_snapshot(world.store, rows())), world)
