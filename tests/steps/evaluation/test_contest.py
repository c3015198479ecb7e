"""Versions that were really trained are compared on rows that neither has learnt from, by whatever way there is."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.messages.evaluation import EvaluateRequest, EvaluateResult
from pipelines.messages.training import ModelDigests
from pipelines.rules.candidate_evaluation import judge_evaluation
from pipelines.spec.model import ModelSpec
from pipelines.spec.split import SplitSpec
from pipelines.steps import evaluate_model, train_model
from pipelines.steps.snapshot.split import assign_parts
from pipelines.testing.ports import FakePorts
from tests.steps.small_training import START, keep_snapshot, ports, request, rows, spec


def over_days(days: int, first: int = 0, strategy: str = "time_ordered") -> pl.DataFrame:
    """The small snapshot spread over so many days, of which it begins ``first`` days late, split as declared."""
    frame, step = rows(), timedelta(days=days) / 1200
    times = [START + timedelta(days=first) + step * number for number in range(frame.height)]
    frame = frame.with_columns(
        pl.Series("prediction_time", times, dtype=pl.Datetime("us", "UTC")),
        pl.Series("label_time", [time + timedelta(hours=6) for time in times], dtype=pl.Datetime("us", "UTC")),
        pl.col("flight").cast(pl.String).alias("entity_id"),
    )
    split = SplitSpec(strategy=strategy)  # type: ignore[arg-type]
    part = assign_parts(frame, split, seed=7, classification=True)
    return frame.with_columns(part).drop("entity_id")


class World:
    """A model whose versions are trained when they are first asked for."""

    def __init__(self, folder: Path, shared: Path, declared: ModelSpec) -> None:
        self.ports: FakePorts = ports(folder, shared, declared)
        self.digests: dict[str, ModelDigests] = {}
        self._trained: dict[Any, str] = {}

    def version(self, days: int, first: int = 0, seed: int | None = None) -> str:
        key = (days, first, seed)
        if key not in self._trained:
            strategy = self.ports.catalog.model("small_delay").training.split.strategy
            snapshot = keep_snapshot(self.ports.store, over_days(days, first, strategy))
            result = train_model.run(request(snapshot, run_key=f"run {key}", seed=seed), self.ports)
            self.digests[result.version] = ModelDigests(
                model_digest=result.model_digest, judged_digest=result.judged_digest
            )
            self._trained[key] = result.version
        return self._trained[key]

    def evaluate(self, version: str, champion: str | None, **fields: Any) -> EvaluateResult:
        asked = EvaluateRequest(model="small_delay", version=version, champion=champion, digests=self.digests, **fields)
        return evaluate_model.run(asked, self.ports)


def declared(comparison: dict[str, Any] | None = None, **training: Any) -> ModelSpec:
    model = spec(**training)
    evaluation = model.evaluation.model_dump()
    evaluation["comparison"] |= comparison or {}
    return ModelSpec.model_validate(model.model_dump(by_alias=True) | {"evaluation": evaluation})


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="module")
def world(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("home"), shared, declared())


def test_where_the_test_part_has_days_enough_the_files_themselves_are_compared(world: World) -> None:
    result = world.evaluate(world.version(200, seed=8), world.version(200))
    assert result.comparison is not None
    assert (result.comparison.method, result.comparison.units) == ("held_out", 31)
    assert result.comparison.rows == 180
    assert result.notes == []


def test_a_test_part_of_few_days_is_replaced_by_models_of_earlier_days(world: World) -> None:
    """The champion's snapshot ends twelve days before the candidate's, and so do the rows of its recipe."""
    champion, candidate = world.version(60), world.version(60, first=12, seed=8)
    result = world.evaluate(candidate, champion, anchors=[champion])
    assert result.comparison is not None
    assert (result.comparison.method, result.comparison.units) == ("forward_chaining", 20)
    assert result.comparison.low is not None
    assert result.compared_from is not None
    assert result.trained_until is not None
    assert result.compared_from < result.trained_until
    assert "test part are later than both trainings; compared by forward chaining over 20 days" in result.notes[0]
    assert result.notes[0].endswith(f"those of version {champion} on rows 12 days older")
    assert result.anchor_comparison == result.comparison
    assert result.plots[0].endswith("roc.png")


def test_the_same_recipe_of_the_same_age_gains_nothing_and_says_how_it_was_compared(world: World) -> None:
    version = world.version(60)
    result = world.evaluate(version, version)
    assert result.comparison is not None
    assert result.comparison.method == "forward_chaining"
    assert (result.comparison.gain, result.comparison.low) == (0.0, 0.0)
    assert result.notes[0].endswith("each answered by models trained on what was known before it")


def test_a_candidate_of_the_newest_rows_is_compared_with_the_champion_itself(world: World) -> None:
    """Its snapshot lacks the rows that the champion's recipe needs; trained on what is there, it would look bad."""
    champion = world.version(110)
    recent = over_days(60, first=100)
    snapshot = keep_snapshot(world.ports.store, recent)
    result = train_model.run(request(snapshot, run_key="recent", history_days=60), world.ports)
    world.digests[result.version] = ModelDigests(model_digest=result.model_digest, judged_digest=result.judged_digest)
    evaluated = world.evaluate(result.version, champion)
    assert evaluated.comparison is not None
    assert (evaluated.comparison.method, evaluated.comparison.units) == ("forward_chaining", 20)
    assert f"(4 stretches by version {champion} itself)" in evaluated.notes[0]
    twice = world.evaluate(result.version, champion, chosen_of={result.version: 2})
    assert twice.comparison is not None
    assert (evaluated.comparison.attempt, twice.comparison.attempt) == (1, 2)


