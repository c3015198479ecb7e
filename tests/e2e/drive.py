"""Run DAGs of the folder for real, one after the other, in this process, and print what became of them as JSON.

Reads ``[[dag_id, conf], ...]`` from standard input; the environment says which Airflow. The answer is the last line.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag


def parsed() -> DagBag:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag()
    assert not bag.import_errors, bag.import_errors
    return bag


def run(bag: DagBag, dag_id: str, conf: dict[str, Any]) -> dict[str, Any]:
    ended = bag.dags[dag_id].test(run_conf=conf)
    tasks = {task.task_id: str(task.state) for task in ended.get_task_instances()}
    return {"dag_id": dag_id, "state": str(ended.state), "tasks": tasks}


def heard() -> list[dict[str, Any]]:
    """Every asset event so far, oldest first."""
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        events = session.scalars(select(AssetEvent).order_by(AssetEvent.id)).all()
        return [{"asset": event.name, "extra": event.extra, "key": event.partition_key} for event in events]


def started(dag_id: str) -> list[dict[str, Any]]:
    """Every run of one DAG, oldest first."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        runs = session.scalars(select(DagRun).where(DagRun.dag_id == dag_id).order_by(DagRun.id)).all()
        return [{"run_id": each.run_id, "conf": each.conf, "state": str(each.state)} for each in runs]


if __name__ == "__main__":
    orders = json.loads(sys.stdin.read())
    bag = parsed()
    runs = [run(bag, dag_id, conf) for dag_id, conf in orders]
    trainings = started("flight_delay__train")
    print(json.dumps({"runs": runs, "events": heard(), "trainings": trainings}))
