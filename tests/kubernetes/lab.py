"""A small installation whose steps run in real pods: a store on S3 (moto), MLflow, a declared model and its snapshot.

Pods run this machine's own Python: its folders are mounted into any image with the same C library, so the cluster's
node has to be this machine. ``AIRWORTHY_TEST_IMAGE`` names the image (the Dockerfile's base by default).
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import yaml

from pipelines.adapters.store.delta import DeltaStore
from pipelines.messages.training import TrainRequest, TrainResult
from pipelines.settings import REPOSITORY, Settings
from pipelines.spec.runner import StageRunner
from pipelines.steps.training.checkpoints import INDEX_FILE
from pipelines.wiring import open_ports, run_step
from tests.free_port import free_port
from tests.kubernetes.waiting import PATIENCE, until
from tests.steps import small_training

IMAGE = os.environ.get("AIRWORTHY_TEST_IMAGE", "python:3.11-slim-bookworm")
BUCKET = "airworthy"
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
DAG, TASK = "small_delay__train", "train_model"


def own_address(core_api: Any) -> str | None:
    """Where pods reach this machine: ``AIRWORTHY_TEST_ADDRESS``, or its address as a node; None if it is no node."""
    return os.environ.get("AIRWORTHY_TEST_ADDRESS") or node_address(core_api)


def node_address(core_api: Any) -> str | None:
    """This machine's address as a node of the cluster; None if the nodes are other machines or containers."""
    own = {
        entry.address for all_of in psutil.net_if_addrs().values() for entry in all_of if entry.family == socket.AF_INET
    }
    for node in core_api.list_node().items:
        for address in node.status.addresses:
            if address.type == "InternalIP" and address.address in own:
                return str(address.address)
    return None


