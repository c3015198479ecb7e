"""On a machine with a GPU: training on CUDA is exact across a kill and close to the CPU's; elsewhere all is skipped."""

from __future__ import annotations

import hashlib
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipelines.spec.runner import StageRunner
from pipelines.steps.training.boosting import BoostingResult, boost, matrix
from pipelines.steps.training.boosting_plan import BoostingPlan, plan_boosting
from pipelines.steps.training.checkpoints import Checkpoints
from pipelines.steps.training.device import Device, choose_device, xgboost_device
from pipelines.steps.training.fitting import EncodedPart, fit
from pipelines.testing.ports import MemoryStore
from tests.steps.small_training import spec

pytestmark = pytest.mark.skipif(
    xgboost_device() != "cuda", reason="no CUDA device answers; run this file on a machine with a GPU"
)
DRAW = np.random.default_rng(3)
ROWS = DRAW.normal(size=(20_000, 8)).astype(np.float32)
TARGET = (ROWS[:, 0] * ROWS[:, 1] + DRAW.normal(size=20_000) > 0.5).astype(float)
TRAIN = 15_000


class Killed(Exception):
    """Stands for the end of the process."""


def a_plan(device: Device, **parameters: Any) -> BoostingPlan:
    given = {"max_depth": 4, "subsample": 0.8, "colsample_bytree": 0.7, "nthread": 1, **parameters}
    return plan_boosting(spec(estimator={"rounds": 40, "parameters": given}).training, "classification", 7, device)


def grow(plan: BoostingPlan, store: MemoryStore, on_round: Any = None) -> BoostingResult:
    train = matrix(plan, ROWS[:TRAIN], TARGET[:TRAIN])
    validation = matrix(plan, ROWS[TRAIN:], TARGET[TRAIN:], train if plan.quantile else None)
    checkpoints = Checkpoints(store, "small_delay", "d" * 64, plan.mode, 2)
    return boost(plan, train, validation, checkpoints=checkpoints, on_round=on_round)


def digest(done: BoostingResult) -> str:
    return hashlib.sha256(bytes(done.booster.save_raw("ubj"))).hexdigest()


def test_a_declared_gpu_is_what_xgboost_trains_on() -> None:
    assert choose_device("small_delay", StageRunner(gpus=1)) == "cuda"
    done = grow(a_plan("cuda"), MemoryStore())
    assert '"device":"cuda' in done.booster.save_config().replace(" ", "")


@pytest.mark.parametrize("method", ["hist", "approx"])
@pytest.mark.parametrize("killed_at", [12, 33])
def test_a_training_killed_on_a_gpu_ends_with_the_digest_of_an_undisturbed_one(method: str, killed_at: int) -> None:
    plan = a_plan("cuda", tree_method=method)

    def kill(number: int, scores: Any, rate: float) -> None:
        if number == killed_at:
            raise Killed

    undisturbed = grow(plan, MemoryStore())
    store = MemoryStore()
    with pytest.raises(Killed):
        grow(plan, store, kill)
    resumed = grow(plan, store)
    assert resumed.resumed_from_round == killed_at // 10 * 10
    assert digest(resumed) == digest(undisturbed)
    assert resumed.curves == undisturbed.curves


def test_the_gpu_gives_a_model_as_good_as_the_cpu_and_it_predicts_from_main_memory() -> None:
    scores = {}
    for device in ("cpu", "cuda"):
        declared = spec(estimator={"rounds": 40, "parameters": {"max_depth": 4, "nthread": 1}}).training
        train, held_out = EncodedPart(ROWS[:TRAIN], TARGET[:TRAIN]), EncodedPart(ROWS[TRAIN:], TARGET[TRAIN:])
        fitted = fit(declared, "classification", 7, [], train, held_out, device=device)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # XGBoost warns where rows and booster are on different devices
            scores[device] = roc_auc_score(held_out.target, fitted.predict(held_out.rows))
    assert scores["cuda"] == pytest.approx(scores["cpu"], abs=0.01)
