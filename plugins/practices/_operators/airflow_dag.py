"""Each stage of each declaration is a DAG, tagged, owned and retried like the others; a running task builds its own.

Airflow opens only files in which it reads the words "airflow" and "dag": the name of this module is in each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from airflow.sdk import DAG, get_parsing_context

from practices._operators.defaults import DEFAULT_ARGS

Spec = TypeVar("Spec")


def stage_dag(dag_id: str, owner: str, **declared: Any) -> DAG:
    """The DAG ``<subject>__<stage>``, in which a DAG file sets its tasks: ``with stage_dag(...):``.

    ``declared`` is what the file says of this stage: schedule, form, texts, how many runs at once.
    """
    subject, _, stage = dag_id.rpartition("__")
    default_args = {**DEFAULT_ARGS, "owner": owner}
    return DAG(dag_id, tags=[subject, stage, owner], default_args=default_args, catchup=False, **declared)


def specs_to_build(specs: Mapping[str, Spec], stage: str) -> list[Spec]:
    """The declarations, by name, whose DAG of this stage is to be built now."""
    return [spec for name, spec in specs.items() if should_build(f"{name}__{stage}")]


def should_build(dag_id: str) -> bool:
    """Always when the folder is parsed; in a running task only its own DAG."""
    return get_parsing_context().dag_id in (None, dag_id)
