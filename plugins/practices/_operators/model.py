"""Base classes of operators on one model; their docstring is the task's documentation in Airflow."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import getdoc
from typing import Any

from airflow.sdk import Context

from pipelines.messages.evaluation import EvaluateResult
from pipelines.ports import Ports
from practices._operators.recorded_results import checked_evaluation
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

    def measured(self, ports: Ports, context: Context) -> EvaluateResult:
        """The result of the task that measured the candidate, as the ledger has it."""
        return checked_evaluation(self.evaluation, self.model, ports, context)


class ReturnedBy:
    """What the task ``task_id`` of the same run returned, without an edge from it in the graph.

    Airflow draws an edge to every task that reads an XCom: a value that all tasks of a line read would be a fan.
    """

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id

    def resolve(self, context: Context) -> Any:
        """Called by Airflow when it renders the template field that holds this object."""
        return context["ti"].xcom_pull(task_ids=self.task_id)

    def __str__(self) -> str:
        return f"what {self.task_id} returned"
