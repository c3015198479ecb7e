"""Parses the DAG folder as Airflow does, in a process of its own, and prints what came of it as JSON.

Usage: ``python parse_folder.py [dag_id]``; with a DAG id as a running task of that DAG parses.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "plugins")]
if len(sys.argv) > 1:
    os.environ["_AIRFLOW_PARSING_CONTEXT_DAG_ID"] = sys.argv[1]

from airflow.sdk import DAG  # noqa: E402 - the environment is read when it is imported
from airflow.sdk.definitions._internal.contextmanager import DagContext  # noqa: E402
from airflow.triggers.base import BaseTrigger  # noqa: E402, F401 - Airflow's own weight is not the DAGs'

bare = set(sys.modules)
errors: dict[str, str] = {}
seconds: dict[str, float] = {}
for path in sorted((REPOSITORY / "dags").glob("*.py")):
    begun = time.perf_counter()
    spec = importlib.util.spec_from_file_location(f"parsed_{path.stem}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    DagContext.current_autoregister_module_name = module.__name__
    sys.modules[module.__name__] = module
    try:
        spec.loader.exec_module(module)
    except Exception:
        errors[path.name] = traceback.format_exc()
    seconds[path.name] = time.perf_counter() - begun
dags = {dag.dag_id: dag for dag, _ in DagContext.autoregistered_dags}
loaded = sorted({name.partition(".")[0] for name in set(sys.modules) - bare})


def told(dag: DAG) -> dict[str, Any]:
    return {
        "tags": sorted(dag.tags),
        "doc": dag.doc_md or "",
        "description": dag.description or "",
        "owner": dag.owner,
        "max_active_runs": dag.max_active_runs,
        "tasks": {
            task.task_id: {
                "upstream": sorted(task.upstream_task_ids),
                "outlets": sorted(outlet.name for outlet in task.outlets),
                "retries": task.retries,
                "policy": task.has_retry_policy,
                "pool": task.pool,
                "decides_the_run": not task.is_teardown or task.on_failure_fail_dagrun,
                "pool_slots": task.pool_slots,
            }
            for task in dag.tasks
        },
        "params": {name: dag.params.get_param(name).dump() for name in dag.params},
    }


found = {name: told(dag) for name, dag in dags.items()}
print(json.dumps({"dags": found, "errors": errors, "loaded": loaded, "seconds": seconds}))
