"""What a pod costs: the same training task in a process and in a pod, side by side, under a real Airflow."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from pipelines.cli import stack
from pipelines.cli.components import environment
from pipelines.messages.pod_run import RunManifest
from pipelines.settings import Settings
from tests.e2e.installation import Installation
from tests.kubernetes.lab import IMAGE, declare_small, own_address, template
from tests.steps import small_training

TARGET_SECONDS = 8.0
"""For everything but the run: schedule, start, collect and Airflow's own hops."""
RUNS = 5
DAG = "small_delay__probe"
PROBE = """
from airflow.sdk import DAG
from practices._operators.step_runner import run_step
from practices._operators.step import StepPractice
from pipelines.messages.training import TrainRequest, TrainResult
from pipelines.spec.runner import StageRunner

class Train(StepPractice):
    def __init__(self, *, runner, **arguments):
        super().__init__(**arguments)
        self.runner = runner

    def execute(self, context):
        asked = context["params"] | {"run_key": context["dag_run"].run_id + self.task_id}
        request = TrainRequest(model="small_delay", snapshot=asked["snapshot"], run_key=asked["run_key"])
        runner = StageRunner.model_validate(self.runner)
        return run_step("train_model", request, TrainResult, runner=runner).model_dump(mode="json", by_alias=True)

with DAG("small_delay__probe", schedule=None, params={"snapshot": ""}):
    Train(task_id="in_a_process", runner={"on": "process"}) >> Train(task_id="in_a_pod", runner=RUNNER)
"""


def main() -> int:
    """Exit status 0 if the target was met, or there is no cluster to measure on."""
    if not os.environ.get("KUBECONFIG"):
        print(json.dumps({"bench": "pods", "skipped": "no cluster: set KUBECONFIG"}))
        return 0
    from kubernetes import client, config

    config.load_kube_config()
    api = client.CoreV1Api()
    if own_address(api) is None:
        print(json.dumps({"bench": "pods", "skipped": "the cluster's node is another machine"}))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return _measure(api, Path(folder))


def _measure(api: Any, folder: Path) -> int:
    namespace, home = f"airworthy-bench-{os.getpid()}", folder / "home"
    runner = {"on": "kubernetes", "cpus": 1, "memory": "1500Mi"}
    (folder / "dags").mkdir()
    (folder / "dags" / "probe.py").write_text(PROBE.replace("RUNNER", repr(runner)))
    os.environ["AIRWORTHY_HOME"] = str(home)
    os.environ["AIRWORTHY_INCLUDE"] = str(folder / "include")
    os.environ["AIRWORTHY_POD_IMAGE"] = IMAGE
    os.environ["AIRWORTHY_POD_NAMESPACE"] = namespace
    declare_small(folder / "include", template(home))
    stack.environment = lambda found: environment(found) | {"AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags")}
    made = Installation(Settings.from_environment())
    api.create_namespace({"metadata": {"name": namespace}})
    made.up()
    try:
        digest = small_training.keep_snapshot(made.ports.store, small_training.rows())  # type: ignore[arg-type]
        made.unpause(DAG)
        found = [_once(made, digest) for _ in range(RUNS + 1)][1:]
    finally:
        made.down()
        api.delete_namespace(namespace)
    line = {name: round(median(one[name] for one in found), 2) for name in found[0]}
    met = line["but_the_run"] < TARGET_SECONDS
    print(json.dumps({"bench": "pods", "runs": RUNS, **line, "target": f"< {TARGET_SECONDS:g} s", "met": met}))
    return 0 if met else 1


def _once(made: Installation, digest: str) -> dict[str, float]:
    """Seconds of one run, by the clock of this machine.

    ``launch``: from the task's start to its ticket; ``start``: to the first line of the step (the cluster, the
    container, Python's imports); ``run``: the step; ``collect``: to the end of the task.
    """
    run_id = made.airflow.trigger(DAG, {"snapshot": digest})
    over = ("success", "failed")
    made.until(lambda: any(r["dag_run_id"] == run_id and r["state"] in over for r in made.airflow.runs(DAG)), "a run")
    tasks = {task["task_id"]: task for task in made.airflow.tasks(DAG, run_id)}
    assert {task["state"] for task in tasks.values()} == {"success"}, tasks
    begin, end = (datetime.fromisoformat(tasks["in_a_pod"][name]).timestamp() for name in ("start_date", "end_date"))
    store = made.ports.store
    where = max(path for path in store.list(f"runs/{DAG}/") if path.endswith("/manifest.json"))
    manifest = RunManifest.model_validate_json(store.get(where))
    ticket = Path(store.uri(where)).with_name("ticket.json").stat().st_mtime
    started, finished = manifest.started.timestamp(), manifest.finished.timestamp()
    alone = tasks["in_a_process"]
    in_process = (
        datetime.fromisoformat(alone["end_date"]).timestamp() - datetime.fromisoformat(alone["start_date"]).timestamp()
    )
    return {
        "in_a_process": in_process,
        "in_a_pod": end - begin,
        "added": end - begin - in_process,
        "launch": ticket - begin,
        "start": started - ticket,
        "run": finished - started,
        "collect": end - finished,
        "but_the_run": end - begin - (finished - started),
    }


if __name__ == "__main__":
    sys.exit(main())
