"""Runs of a partition show it first in their id: ``asset_triggered__2013-01-05__2026-…``.

Airflow's list of runs shows the id, and hides the column with the partition and what a form was filled with. A run that
an asset starts has no partition in its id otherwise, and one of a backfill has it where the list cuts the id off. A run
by hand bears what its form names: the partition, or ``version-3``. The id is changed before the
run is stored, in the processes that create runs (scheduler and API server); ids that a person or a DAG chose stay.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

from pipelines.spec.partitions import kind_of_key

RUNS_MODULE = "airflow.models.dagrun"
GENERATED_ID = re.compile(r"(?P<type>[a-z]+(?:_[a-z]+)*)__(?P<moment>\d{4}-\d\d-\d\dT.+)")
"""An id that Airflow generated: the type of the run, and when it is due or was created."""
NOUNS = ("partition", "hour", "day", "week", "month")
"""Fields of forms that name a partition."""
MAX_DIGITS = 10
log = logging.getLogger(__name__)


def with_partition(run_id: str, partition_key: str | None) -> str:
    """The id with the partition after the type of the run; an id that Airflow did not generate stays as it is."""
    generated = GENERATED_ID.fullmatch(run_id)
    if not partition_key or generated is None:
        return run_id
    moment = generated["moment"].replace(f"__{partition_key}__", "__")  # a partitioned schedule's own place for it
    return f"{generated['type']}__{partition_key}__{moment}"


def named_in_form(conf: Any) -> str | None:
    """The partition, or else the version, that a run by hand is about; None if its form names neither."""
    fields = conf if isinstance(conf, Mapping) else {}
    partitions = (str(fields[noun]) for noun in NOUNS if fields.get(noun))
    if key := next((text for text in partitions if kind_of_key(text) is not None), None):
        return key
    version = str(fields.get("version") or "")
    return f"version-{version}" if version.isascii() and version.isdigit() and len(version) < MAX_DIGITS else None


def name_run(mapper: object, connection: object, run: Any) -> None:  # noqa: ARG001 - the signature of SQLAlchemy's event
    """Called before a run is stored."""
    try:
        run.run_id = with_partition(run.run_id, run.partition_key or named_in_form(run.conf))
    except Exception:
        log.warning("run %s keeps its id", getattr(run, "run_id", None), exc_info=True)


def register() -> None:
    """Name the runs that this process creates; once, and only if it can create any."""
    from sqlalchemy import event

    run = getattr(sys.modules.get(RUNS_MODULE), "DagRun", None)  # None: not imported, or not yet wholly
    if run is not None and not event.contains(run, "before_insert", name_run):
        event.listen(run, "before_insert", name_run)


@hookimpl
def on_starting(component: object) -> None:
    """Called when an Airflow process starts; the scheduler (a ``Job``) may have loaded plugins before its models."""
    if type(component).__name__ == "Job":
        register()


class PartitionInRunId(AirflowPlugin):
    """Registers ``on_starting``; the API server has its models when it loads plugins."""

    name = "partition_in_run_id"
    listeners = [sys.modules[__name__]]


if RUNS_MODULE in sys.modules:
    register()
