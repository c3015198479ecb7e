"""Boosting stops, slows down and goes on as declared; a resumed training ends with the very same bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from pipelines.errors import Refused
from pipelines.spec.model import EarlyStopping, LearningRate
from pipelines.steps.training.boosting import BoostingResult, boost, matrix
from pipelines.steps.training.boosting_plan import BoostingPlan, plan_boosting
from pipelines.steps.training.checkpoints import Checkpoints
from pipelines.steps.training.early_stopping import EarlyStopper
from pipelines.steps.training.learning_rate import LearningRateSchedule
from pipelines.steps.training.scores import improves, mode_of
from pipelines.testing.ports import MemoryStore
from tests.steps.small_training import spec

DRAW = np.random.default_rng(3)
ROWS = DRAW.normal(size=(1500, 8)).astype(np.float32)
TARGET = (ROWS[:, 0] * ROWS[:, 1] + DRAW.normal(size=1500) > 0.5).astype(float)


def a_plan(**training: Any) -> BoostingPlan:
    return plan_boosting(spec(**training).training, "classification", seed=7)


def grow(plan: BoostingPlan, checkpoints: Checkpoints | None = None, on_round: Any = None) -> BoostingResult:
    train = matrix(plan, ROWS[:1000], TARGET[:1000])
    validation = matrix(plan, ROWS[1000:], TARGET[1000:], train if plan.quantile else None)
    return boost(plan, train, validation, checkpoints=checkpoints, on_round=on_round)


def content(done: BoostingResult) -> bytes:
    return bytes(done.booster.save_raw("ubj"))


class Killed(Exception):
    """Stands for the end of the process."""


def kill_after(rounds: int) -> Any:
    def on_round(number: int, scores: Any, rate: float) -> None:
        if number == rounds:
            raise Killed

    return on_round


def kept_in(store: MemoryStore, plan: BoostingPlan, keep_best: int = 2) -> Checkpoints:
    return Checkpoints(store, "small_delay", "d" * 64, plan.mode, keep_best)


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine", "plateau"])
@pytest.mark.parametrize("killed_at", [12, 33])
def test_a_training_killed_half_way_ends_with_the_bytes_of_an_undisturbed_one(schedule: str, killed_at: int) -> None:
    plan = a_plan(
        learning_rate={"schedule": schedule, "initial": 0.3, "minimum": 0.01, "step_every": 7, "patience": 2},
        early_stopping={"enabled": True, "metric": "auc", "patience": 39},
    )
    undisturbed = grow(plan, kept_in(MemoryStore(), plan))
    store = MemoryStore()
    with pytest.raises(Killed):
        grow(plan, kept_in(store, plan), kill_after(killed_at))
    resumed = grow(plan, kept_in(store, plan))
    assert resumed.resumed_from_round == killed_at // 10 * 10
    assert content(resumed) == content(undisturbed)
    assert resumed.curves == undisturbed.curves
    assert resumed.learning_rates == undisturbed.learning_rates
    assert (resumed.rounds, resumed.best_round) == (undisturbed.rounds, undisturbed.best_round)


@pytest.mark.parametrize("method", ["hist", "approx", "exact"])
def test_resuming_is_exact_for_every_tree_method(method: str) -> None:
    parameters = {"max_depth": 3, "subsample": 0.8, "colsample_bylevel": 0.7, "nthread": 1, "tree_method": method}
    if method == "exact":
        parameters.pop("colsample_bylevel")
    plan = a_plan(estimator={"rounds": 25, "parameters": parameters})
    store = MemoryStore()
    with pytest.raises(Killed):
        grow(plan, kept_in(store, plan), kill_after(22))
    assert content(grow(plan, kept_in(store, plan))) == content(grow(plan))


def test_the_same_plan_twice_gives_the_same_bytes_and_another_seed_others() -> None:
    plan = a_plan()
    other = plan_boosting(spec().training, "classification", seed=8)
    assert content(grow(plan)) == content(grow(plan))
    assert content(grow(plan)) != content(grow(other))


def test_two_threads_give_the_same_bytes_every_time() -> None:
    parameters = {"max_depth": 6, "subsample": 0.8, "nthread": 2}
    plan = a_plan(estimator={"rounds": 20, "parameters": parameters})
    assert len({content(grow(plan)) for _ in range(3)}) == 1


def test_only_the_best_checkpoints_and_the_newest_are_kept() -> None:
    store = MemoryStore()
    plan = a_plan()
    checkpoints = kept_in(store, plan)
    for rounds, score in enumerate([0.4, 0.2, 0.9, 0.1, 0.5], start=1):
        checkpoints.save(b"model %d" % rounds, {}, [0.1] * rounds, score)
    held = [path.rpartition("/")[2] for path in store.list("checkpoints/")]
    assert held == ["checkpoints.json", "round-000002.ubj", "round-000004.ubj", "round-000005.ubj"]


def test_a_checkpoint_that_was_altered_is_not_resumed_from() -> None:
    store = MemoryStore()
    plan = a_plan()
    checkpoints = kept_in(store, plan)
    checkpoints.save(b"model", {}, [0.1] * 10, 0.5)
    store.put(next(path for path in store.list("checkpoints/") if path.endswith(".ubj")), b"other")
    assert kept_in(store, plan).newest() is None


def test_an_undefined_score_is_no_best_checkpoint_but_the_newest_still_counts() -> None:
    store = MemoryStore()
    checkpoints = kept_in(store, a_plan(), keep_best=1)
    checkpoints.save(b"a", {"validation/auc": [0.5]}, [0.1], 0.5)
    checkpoints.save(b"b", {"validation/auc": [0.5, float("nan")]}, [0.1, 0.1], float("nan"))
    found = kept_in(store, a_plan()).newest()
    assert found is not None
    assert found[0] == b"b"
    assert [kept.score for kept in found[1].kept] == [0.5, None]


def test_early_stopping_keeps_the_rounds_up_to_the_best_one() -> None:
    plan = a_plan(
        estimator={"rounds": 200, "parameters": {"max_depth": 6, "nthread": 1}},
        early_stopping={"enabled": True, "metric": "logloss", "patience": 5},
    )
    done = grow(plan)
    scores = done.curves["validation/logloss"]
    assert done.best_round == int(np.argmin(scores))
    assert done.rounds == done.best_round + 6 < 200
    assert done.booster.num_boosted_rounds() == done.best_round + 1


def test_without_early_stopping_every_round_is_done_and_kept() -> None:
    done = grow(a_plan())
    assert (done.rounds, done.best_round, done.booster.num_boosted_rounds()) == (40, None, 40)


def test_our_loop_gives_the_model_that_xgboost_train_gives() -> None:
    plan = a_plan(learning_rate={"initial": 0.2}, checkpointing={"enabled": False})
    train = matrix(plan, ROWS[:1000], TARGET[:1000])
    theirs = xgb.train(
        {**plan.parameters, "learning_rate": 0.2}, train, 40, evals=[(train, "train")], verbose_eval=False
    )
    assert np.array_equal(theirs.inplace_predict(ROWS), grow(plan).booster.inplace_predict(ROWS))


@pytest.mark.parametrize(
    ("scores", "declared", "mode", "stops_at", "best"),
    [
        ([1.0, 0.9, 0.95, 0.96, 0.97], {"patience": 2}, "min", 3, 1),
        ([0.5, 0.6, 0.55, 0.54], {"patience": 2}, "max", 3, 1),
        ([1.0, 0.95, 0.91, 0.89], {"patience": 2, "min_delta": 0.1}, "min", 2, 0),
        ([1.0, 0.95, 0.85, 0.8], {"patience": 2, "min_delta": 0.1}, "min", None, 2),
        ([1.0, 1.0, 1.0, 1.0], {"patience": 3}, "min", 3, 0),
        ([1.0, 1.1, 1.2], {"patience": 1, "enabled": False}, "min", None, 0),
        ([float("nan"), 0.5, float("nan"), 0.4], {"patience": 2}, "min", None, 3),
    ],
)
def test_training_stops_after_patience_rounds_without_a_gain_above_min_delta(
    scores: list[float], declared: dict[str, Any], mode: str, stops_at: int | None, best: int
) -> None:
    stopper = EarlyStopper(EarlyStopping(**declared), mode)
    stopped = next((number for number, score in enumerate(scores) if stopper.observe(score)), None)
    assert (stopped, stopper.best_round) == (stops_at, best)


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"schedule": "constant", "initial": 0.2}, [0.2, 0.2, 0.2, 0.2, 0.2]),
        (
            {"schedule": "step", "initial": 0.4, "step_every": 2, "factor": 0.5, "minimum": 0.15},
            [0.4, 0.4, 0.2, 0.2, 0.15],
        ),
        ({"schedule": "cosine", "initial": 0.3, "minimum": 0.1}, [0.3, 0.2809, 0.2309, 0.1691, 0.1191]),
        (
            {"schedule": "plateau", "initial": 0.4, "patience": 2, "factor": 0.5, "minimum": 0.0},
            [0.4, 0.4, 0.4, 0.2, 0.2],
        ),
    ],
)
def test_each_schedule_gives_its_declared_rates(declared: dict[str, Any], expected: list[float]) -> None:
    schedule = LearningRateSchedule(LearningRate(**declared), rounds=5, mode="min")
    rates = []
    for number in range(5):
        rates.append(round(schedule.rate(number), 4))
        schedule.observe(1.0)
    assert rates == expected


@pytest.mark.parametrize(
    ("metric", "declared", "mode"),
    [
        ("auc", None, "max"),
        ("aucpr", None, "max"),
        ("logloss", None, "min"),
        ("ndcg@5", None, "max"),
        ("mae", "max", "max"),
    ],
)
def test_the_mode_is_the_metrics_own_unless_declared(metric: str, declared: Any, mode: str) -> None:
    assert mode_of(metric, declared) == mode


def test_an_undefined_score_never_improves() -> None:
    assert not improves(float("nan"), None, "max")


def test_every_reserved_or_unfit_parameter_is_listed_at_once() -> None:
    faulty = {"seed": 1, "eta": 0.1, "booster": "dart", "objective": "reg:squarederror", "nthread": -1}
    with pytest.raises(Refused) as refused:
        a_plan(estimator={"parameters": faulty})
    assert [reason.partition(":")[0] for reason in refused.value.reasons] == [
        "seed",
        "eta",
        "booster",
        "objective",
        "nthread",
    ]


@pytest.mark.parametrize(
    ("parameters", "stopping", "said"),
    [
        ({"max_dept": 4, "gama": 1}, {}, "gama"),
        ({"max_depth": "deep"}, {}, "max_depth"),
        ({}, {"metric": "aucc"}, "aucc"),
        ({"tree_method": "hits"}, {}, "hits"),
    ],
)
def test_a_misspelt_parameter_is_refused_before_the_first_round(
    parameters: dict[str, Any], stopping: dict[str, Any], said: str
) -> None:
    plan = a_plan(estimator={"rounds": 2, "parameters": parameters}, early_stopping={"enabled": False, **stopping})
    with pytest.raises((Refused, xgb.core.XGBoostError), match=said):
        grow(plan)
