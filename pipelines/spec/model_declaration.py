"""What a person declares of a model; with its view it says the problem, the target, and what it is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.estimator_faults import estimator_faults
from pipelines.spec.fault_text import FieldFaults, fault_texts
from pipelines.spec.features import FeatureView
from pipelines.spec.model import (
    Bound,
    ComparisonSpec,
    Drift,
    Estimator,
    Evaluation,
    EvaluationFields,
    ModelFields,
    ModelSpec,
    Monitoring,
    MonitoringFields,
    Performance,
    Problem,
)
from pipelines.spec.row_expression import KINDS, ColumnName, Kind, columns_of, kind_of, parsed
from pipelines.spec.table_model import MAY_STAY_UNMEASURED, for_table, table_faults
from pipelines.spec.view import early_faults, value_faults

DEFAULT_FLOORS: dict[Problem, dict[str, dict[str, float]]] = {
    "classification": {"roc_auc": {"min": 0.5}},
    "regression": {"r2": {"min": 0.0}},
}
"""What a model that learnt nothing has."""
DEFAULT_WINDOW_DAYS = 7
DEFAULT_METRIC: dict[Problem, str] = {"classification": "roc_auc", "regression": "rmse"}
DEFAULT_DROP: dict[Problem, dict[str, Any]] = {
    "classification": {"metric": "roc_auc", "max_drop": 0.05},
    "regression": {"metric": "r2", "max_drop": 0.1},
}


class DeclaredEvaluation(EvaluationFields):
    minimum_metrics: dict[str, Bound] | None = Field(default=None, min_length=1)
    """None: better than a model that learnt nothing."""
    comparison: ComparisonSpec | None = None
    """None: by ``roc_auc``, or ``rmse`` of a regression."""


class DeclaredMonitoring(MonitoringFields):
    performance: Performance | None = None
    """None: ``roc_auc`` may drop by 0.05, or ``r2`` of a regression by 0.1."""


class ModelDeclaration(ModelFields):
    """``include/models/<model>.yaml``."""

    schema_: Literal[2] = Field(alias="schema")
    problem: Problem | None = None
    """None: a condition is a classification, a number a regression."""
    target: str
    """The view's label, or a condition or column of the rows' own source. Where it is null a row has no label."""
    estimator: Estimator | None = None
    """Short for ``training.estimator``."""
    evaluation: DeclaredEvaluation = DeclaredEvaluation()
    monitoring: DeclaredMonitoring = DeclaredMonitoring()

    @field_validator("target")
    @classmethod
    def check_can_be_read(cls, target: str) -> str:
        parsed(target)
        return target

    @model_validator(mode="before")
    @classmethod
    def read_estimator(cls, declared: Any) -> Any:
        """Into ``training``, whose other fields it must honour."""
        if not isinstance(declared, dict) or declared.get("estimator") is None:
            return declared
        training = declared.get("training", {})
        if not isinstance(training, dict):
            return declared
        if "estimator" in training:
            raise FieldFaults([("training.estimator", "is declared twice; remove it, or the estimator above")])
        return {**declared, "training": {**training, "estimator": declared["estimator"]}}

    @model_validator(mode="after")
    def check_the_estimator_honours_all(self) -> Self:
        """Of a file only: a version records all fields of its training, defaults included, and is read again."""
        if faults := estimator_faults(self.training):
            raise FieldFaults([(f"training.{place}", text) for place, text in faults])
        return self

    def questions(self) -> list[tuple[str, str]]:
        """What is not declared and people will ask for: the field, and what to write."""
        questions = [] if self.description else [("description", "say in a sentence what is predicted, and for whom")]
        if "owner" not in self.model_fields_set:
            questions.append(("owner", "name who answers for the model"))
        return questions


def resolved_model(
    declared: ModelDeclaration, view: FeatureView, dataset: DatasetSpec
) -> tuple[ModelSpec | None, list[str]]:
    """The model with its problem and all that was left out, or every fault as ``place: what to do``."""
    if view.panel is not None or view.label_follows:
        expression = declared.target
        kind, faults = _label_target(expression, view, dataset)
    else:
        expression = _target(declared.target, view)
        faults = _target_faults(expression, declared, view, dataset)
        own = dataset.sources[view.entity_source].stored_columns()
        kinds = {name: KINDS[column.type] for name, column in own.items()}
        kind = None if faults else kind_of(parsed(expression), kinds)
    if faults:
        return None, [f"target: {fault}" for fault in faults]
    problem: Problem = "classification" if kind == "boolean" else "regression"
    if declared.problem not in (None, problem):
        way_on = f"write a condition, as in {expression + ' = 1'!r}" if kind == "number" else "remove problem"
        return None, [f"problem: the target is a {kind}, which makes a {problem}; {way_on}"]
    training = declared.training
    evaluation = _given(declared.evaluation, *Evaluation.model_fields)
    if view.is_table:
        if faults := table_faults(declared):
            return None, faults
        training, compared = for_table(declared, DEFAULT_METRIC[problem])
        evaluation = {**evaluation, **compared}
    monitoring = {"performance": DEFAULT_DROP[problem], **_given(declared.monitoring, *Monitoring.model_fields)}
    if view.is_table:
        monitoring.setdefault("max_unmeasured_days", MAY_STAY_UNMEASURED)
    if view.days_apart > 1:
        monitoring = _by_period(monitoring, view.days_apart)
        if faults := _short_windows(monitoring, view):
            return None, faults
    try:
        model = ModelSpec.model_validate(
            _given(declared, *ModelFields.model_fields)
            | {
                "training": training,
                "problem": problem,
                "target": {"expression": expression},
                "evaluation": {
                    "minimum_metrics": DEFAULT_FLOORS[problem],
                    "comparison": {"metric": DEFAULT_METRIC[problem]},
                    **evaluation,
                },
                "monitoring": monitoring,
            }
        )
    except ValidationError as error:
        return None, fault_texts(error)
    return model, []


def _by_period(monitoring: Mapping[str, Any], days_apart: int) -> dict[str, Any]:
    """What is declared in days has as many periods by default as it has days of a view by day."""
    fields = dict(monitoring)
    for name, kind in (("performance", Performance), ("drift", Drift)):
        block = fields.get(name, {})
        declared = block if isinstance(block, dict) else _given(block, *kind.model_fields)
        fields[name] = {"window_days": DEFAULT_WINDOW_DAYS * days_apart, **declared}
    fields.setdefault("max_unmeasured_days", Monitoring.model_fields["max_unmeasured_days"].default * days_apart)
    return fields


def _short_windows(monitoring: Mapping[str, Any], view: FeatureView) -> list[str]:
    least = 2 * view.days_apart
    days = monitoring["performance"]["window_days"]
    if days >= least:
        return []
    noun = view.panel.calendar.noun if view.panel else "day"
    text = f"{days} days hold one {noun}, and one has no spread to compare with; declare {least} at least"
    return [f"monitoring.performance.window_days: {text}"]


def _given(block: BaseModel, *names: str) -> dict[str, Any]:
    """Those of the fields that are declared."""
    declared = {name: getattr(block, name) for name in names if name in block.model_fields_set}
    return {name: value for name, value in declared.items() if value is not None}


def _target(target: str, view: FeatureView) -> str:
    """The expression over the columns of a row that the target stands for."""
    node = parsed(target)
    is_label = isinstance(node, ColumnName) and view.label is not None and node.name == view.label.name
    return view.label.expression if is_label and view.label else target


def _label_target(expression: str, view: FeatureView, dataset: DatasetSpec) -> tuple[Kind | None, list[str]]:
    """The kind of a target over the label, where that is the one outcome that a row has."""
    label = view.label
    if label is None:
        return None, [f'{view.view} has no label; declare one, as in {{returns: "count(orders) >= 1", within: 30d}}']
    own, _ = label.window.kind(view.label_on, label.where, dataset)
    if others := [name for name in columns_of(parsed(expression)) if name != label.name]:
        return None, [f"{others[0]!r} is not the label {label.name}, the one outcome of a row of {view.view}"]
    try:
        kind = kind_of(parsed(expression), {label.name: own or "number"})
    except ValueError as error:
        return None, [f"{error}"]
    return kind, []


def _target_faults(expression: str, declared: ModelDeclaration, view: FeatureView, dataset: DatasetSpec) -> list[str]:
    faults = value_faults(expression, view.entity_source, dataset, subject="a target")
    if view.is_table:
        target = {f"{view.entity_source}.{column}" for column in columns_of(parsed(expression))}
        learnt = declared.training.features or [*view.features]
        return faults or [
            f"{name} reads {column}, too; leave it out of training.features, or make the target the view's label"
            for name in learnt
            if name in view.features
            for column in view.features[name].source_columns
            if column in target
        ]
    return faults or early_faults(expression, view.entity_source, view.lead, dataset)
