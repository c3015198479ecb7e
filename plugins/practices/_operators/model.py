"""The parent of practices about one model: its docstring is the task's documentation in Airflow."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import getdoc
from typing import Any

from practices._operators.step import StepPractice


class ModelPractice(StepPractice):
    """An operator about one model; the DAG may give its task another documentation (``doc_md``)."""

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
