"""Parses the DAG folder as Airflow does, and prints every name in it that a database keeps, as JSON.

Usage: ``python -m tests.installations.dag_names`` in the root of the checkout; the environment says which declarations.
``resumes``: the methods by which a task that was deferred goes on, with what they take beside context and event.
"""

from __future__ import annotations

import inspect
import json
from typing import Any

from airflow.sdk import Asset

from tests.dags.parse_folder import dags, errors

EVENT = ["self", "context", "event"]


def resumes(operator: type) -> dict[str, list[str]]:
    """Method to the names of its other parameters; only what this project defines."""
    found = {}
    for name, method in inspect.getmembers(operator, inspect.isfunction):
        parameters = list(inspect.signature(method).parameters)
        if parameters[:3] == EVENT and not method.__module__.startswith("airflow."):
            found[name] = parameters[3:]
    return found


def named(task: Any) -> dict[str, Any]:
    return {
        "pool": task.pool,
        "outlets": sorted(outlet.name for outlet in task.outlets),
        "resumes": resumes(getattr(task, "operator_class", type(task))),
    }


def heard(condition: Any) -> list[Asset]:
    """Every asset that starts a DAG."""
    if isinstance(condition, Asset):
        return [condition]
    return [asset for part in getattr(condition, "objects", []) for asset in heard(part)]


started_by = {name: heard(getattr(dag.timetable, "asset_condition", None)) for name, dag in dags.items()}
assets = {asset.name: asset for several in started_by.values() for asset in several}
found = {
    name: {
        "tasks": {task.task_id: named(task) for task in dag.tasks},
        "params": sorted(dag.params),
        "starts_with": sorted(asset.name for asset in started_by[name]),
    }
    for name, dag in dags.items()
}
assets |= {outlet.name: outlet for dag in dags.values() for task in dag.tasks for outlet in task.outlets}
watchers = {name: sorted(watcher.name for watcher in asset.watchers) for name, asset in assets.items()}
uris = {name: asset.uri for name, asset in assets.items()}
print(
    json.dumps(
        {
            "dags": found,
            "assets": uris,
            "watchers": {name: told for name, told in watchers.items() if told},
            "errors": errors,
        },
        sort_keys=True,
    )
)
