"""What Airflow costs: parsing the folder for 2 and for 100 models, and one task that does nothing, end to end."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import textwrap
import time
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from pipelines.adapters.airflow_rest import AirflowApi
from pipelines.cli import stack
from pipelines.cli.components import components, environment, passwords
from pipelines.settings import REPOSITORY, Settings
from tests.dags.conftest import parse_folder

TARGET_PARSE_SECONDS = 5.0
TARGET_TASK_SECONDS = 0.35
CHAIN = 10
"""Tasks of one run, one after the other."""
RUNS = 5
TRIVIAL = f"""
from airflow.sdk import dag, task

@dag(schedule=None)
def trivial():
    @task
    def nothing():
        return None

    previous = None
    for number in range({CHAIN}):
        step = nothing.override(task_id=f"nothing_{{number}}")()
        previous is not None and previous >> step
        previous = step

trivial()
"""


def declare(include: Path, *, models: int) -> Path:
    """The repository's declarations with as many models, and a dataset of its own for every third of them."""
    shutil.copytree(REPOSITORY / "include", include)
    for folder, original, copies in (("models", "flight_delay", models - 2), ("datasets", "flights", models // 3)):
        text = (include / folder / f"{original}.yaml").read_text()
        field = folder.removesuffix("s")
        for number in range(copies):
            name = f"{original}_{number:03d}"
            declared = text.replace(f"\n{field}: {original}\n", f"\n{field}: {name}\n", 1)
            (include / folder / f"{name}.yaml").write_text(declared)
    return include


def parse(home: Path, *, models: int) -> dict[str, Any]:
    """Seconds for all DAG files together, and for the file of one task that runs."""
    include = declare(home / "include", models=models)
    found = parse_folder(home, include=include)
    assert found["errors"] == {}, found["errors"]
    own = parse_folder(home, include=include, dag_id="flight_delay__train")
    seconds = sum(found["seconds"].values())
    return {
        "bench": "dag_parse",
        "models": models,
        "dags": len(found["dags"]),
        "seconds": round(seconds, 3),
        "ms_per_dag": round(1000 * seconds / len(found["dags"]), 2),
        "slowest_file": max(found["seconds"], key=found["seconds"].get),
        "in_a_running_task_seconds": round(own["seconds"]["train.py"], 3),
        "target": f"< {TARGET_PARSE_SECONDS:g} s",
        "met": seconds < TARGET_PARSE_SECONDS,
    }


def trivial_task(home: Path) -> dict[str, Any]:
    """Seconds from the start of a run to its end, divided by its tasks, in a stack with the shipped settings."""
    dags = home / "dags"
    dags.mkdir()
    (dags / "trivial.py").write_text(textwrap.dedent(TRIVIAL))
    settings = Settings.from_environment({"AIRWORTHY_HOME": str(home / "var")})
    stack.environment = lambda found: environment(found) | {"AIRFLOW__CORE__DAGS_FOLDER": str(dags)}
    wanted = [part for part in components(settings) if part.name in ("api-server", "scheduler", "dag-processor")]
    try:
        stack.start(settings, Console(stderr=True, quiet=True), wanted)
        address = environment(settings)["AIRFLOW__API__BASE_URL"]
        api = AirflowApi(address, "admin", passwords(settings)["admin"])
        seconds = [_run(api) for _ in range(RUNS + 1)][1:]
    finally:
        stack.stop(settings)
    each = median(seconds) / CHAIN
    return {
        "bench": "trivial_task",
        "tasks": CHAIN,
        "runs": RUNS,
        "seconds_per_task": round(each, 3),
        "best": round(min(seconds) / CHAIN, 3),
        "worst": round(max(seconds) / CHAIN, 3),
        "target": f"< {TARGET_TASK_SECONDS:g} s",
        "met": each < TARGET_TASK_SECONDS,
    }


def _run(api: AirflowApi) -> float:
    """Run the chain once, waiting first until the DAG is there."""
    deadline = time.monotonic() + 120
    while not any(dag["dag_id"] == "trivial" for dag in api.dags()):
        if time.monotonic() > deadline:
            raise TimeoutError("the DAG was not parsed within 120 s")
        time.sleep(0.5)
    api.unpause("trivial")
    run_id = api.trigger("trivial", {})
    while (run := next(run for run in api.runs("trivial") if run["dag_run_id"] == run_id))["end_date"] is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the run is {run['state']} after 120 s")
        time.sleep(0.3)
    assert run["state"] == "success", run
    return (datetime.fromisoformat(run["end_date"]) - datetime.fromisoformat(run["start_date"])).total_seconds()


def main() -> int:
    met = []
    for models in (2, 100):
        with tempfile.TemporaryDirectory() as home:
            result = parse(Path(home), models=models)
        met.append(result["met"])
        print(json.dumps(result), flush=True)
    with tempfile.TemporaryDirectory() as home:
        result = trivial_task(Path(home))
    print(json.dumps(result), flush=True)
    return 0 if all([*met, result["met"]]) else 1


if __name__ == "__main__":
    sys.exit(main())