@contextmanager
def s3_server(host: str) -> Iterator[str]:
    """moto's S3 over HTTP with an empty bucket; yields its URL."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address=host, port=free_port(host), verbose=False)
    server.start()
    try:
        url = f"http://{host}:{server.get_host_and_port()[1]}"
        client = boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )
        client.create_bucket(Bucket=BUCKET)
        yield url
    finally:
        server.stop()


@contextmanager
def mlflow_server(host: str, folder: Path) -> Iterator[str]:
    """A real MLflow on SQLite; yields its URL."""
    port = free_port(host)
    command = [sys.executable, "-m", "mlflow", "server", f"--host={host}", f"--port={port}", "--workers=1"]
    command += [f"--backend-store-uri=sqlite:///{folder / 'mlflow.db'}", f"--artifacts-destination={folder / 'files'}"]
    command += [f"--allowed-hosts={host}:{port}"]
    env = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "mlflow.log").open("w") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    url = f"http://{host}:{port}"
    try:
        until(lambda: _answers(f"{url}/health"), lambda: "MLflow does not answer")
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)


def _answers(url: str) -> bool:
    try:
        return bool(urllib.request.urlopen(url, timeout=2).status == 200)
    except OSError:
        return False


_UNDISTURBED: dict[tuple[str, str], str] = {}


class Installation:
    """One namespace, one store, one MLflow, one declared model; ``train`` is one try of its training task."""

    def __init__(self, core_api: Any, namespace: str, folder: Path, s3: str, tracking: str, prefix: str) -> None:
        self.api, self.namespace, self.include = core_api, namespace, folder / "include"
        self.environment = {
            **KEYS,
            "AIRWORTHY_HOME": str(folder / "home"),
            "AIRWORTHY_INCLUDE": str(self.include),
            "AIRWORTHY_STORE": f"s3://{BUCKET}/{prefix}",
            "AIRWORTHY_RUNNER": "kubernetes",
            "AIRWORTHY_POD_IMAGE": IMAGE,
            "AIRWORTHY_POD_NAMESPACE": namespace,
            "AIRWORTHY_INSTALLATION": prefix,
            "MLFLOW_TRACKING_URI": tracking,
            "AWS_ENDPOINT_URL": s3,
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
            "AIRWORTHY_DEFER_PODS": "false",
            "AIRWORTHY_ALLOW_HOST_ACCESS": "true",  # its pods run this machine's Python, from the node's folders
        }
        options = {name: value for name, value in self.environment.items() if name.startswith("AWS")}
        self.store = DeltaStore(self.environment["AIRWORTHY_STORE"], options)
        core_api.create_namespaced_secret(namespace, {"metadata": {"name": "s3"}, "stringData": KEYS})
        self.declare()

    def declare(self, runner: dict[str, Any] | None = None, **training: Any) -> None:
        """Write all declarations, the model's with these changes to its training."""
        declare_small(self.include, template(), runner, **training)

    def request(self, rows: int = 1200, run: str = "manual__1") -> TrainRequest:
        """A training of a snapshot of that many rows, told apart from every other test's."""
        snapshot = small_training.keep_snapshot(self.store, small_training.rows(count=rows))  # type: ignore[arg-type]
        return small_training.request(snapshot, run_key=f"{self.environment['AIRWORTHY_INSTALLATION']}/{run}")

    @property
    def settings(self) -> Settings:
        return Settings.from_environment(self.environment)

    def runner(self, **declared: Any) -> StageRunner:
        secrets = {name: f"s3/{name}" for name in KEYS}
        return StageRunner.model_validate({"cpus": 1, "memory": "1500Mi", "secrets": secrets, **declared})

    def train(
        self,
        request: TrainRequest,
        runner: StageRunner | None = None,
        *,
        try_number: int = 1,
        run_id: str = "manual__1",
    ) -> TrainResult:
        """One try of the task, as its worker goes through it."""
        from practices._pods.run import run_in_pod

        with as_task(try_number, run_id):
            content = run_in_pod("train_model", request, runner or self.runner())
        return TrainResult.model_validate_json(content)

    def squeeze(self, pod: Any) -> bool:
        """Use up the memory of the pod's container beside the step, so that the kernel kills the step for it."""
        for process in psutil.process_iter(["cmdline"]):
            if self.run_of(pod) in (process.info["cmdline"] or []) and (group := _memory_group(process.pid)):
                Path(f"/proc/{process.pid}/oom_score_adj").write_text("1000")
                subprocess.run([sys.executable, "-c", EATER, str(group), str(process.pid)], timeout=60, check=False)
                return True
        return False

    def abandon(self, request: TrainRequest, runner: StageRunner | None = None, run_id: str = "manual__1") -> Any:
        """A first try that started its pod and was never heard of again; returns the pod."""
        from airflow.sdk.exceptions import TaskDeferred

        from practices._pods.run import run_in_pod

        os.environ["AIRWORTHY_DEFER_PODS"] = "true"
        try:
            with as_task(1, run_id):
                run_in_pod("train_model", request, runner or self.runner())
        except TaskDeferred as deferred:
            return self.api.read_namespaced_pod(deferred.trigger.pod_name, self.namespace)
        finally:
            os.environ["AIRWORTHY_DEFER_PODS"] = "false"
        raise AssertionError("it should have been deferred")

    def undisturbed(self, request: TrainRequest, home: Path) -> str:
        """Digest of the model that nobody disturbed; the same data and declaration are trained once a session."""
        key = (request.snapshot, (self.include / "models" / "small_delay.yaml").read_text())
        if key not in _UNDISTURBED:
            _UNDISTURBED[key] = self.in_process(request, home).model_digest
        return _UNDISTURBED[key]

    def in_process(self, request: TrainRequest, home: Path) -> TrainResult:
        """The same request in this process, undisturbed, with an MLflow and checkpoints of its own."""
        own = {**self.environment, "MLFLOW_TRACKING_URI": f"sqlite:///{home / 'own.db'}", "AIRWORTHY_HOME": str(home)}
        ports: Any = open_ports(Settings.from_environment(own))
        ports.store = _Apart(ports.store)
        return run_step("train_model", request.model_dump_json(by_alias=True), ports)  # type: ignore[return-value]

    def pods(self) -> list[Any]:
        return list(self.api.list_namespaced_pod(self.namespace).items)

    def left(self) -> list[Any]:
        """Pods that are not on their way out."""
        return [pod for pod in self.pods() if pod.metadata.deletion_timestamp is None]

    def run_files(self, name: str) -> list[str]:
        """Paths of all files of that name that launches have written."""
        return [path for path in self.store.list("runs/") if path.endswith(f"/{name}")]

    @staticmethod
    def run_of(pod: Any) -> str:
        return str(pod.metadata.annotations["airworthy.dev/run"])

    def await_pod(self, ready: Callable[[Any], bool] = lambda pod: True) -> Any:
        """The first pod that is ready, as soon as there is one."""
        return until(
            lambda: next((pod for pod in self.pods() if ready(pod)), None),
            lambda: f"no such pod; there are {[pod.metadata.name for pod in self.pods()]}",
        )

    def await_no_pods(self) -> None:
        """What its owner took along goes a moment later."""
        until(lambda: not self.left(), lambda: f"{[pod.metadata.name for pod in self.left()]} are left behind")

    def await_checkpoint(self) -> None:
        """Until a checkpoint is complete: its index is written last."""
        until(
            lambda: any(path.endswith(f"/{INDEX_FILE}") for path in self.store.list("checkpoints/")),
            lambda: "no checkpoint was written",
        )


