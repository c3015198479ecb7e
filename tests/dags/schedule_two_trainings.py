"""Two trainings want one GPU: lets Airflow's scheduler decide on a fresh database, and prints what it did as JSON.

The environment says where the database lies; it must be empty.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "plugins")]

from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db  # noqa: E402
from airflow.executors.local_executor import LocalExecutor  # noqa: E402
from airflow.jobs.job import Job  # noqa: E402
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner  # noqa: E402
from airflow.models.dagbag import DBDagBag  # noqa: E402
from airflow.models.dagbundle import DagBundleModel  # noqa: E402
from airflow.models.pool import Pool  # noqa: E402
from airflow.models.taskinstance import TaskInstance  # noqa: E402
from airflow.sdk import DAG  # noqa: E402
from airflow.utils.db import initdb  # noqa: E402
from airflow.utils.session import create_session  # noqa: E402
from airflow.utils.state import DagRunState  # noqa: E402
from airflow.utils.state import TaskInstanceState as State  # noqa: E402
from airflow.utils.types import DagRunTriggeredByType, DagRunType  # noqa: E402
from sqlalchemy import select  # noqa: E402

import gpu_pool  # noqa: E402
from pipelines.spec.catalog import Catalog  # noqa: E402
from pipelines.spec.model import ModelSpec  # noqa: E402
from practices._operators.defaults import gpu_slots  # noqa: E402
from practices.reproducible_training import ReproducibleTraining  # noqa: E402
from tests.declared import shipped_model  # noqa: E402

NOW = datetime(2026, 11, 2, 7, tzinfo=UTC)
declared = shipped_model()
spec = ModelSpec.model_validate({**declared.model_dump(by_alias=True), "runner": {"train": {"gpus": 1}}})
told: dict[str, Any] = {}

initdb()
with DAG("flight_delay__train", schedule=None, max_active_runs=2, is_paused_upon_creation=False) as dag:
    ReproducibleTraining(task_id="train_model", model=spec.model, snapshot={}, **gpu_slots(spec))
bag = DagBag(dag_folder="/dev/null")
bag.bag_dag(dag)
with create_session() as session:
    session.add(DagBundleModel(name="trainings"))
    session.flush()
    sync_bag_to_db(bag, "trainings", None, session=session)
with create_session() as session:
    stored = DBDagBag().get_latest_version_of_dag(dag.dag_id, session=session)
    assert stored
    for number in (1, 2):
        run = stored.create_dagrun(
            run_id=f"manual__{number}",
            run_after=NOW,
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.TEST,
            state=DagRunState.RUNNING,
            start_date=NOW,
            session=session,
        )
        run.get_task_instances(session=session)[0].state = State.SCHEDULED
scheduler = SchedulerJobRunner(Job(), executors=[LocalExecutor(parallelism=4)])
scheduler.job.job_type = "SchedulerJob"
with create_session() as session:
    session.add(scheduler.job)


def decided(first: State | None = None) -> list[str | None]:
    """States of both trainings after one decision of the scheduler, before which the first is put in a state."""
    with create_session() as session:
        query = select(TaskInstance).order_by(TaskInstance.run_id)
        if first is not None:
            session.scalars(query).first().state = first
            session.flush()
        scheduler._executable_task_instances_to_queued(max_tis=8, session=session)
    with create_session() as session:
        return [instance.state for instance in session.scalars(query)]


def pool() -> list[Any]:
    found = Pool.get_pool("gpu")
    return [found.slots, found.include_deferred] if found else []


told["without a pool"] = decided()
sys.argv[1:] = ["scheduler"]
Job()
told["pool made"] = pool()
told["one starts"] = decided()
told["it waits for its pod"] = decided(State.DEFERRED)
told["it is over"] = decided(State.SUCCESS)
Pool.create_or_update_pool("gpu", 1, "by hand", False)
gpu_pool.ensure_pool(7, Catalog())
told["pool mended"] = pool()
print(json.dumps(told))
