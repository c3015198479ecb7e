"""Builds one DAG per declaration and stage, with the same tags, owner and retries; a running task builds only its own.

Airflow parses only files that contain "airflow" and "dag"; importing this module puts both words into a DAG file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from airflow.sdk import DAG, get_parsing_context

from practices._operators.defaults import DEFAULT_ARGS

Spec = TypeVar("Spec")


def stage_dag(dag_id: str, owner: str, **declared: Any) -> DAG:
    """The DAG ``<subject>__<stage>``, used as ``with stage_dag(...):``.

    ``declared`` are further arguments of ``DAG``: schedule, form, texts, ``max_active_runs``.
    """
    subject, _, stage = dag_id.rpartition("__")
    default_args = {**DEFAULT_ARGS, "owner": owner}
    return DAG(dag_id, tags=[subject, stage, owner], default_args=default_args, catchup=False, **declared)


def specs_to_build(specs: Mapping[str, Spec], stage: str) -> list[Spec]:
    """The declarations whose DAG of this stage must be built now."""
    return [spec for name, spec in specs.items() if should_build(f"{name}__{stage}")]


def should_build(dag_id: str) -> bool:
    """True while the DAG folder is parsed; in a running task only for its own DAG."""
    return get_parsing_context().dag_id in (None, dag_id)