def declare_small(include: Path, pod: dict[str, Any], runner: dict[str, Any] | None = None, **training: Any) -> None:
    """A folder of declarations with the small model, its view, the dataset of that, and a pod template."""
    _write(include / "pods" / "step.yaml", pod)
    flights = REPOSITORY / "include" / "datasets" / "flights.yaml"
    _write(include / "datasets" / "flights.yaml", yaml.safe_load(flights.read_text()))
    for suite in (REPOSITORY / "include" / "expectations").glob("*.yaml"):
        _write(include / "expectations" / suite.name, yaml.safe_load(suite.read_text()))
    _write(include / "features" / "small.yaml", _view())
    spec = small_training.spec(**training)
    content = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"problem"})
    content |= {"schema": 2, "target": spec.target.expression}
    _write(include / "models" / "small_delay.yaml", {**content, **({"runner": {"train": runner}} if runner else {})})


def _view() -> dict[str, Any]:
    """The small view, the hour in place of the wind, since flights have no wind (the snapshots are written by hand)."""
    features = {"carrier, distance": "own", "wind_speed": {"own": "hour"}}
    return {**small_training.VIEW_FIELDS, "dataset": "flights", "features": features}


def template(home: Path | None = None) -> dict[str, Any]:
    """A pod template that runs this machine's Python in any image with its C library.

    ``home``: pods share it with the embedded stack, and reach what the stack has listening on this machine's loopback.
    """
    folders = {"repository": str(REPOSITORY), "environment": sys.prefix, "interpreter": sys.base_prefix}
    mounts: list[dict[str, Any]] = [
        {"name": name, "mountPath": path, "readOnly": True} for name, path in folders.items()
    ]
    if home:
        folders["home"] = str(home)
        mounts.append({"name": "home", "mountPath": str(home)})
    container = {
        "name": "step",
        "image": IMAGE,
        "command": [f"{sys.prefix}/bin/python", "-m", "pipelines"],
        "env": [{"name": "AIRWORTHY_HOME", "value": "/tmp/airworthy"}],
        "envFrom": [{"secretRef": {"name": "registry", "optional": True}}],
        "volumeMounts": mounts,
    }
    volumes = [{"name": name, "hostPath": {"path": path}} for name, path in folders.items()]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "step"},
        "spec": {
            "containers": [container],
            "volumes": volumes,
            "hostNetwork": home is not None,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 5,
        },
    }


@contextmanager
def as_task(try_number: int = 1, run_id: str = "manual__1", map_index: int = -1) -> Iterator[Any]:
    """The context that Airflow gives a task, as far as launching a pod asks for it."""
    from airflow.sdk.execution_time.context import set_current_context

    ti = SimpleNamespace(
        dag_id=DAG,
        task_id=TASK,
        run_id=run_id,
        map_index=map_index,
        try_number=try_number,
        id=f"0190{try_number:04x}-{abs(hash(run_id)) % 65536:04x}-7000-8000-000000000000",
        xcom_push=lambda key, value: None,
    )
    context: Any = {"ti": ti, "run_id": run_id, "dag": SimpleNamespace(parent_dag=None)}
    with set_current_context(context):
        yield context


EATER = """
import os, pathlib, sys
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
eaten = []
while os.path.exists(f"/proc/{sys.argv[2]}"):
    eaten.append(bytearray(os.urandom(1024)) * 20_000)
"""


def _memory_group(pid: int) -> Path | None:
    """The file that takes processes into the memory cgroup (version 1 or 2) of a process; None if it is not here."""
    roots = {"memory": "/sys/fs/cgroup/memory", "": "/sys/fs/cgroup"}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        file = Path(f"{roots[controllers]}{path}/cgroup.procs") if controllers in roots else None
        if file and file.exists():
            return file
    return None


class _Apart:
    """A store whose checkpoints are its own, so that an undisturbed training begins at the beginning."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._own: dict[str, bytes] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def exists(self, path: str) -> bool:
        return path in self._own if path.startswith("checkpoints/") else self._store.exists(path)

    def put(self, path: str, content: bytes) -> str:
        if not path.startswith("checkpoints/"):
            return str(self._store.put(path, content))
        self._own[path] = content
        return path

    def get(self, path: str) -> bytes:
        return self._own[path] if path.startswith("checkpoints/") else self._store.get(path)

    def list(self, prefix: str) -> list[str]:
        own = sorted(path for path in self._own if path.startswith(prefix))
        return own if prefix.startswith("checkpoints/") else self._store.list(prefix)

    def delete(self, path: str) -> None:
        self._own.pop(path, None)


class Background(threading.Thread):
    """Runs a function beside the test and hands over what it returned or raised."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self.outcome: Any = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.outcome = self._work()
        except BaseException as error:
            self.error = error

    def result(self) -> Any:
        self.join(PATIENCE)
        assert not self.is_alive(), f"it did not end within {PATIENCE} s"
        if self.error:
            raise self.error
        return self.outcome


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False))
