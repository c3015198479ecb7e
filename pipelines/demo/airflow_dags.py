"""The DAGs of a dataset and its models: which there are, when Airflow has parsed them, and which are unpaused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

from pipelines.adapters.airflow_rest import AirflowApi
from pipelines.cli.progress import Progress
from pipelines.ports import Ports
from pipelines.spec.model import ModelSpec

OF_A_DATASET = ("ingest", "arrive", "validate")
IDLE_POLLS = 6
"""Polls without a run after which none follows."""
OF_A_MODEL = ("train", "evaluate", "deploy", "rollback", "monitor")


def models_of(dataset: str, ports: Ports) -> list[ModelSpec]:
    """The declared models of a dataset."""
    return [spec for name, spec in ports.catalog.models.items() if ports.catalog.dataset_of(name).dataset == dataset]


def stage_dag_ids(dataset: str, models: Collection[ModelSpec]) -> set[str]:
    """The DAGs of a dataset and of its models."""
    ids = {f"{dataset}__{stage}" for stage in OF_A_DATASET}
    ids |= {f"{model.model}__{stage}" for model in models for stage in OF_A_MODEL}
    return ids | {f"{model.model}__drill" for model in models if model.deployment.rollback.drill}


def wait_for_dags(expected: Collection[str], airflow: AirflowApi, progress: Progress) -> None:
    """Wait until Airflow has parsed these DAGs; errors of its files are printed."""

    def parsed() -> tuple[bool, str]:
        dag_ids = {dag["dag_id"] for dag in airflow.dags()}
        return set(expected) <= dag_ids, f"{len(dag_ids.intersection(expected))} of {len(expected)} DAGs are parsed"

    progress.wait(parsed, timeout=180, what="parsing the DAGs")
    for error in airflow.import_errors():
        progress.print_note(f"import error in {error['filename']}: {error['stack_trace'][-300:]}")


def unpause(subjects: Collection[str], is_selected: Callable[[str], bool], airflow: AirflowApi) -> None:
    """Unpause the DAGs of these datasets and models whose stage is selected."""
    for dag in airflow.dags():
        subject, _, stage = dag["dag_id"].rpartition("__")
        if dag["is_paused"] and subject in subjects and is_selected(stage):
            airflow.unpause(dag["dag_id"])


def wait_until_idle(subjects: Collection[str], airflow: AirflowApi, progress: Progress) -> None:
    """Wait until no run of these datasets and models is queued or running, and none follows; arrivals aside."""
    idle_polls = 0

    def idle() -> tuple[bool, str]:
        nonlocal idle_polls
        busy = Counter(
            run["dag_id"]
            for dag in airflow.dags()
            if dag["dag_id"].rpartition("__")[0] in subjects and not dag["dag_id"].endswith("__arrive")
            for state in ("running", "queued")
            for run in airflow.runs(dag["dag_id"], state=state)
        )
        idle_polls = 0 if busy else idle_polls + 1
        return idle_polls >= IDLE_POLLS, ", ".join(
            f"{count} x {dag}" for dag, count in busy.items()
        ) or "all runs ended"

    progress.wait(idle, timeout=600, what="the last runs to end")
