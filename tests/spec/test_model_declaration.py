"""A model says its target: problem, metrics and limits follow, and what cannot be honoured is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.settings import REPOSITORY
from pipelines.spec.fault_text import fault_texts
from pipelines.spec.model import ModelSpec
from pipelines.spec.model_declaration import ModelDeclaration, resolved_model
from pipelines.spec.model_schema_1 import model_schema_1_faults
from pipelines.spec.plain_yaml import load
from tests.steps.flights_by_hand import DATASET, VIEW

SHORT = "{schema: 2, model: late_flights, view: flight_delay, target: late}"
SKLEARN = "{kind: sklearn, class_path: sklearn.linear_model.LogisticRegression}"


def read(text: str) -> tuple[ModelSpec | None, list[str]]:
    try:
        declared = ModelDeclaration.model_validate(load(text))
    except ValidationError as error:
        return None, fault_texts(error)
    return resolved_model(declared, VIEW, DATASET)


def model_with(**fields: Any) -> tuple[ModelSpec | None, list[str]]:
    """``fields`` as YAML writes them, in place of those of the short model."""
    declared = load(SHORT) | {name: load(text) if isinstance(text, str) else text for name, text in fields.items()}
    try:
        return resolved_model(ModelDeclaration.model_validate(declared), VIEW, DATASET)
    except ValidationError as error:
        return None, fault_texts(error)


@pytest.mark.parametrize(
    ("target", "problem", "expression", "recorded"),
    [
        ("late", "classification", "arr_delay >= 15", {"column": "arr_delay", "at_least": 15}),
        ("arr_delay", "regression", "arr_delay", {"column": "arr_delay", "at_least": None}),
        ("arr_delay < 0 or arr_delay > 60", "classification", "arr_delay < 0 or arr_delay > 60", None),
        ("arr_delay / air_time", "regression", "arr_delay / air_time", None),
    ],
)
def test_the_problem_follows_from_the_target(
    target: str, problem: str, expression: str, recorded: dict[str, Any] | None
) -> None:
    model, faults = model_with(target=repr(target))
    assert faults == []
    assert model is not None
    assert (model.problem, model.target.expression) == (problem, expression)
    assert model.target.recorded() == (recorded or {"expression": expression})


def test_what_is_left_out_is_what_a_model_that_learnt_nothing_has_and_a_drop_that_matters() -> None:
    for target, floor, metric, drop in (
        ("late", {"roc_auc": 0.5}, "roc_auc", ("roc_auc", 0.05)),
        ("arr_delay", {"r2": 0.0}, "rmse", ("r2", 0.1)),
    ):
        model, _ = model_with(target=target, evaluation="{threshold: 0.4}", monitoring="{label_horizon_days: 5}")
        assert model is not None
        assert {name: bound.min for name, bound in model.evaluation.minimum_metrics.items()} == floor
        assert (model.evaluation.comparison.metric, model.evaluation.threshold) == (metric, 0.4)
        assert (model.monitoring.performance.metric, model.monitoring.performance.max_drop) == drop
        assert model.monitoring.label_horizon_days == 5


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"target": "dest"}, "target: 'dest' is a text, and a target is a condition or a number; write one, as in"),
        ({"target": "lateness"}, "target: 'lateness' is not a column; it has"),
        ({"target": "distance"}, "target: distance is known 1d before the event, and t is 2h before the event"),
        ({"problem": "regression"}, "problem: the target is a boolean, which makes a classification; remove problem"),
        (
            {"problem": "classification", "target": "arr_delay"},
            "problem: the target is a number, which makes a regression; write a condition, as in 'arr_delay = 1'",
        ),
        (
            {"evaluation": "{minimum_metrics: {mae: {max: 3}}}"},
            "evaluation.minimum_metrics.mae is 'mae'; a classification has accuracy",
        ),
        ({"training": "{estimator: {rounds: 5}}", "estimator": "{rounds: 6}"}, "training.estimator: is declared twice"),
    ],
)
def test_a_model_that_contradicts_its_view_or_itself_is_refused(fields: dict[str, str], said: str) -> None:
    model, faults = model_with(**fields)
    assert model is None
    assert any(said in fault for fault in faults), faults


@pytest.mark.parametrize(
    ("training", "place"),
    [
        ("{learning_rate: {initial: 0.9}}", "training.learning_rate"),
        ("{early_stopping: {patience: 3}}", "training.early_stopping"),
        ("{checkpointing: {frequency: 3}}", "training.checkpointing"),
        ("{search: {trials: 2, space: {learning_rate: {low: 0.1, high: 0.2}}}}", "training.search.space.learning_rate"),
        ("{search: {trials: 2, space: {rounds: {choices: [10, 20]}}}}", "training.search.space.rounds"),
        ("{estimator: {rounds: 30}}", "training.estimator.rounds"),
    ],
)
def test_what_scikit_learn_would_ignore_is_refused_when_it_is_read(training: str, place: str) -> None:
    declared = load(training)
    declared["estimator"] = load(SKLEARN) | declared.get("estimator", {})
    _, faults = model_with(training=declared)
    assert [fault.partition(":")[0] for fault in faults] == [place]


@pytest.mark.parametrize(
    "training",
    [
        "{early_stopping: {enabled: false}}",
        "{checkpointing: {enabled: false}}",
        "{search: {trials: 2, space: {C: {choices: [1e-3, 1e-2]}}}}",
        "{cross_validation: {folds: 3}, seed: 4}",
    ],
)
def test_what_scikit_learn_honours_is_taken(training: str) -> None:
    assert model_with(training=load(training), estimator=SKLEARN)[1] == []


@pytest.mark.parametrize(
    ("training", "said"),
    [
        (
            "{estimator: {parameters: {eta: 0.1}}}",
            "training.estimator.parameters.eta: declare it as training.learning_rate",
        ),
        (
            "{search: {trials: 2, space: {eta: {choices: [0.1]}}}}",
            "training.search.space.eta: search it as learning_rate",
        ),
        (
            "{search: {trials: 2, space: {seed: {choices: [1]}}}}",
            "training.search.space.seed: cannot be searched: declare",
        ),
        (
            "{search: {trials: 2, space: {rounds: {choices: [1.5]}}}}",
            "training.search.space.rounds: 1.5 is no whole number",
        ),
        (
            "{search: {trials: 2, space: {learning_rate: {choices: [fast]}}}}",
            "learning_rate: 'fast' is no number above 0",
        ),
        ("{search: {trials: 2, space: {max_depth: {low: 5, high: 3}}}}", "max_depth: low 5 is above high 3; swap them"),
        (
            "{search: {trials: 2, space: {gamma: {low: 0, high: 3, log: true}}}}",
            "low 0 has no logarithm; give a low above",
        ),
    ],
)
def test_what_boosting_would_ignore_or_stumble_over_is_refused_when_it_is_read(training: str, said: str) -> None:
    _, faults = model_with(training=training)
    assert any(said in fault for fault in faults), faults


def test_numbers_as_yaml_writes_them_are_numbers_wherever_a_model_takes_any() -> None:
    search = "{trials: 2, space: {learning_rate: {choices: [1e-3, 1e-2]}}}"
    model, faults = model_with(training=f"{{learning_rate: {{schedule: cosine}}, search: {search}}}")
    assert faults == []
    assert model is not None
    assert model.training.search is not None
    assert model.training.search.space["learning_rate"].choices == [0.001, 0.01]
    linear, _ = model_with(estimator=f"{{{SKLEARN[1:-1]}, parameters: {{C: 1e-4}}}}")
    assert linear is not None
    assert linear.training.estimator.parameters == {"C": 0.0001}


def test_who_answers_and_what_it_is_for_are_asked_and_are_no_faults() -> None:
    questions = ModelDeclaration.model_validate(load(SHORT)).questions()
    assert [field for field, _ in questions] == ["description", "owner"]


def test_a_model_of_schema_1_is_refused_line_by_line_with_what_to_write() -> None:
    old = load((REPOSITORY / "tests/installations/before_0_2/model_schema_1.yaml").read_text())
    assert model_schema_1_faults(old)[:2] == [
        "schema: 1 is no longer read; write `schema: 2`, and what is said of the other lines",
        'target: write `target: "arr_delay >= 15"`, or the view\'s label of this meaning',
    ]
