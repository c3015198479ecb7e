"""Runs of a partition or of a model's version show it first in their id: ``asset_triggered__2013-01-05__2026-…``.

Airflow's list of runs shows the id, and hides the column with the partition and what a form was filled with. A run that
an asset starts has no partition in its id otherwise, and one of a backfill has it where the list cuts the id off. A run
by hand bears what its form names, and one without a partition that assets start what their events name: a partition, or
``version-3``. The id is changed before the run is stored, in the processes that create runs (scheduler and API server);
ids that a person or a DAG chose stay.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

from pipelines.spec.partitions import kind_of_key

if TYPE_CHECKING:
    from sqlalchemy import Connection

RUNS_MODULE = "airflow.models.dagrun"
GENERATED_ID = re.compile(r"(?P<type>[a-z]+(?:_[a-z]+)*)__(?P<moment>\d{4}-\d\d-\d\dT.+)")
"""An id that Airflow generated: the type of the run, and when it is due or was created."""
NOUNS = ("partition", "hour", "day", "week", "month")
"""Fields of forms that name a partition."""
MAX_DIGITS = 10
VERSION = "version-"
BY_ASSETS = "asset_triggered"
"""Type of a run that events of assets start."""
log = logging.getLogger(__name__)


def with_partition(run_id: str, partition_key: str | None) -> str:
    """The id with the partition after the type of the run; an id that Airflow did not generate stays as it is."""
    generated = GENERATED_ID.fullmatch(run_id)
    if not partition_key or generated is None:
        return run_id
    moment = generated["moment"].replace(f"__{partition_key}__", "__")  # a partitioned schedule's own place for it
    return f"{generated['type']}__{partition_key}__{moment}"


def named_in_fields(fields: Any) -> str | None:
    """The partition, or else the version, that the fields of a form or of an event name; None if they name neither."""
    fields = fields if isinstance(fields, Mapping) else {}
    partitions = (str(fields[noun]) for noun in NOUNS if fields.get(noun))
    if key := next((text for text in partitions if kind_of_key(text) is not None), None):
        return key
    version = str(fields.get("version") or "")
    return f"{VERSION}{version}" if version.isascii() and version.isdigit() and len(version) < MAX_DIGITS else None


def named_by_events(connection: Connection, run: Any) -> str | None:
    """What the events of a run that assets start name: of several versions the greatest, which is what is deployed.

    The scheduler hands the events to the run only after it is stored, so they are read as the scheduler reads them:
    all of the run's assets since its DAG's former such run.
    """
    from airflow.models.asset import AssetEvent, DagScheduleAssetReference
    from sqlalchemy import func, select

    runs, when = sys.modules[RUNS_MODULE].DagRun, AssetEvent.timestamp
    former = (runs.dag_id == run.dag_id, runs.run_type == run.run_type, runs.run_after < run.run_after)
    since = connection.scalar(select(func.max(runs.run_after)).where(*former))
    consumed = select(AssetEvent.extra).join(
        DagScheduleAssetReference, DagScheduleAssetReference.asset_id == AssetEvent.asset_id
    )
    consumed = consumed.where(DagScheduleAssetReference.dag_id == run.dag_id, when <= run.run_after)
    consumed = consumed if since is None else consumed.where(when > since)
    names = [
        name for extra in connection.scalars(consumed.order_by(when, AssetEvent.id)) if (name := named_in_fields(extra))
    ]
    return max(names, key=lambda name: int(name.removeprefix(VERSION)) if name.startswith(VERSION) else 0, default=None)


def name_run(mapper: object, connection: Connection, run: Any) -> None:  # noqa: ARG001 - the signature of SQLAlchemy's event
    """Called before a run is stored."""
    try:
        name = run.partition_key or named_in_fields(run.conf)
        if name is None and run.run_type == BY_ASSETS:
            name = named_by_events(connection, run)
        run.run_id = with_partition(run.run_id, name)
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