def test_too_few_days_in_all_leave_what_can_be_compared_and_say_why(world: World) -> None:
    version = world.version(30)
    result = world.evaluate(version, version)
    assert result.comparison is not None
    assert (result.comparison.method, result.comparison.units) == ("held_out", 5)
    assert "the snapshot has rows of 31 days; forward chaining needs 40" in result.notes[-1]


def test_a_second_candidate_on_the_same_test_rows_is_the_second_attempt(world: World) -> None:
    champion, second = world.version(200), world.version(200, seed=8)
    part = world.evaluate(second, champion).test_part
    assert part is not None
    before: list[dict[str, list[str]]] = [{part: ["9"], "other": ["7"]}, {part: [second, "9"]}]
    results = [world.evaluate(second, champion, attempts=attempts) for attempts in before]
    assert [result.comparison.attempt for result in results if result.comparison] == [2, 1]


def test_the_champions_shown_metric_is_set_beside_later_days(world: World) -> None:
    champion, candidate = world.version(200), world.version(200, first=40)
    result = world.evaluate(candidate, champion)
    assert result.optimism is not None
    assert (result.optimism.of, result.optimism.unit) == (champion, "day")
    assert 38 <= result.optimism.units <= 42
    assert result.optimism.amount == pytest.approx(result.optimism.shown - result.optimism.later)
    assert result.optimism.standard_error is not None


def test_a_split_that_mixes_times_compares_nothing_that_either_model_has_seen(tmp_path: Path, shared: Path) -> None:
    world = World(tmp_path, shared, declared(split={"strategy": "random"}))
    version = world.version(80)
    result = world.evaluate(version, version)
    assert result.comparison is not None
    assert (result.comparison.method, result.comparison.units) == ("forward_chaining", 27)
    assert result.optimism is not None
    assert (result.optimism.of, result.optimism.later) == (version, result.comparison.candidate)
    assert result.optimism.shown == result.metrics["roc_auc"]
    first = world.evaluate(version, None)
    assert (first.comparison, first.optimism) == (None, result.optimism)
    assert judge_evaluation(result, world.ports.catalog.model("small_delay")).passed


def test_a_table_without_time_is_compared_by_cross_fitting(tmp_path: Path, shared: Path) -> None:
    world = World(tmp_path, shared, declared({"unit": "flight"}, split={"strategy": "random"}))
    version = world.version(3)
    result = world.evaluate(version, version)
    assert result.comparison is not None
    assert (result.comparison.method, result.comparison.units, result.comparison.rows) == ("cross_fitting", 400, 1200)
    assert judge_evaluation(result, world.ports.catalog.model("small_delay")).passed
