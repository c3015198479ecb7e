"""Base classes of operators on one model; their docstring is the task's documentation in Airflow."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import getdoc
from typing import Any

from practices._operators.step import StepPractice


class ModelPractice(StepPractice):
    """Base class of operators on one model; a DAG may replace the documentation (``doc_md``)."""

    template_fields: Sequence[str] = ("model",)

    def __init__(self, *, model: str, **arguments: Any) -> None:
        super().__init__(**{"doc_md": getdoc(type(self)), **arguments})
        self.model = model


class CandidatePractice(ModelPractice):
    """Base class of operators on a measured candidate; ``evaluation`` is the previous task's ``EvaluateResult``."""

    template_fields: Sequence[str] = ("model", "evaluation")

    def __init__(self, *, model: str, evaluation: Any, **arguments: Any) -> None:
        super().__init__(model=model, **arguments)
        self.evaluation = evaluation
