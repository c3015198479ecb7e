"""Builds one DAG per declaration and stage, with the same tags, owner and retries; a running task builds only its own.

Airflow parses only files that contain "airflow" and "dag"; importing this module puts both words into a DAG file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from airflow.sdk import DAG, get_parsing_context

from practices._operators.defaults import DEFAULT_ARGS

Spec = TypeVar("Spec")
STAGE_ORDER = (
    ("ingest", "arrive", "validate", "catch_up"),
    ("train", "evaluate", "deploy", "monitor", "rollback", "drill"),
)
"""The stages of a dataset and of a model in the order in which they follow each other."""


def stage_dag(dag_id: str, owner: str, **declared: Any) -> DAG:
    """The DAG ``<subject>__<stage>``, used as ``with stage_dag(...):``.

    ``declared`` are further arguments of ``DAG``: schedule, form, texts, ``max_active_runs``.
    """
    subject, _, stage = dag_id.rpartition("__")
    step = numbered_stage(stage)
    return DAG(
        dag_id,
        dag_display_name=f"{subject} · {step}",
        tags=[step, subject, owner],
        default_args={**DEFAULT_ARGS, "owner": owner},
        catchup=False,
        **declared,
    )


def numbered_stage(stage: str) -> str:
    """``3 deploy``: Airflow sorts DAGs and tags by name, and so they stand in their order; else the words."""
    numbers = {name: number for stages in STAGE_ORDER for number, name in enumerate(stages, start=1)}
    words = stage.replace("_", " ")
    return f"{numbers[stage]} {words}" if stage in numbers else words


def specs_to_build(specs: Mapping[str, Spec], stage: str) -> list[Spec]:
    """The declarations whose DAG of this stage must be built now."""
    return [spec for name, spec in specs.items() if should_build(f"{name}__{stage}")]


def should_build(dag_id: str) -> bool:
    """True while the DAG folder is parsed; in a running task only for its own DAG."""
    return get_parsing_context().dag_id in (None, dag_id)
