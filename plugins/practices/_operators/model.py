"""A practice about a model knows its model, and its task page shows what it guarantees."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import getdoc
from typing import Any

from practices._operators.step import StepPractice


class ModelPractice(StepPractice):
    """An operator about one model; its docstring is the task's documentation unless the DAG gives another."""

    template_fields: Sequence[str] = ("model",)

    def __init__(self, *, model: str, **arguments: Any) -> None:
        super().__init__(**{"doc_md": getdoc(type(self)), **arguments})
        self.model = model


class CandidatePractice(ModelPractice):
    """An operator about a measured candidate; ``evaluation`` is the ``EvaluateResult`` of the task before."""

    template_fields: Sequence[str] = ("model", "evaluation")

    def __init__(self, *, model: str, evaluation: Any, **arguments: Any) -> None:
        super().__init__(model=model, **arguments)
        self.evaluation = evaluation
