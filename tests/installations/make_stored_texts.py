"""Made the texts below ``before_0_2/`` with commit 161e1ed7, from the kept installation and from what tests act with.

It is kept for its reader: it says which code wrote which text. Run ``python -m tests.installations.make_stored_texts``
on a checkout of that commit, after ``make_installation``, and such texts are written again.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
from airflow.sdk.exceptions import DagRunTriggerException
from airflow.triggers.base import BaseTrigger
from pipelines.adapters.amazon import Clients
from pipelines.adapters.pod_readings import Reading
from pipelines.adapters.sql_ledger import SqlLedger
from pipelines.testing_rollouts import FakeTarget
from tests.adapters.test_sagemaker_target import Field
from tests.practices.test_pod_launch import begun, finish

from pipelines.adapters.mlflow_registry import MlflowRegistry
from pipelines.errors import Refused
from pipelines.ports import LedgerEntry
from pipelines.settings import REPOSITORY, Settings
from pipelines.spec.deployment import Deployment
from pipelines.spec.runner import StageRunner
from pipelines.testing import FakePorts, FixedClock, MemoryLedger, MemoryStore
from practices._arrival_trigger import ArrivalTrigger, LateArrivals
from practices._pods.plan import identity_annotations, labels
from practices._pods.watch import PodWatch
from practices._queued_arrivals import QueuedArrivals
from practices._rollout_trigger import RolloutWatch
from practices.drift_check import DriftCheck
from practices.orphaned_pods import OrphanedPods
from practices.performance_check import PerformanceCheck
from practices.retrain_request import RetrainRequest
from tests.adapters.local_aws import local_aws
from tests.adapters.s3_server import BUCKET
from tests.cli.test_restore import TABLE, frame
from tests.cli.test_restore import call as call_restore
from tests.dags.test_arrival_watcher import QUEUE
from tests.dags.test_deploy_stages import DECLARED
from tests.installations.kept import ARCHIVE, TEXTS
from tests.installations.kubernetes_in_memory import KubernetesInMemory
from tests.kubernetes.serving_lab import declared, http_route_target, kserve_target
from tests.practices.deploy_run import TICKET, DeployRun
from tests.practices.practice_harness import MODEL, NOW, PracticeHarness
from tests.practices.test_drift_check import drifted
from tests.practices.test_lease_reaper import begin, reap
from tests.practices.test_orphaned_pods import Api, Asked, v1_pod
from tests.practices.test_performance_check import performed
from tests.practices.test_rollback_drill import QUICK, drill
from tests.practices.test_rollout_rollback import end

AB, TRIAL, GUARDED, IN_PODS = "tried_by_users", "tried_in_green", "guarded", "trained_in_pods"
"""Models of the kept declarations, beside those of the repository."""
PLAN = {"strategy": "canary", "lease_seconds": 600.0, "guard": {"max_error_rate": 0.05}}
SPLIT = {"1": 8000, "2": 2000}
BUNDLES = {version: (f"s3://bucket/bundles/{MODEL}/{version}", version * 64) for version in SPLIT}
UNTIL = "2026-11-02T07:00:30+00:00"


def write(name: str, content: Any) -> None:
    path = TEXTS / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, sort_keys=True, default=str) + "\n", encoding="utf-8")


# ---- names ---------------------------------------------------------------------------------------------------------


def keep_declarations() -> None:
    """The repository's, and models that have the stages which those leave out."""
    include = TEXTS / "include"
    shutil.rmtree(include, ignore_errors=True)
    shutil.copytree(REPOSITORY / "include", include, ignore=shutil.ignore_patterns("schemas"))
    spec = yaml.safe_load((include / "models" / f"{MODEL}.yaml").read_text())
    blocks = [block for block, _ in DECLARED]
    more: dict[str, dict[str, Any]] = {
        AB: {"deployment": next(block for block in blocks if block.get("strategy") == "ab")},
        TRIAL: {"deployment": {"strategy": "blue_green"}},
        GUARDED: {"deployment": next(block for block in blocks if "target" in block)},
        IN_PODS: {"deployment": {}, "runner": {"train": {"on": "kubernetes", "gpus": 1}}},
    }
    for name, told in more.items():
        (include / "models" / f"{name}.yaml").write_text(yaml.safe_dump(spec | {"model": name} | told))


def keep_names_of_dags() -> None:
    with TemporaryDirectory() as home:
        environment = os.environ | {"AIRFLOW_HOME": home, "AIRWORTHY_HOME": home}
        done = subprocess.run(
            [sys.executable, "-m", "tests.installations.dag_names"],
            env=environment | {"AIRWORTHY_INCLUDE": str(TEXTS / "include")},
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
    write("dags.json", json.loads(done.stdout.splitlines()[-1]))


def keep_other_names() -> None:
    """Modules that are started by name, and environment variables with the field of the settings that each sets."""
    write(
        "names.json",
        {
            "started_from_outside": ["pipelines", "pipelines.cli.main", "pipelines.serving"],
            "started_by_the_code": [
                "pipelines.rank_door",
                "pipelines.serving.candidate",
                "pipelines.serving.compactor",
                "pipelines.serving.shadow",
                "pipelines.serving.worker",
            ],
            "programs": ["airworthy"],
            "settings": {
                "AIRWORTHY_ACTOR": "actor",
                "AIRWORTHY_DEFER_PODS": "defer_pods",
                "AIRWORTHY_GATEWAY": "gateway",
                "AIRWORTHY_GATEWAY_ADMIN": "gateway_admin",
                "AIRWORTHY_GPUS": "gpus",
                "AIRWORTHY_HOME": "home",
                "AIRWORTHY_INCLUDE": "include",
                "AIRWORTHY_INSTALLATION": "installation",
                "AIRWORTHY_KUBERNETES_CONNECTION": "kubernetes_connection",
                "AIRWORTHY_LEDGER": "ledger",
                "AIRWORTHY_POD_IMAGE": "pod_image",
                "AIRWORTHY_POD_NAMESPACE": "pod_namespace",
                "AIRWORTHY_RUNNER": "runner",
                "AIRWORTHY_STORE": "store",
                "AIRWORTHY_STORE_CONNECTION": "store_connection",
                "MLFLOW_TRACKING_URI": "tracking",
            },
        },
    )


# ---- deferred tasks ------------------------------------------------------------------------------------------------


def keep_triggers() -> None:
    """Every trigger as Airflow's database has it, with the tasks that wait for it and how each of them goes on."""
    runner = StageRunner(on="kubernetes").model_dump(mode="json", by_alias=True)
    asked = {"step": "train_model", "attempt": "1-0190aaaa0001", "runner": runner}
    deploy = f"{MODEL}__deploy"
    watching = RolloutWatch(MODEL, "r5", 7, UNTIL, 90.0)
    waiting: list[tuple[BaseTrigger | None, list[tuple[str, str, str, dict[str, Any]]]]] = [
        (
            ArrivalTrigger("flights", "2013-01-06", "2013-01-07T06:30:00-05:00", 5.0),
            [("flights__ingest", "wait_for_partition", "resume", {})],
        ),
        (LateArrivals("flights"), []),
        (QueuedArrivals("flights", QUEUE, "aws_default", 600.0), []),
        (
            watching,
            [
                (deploy, "compare_in_shadow", "resume", {"blind": 0}),
                (deploy, "judge_at_20", "look_again", {"errors": 0}),
                (f"{TRIAL}__deploy", "judge_green", "look_again", {"errors": 1}),
                (f"{AB}__deploy", "test_versions", "resume", {"blind": 2}),
            ],
        ),
        (RolloutWatch(MODEL, "r5", 9, UNTIL, None), [(deploy, "retire_former", "look_again", {})]),
        (
            PodWatch("flight-delay-train-train-model-0123456789", "default", None, False, runner),
            [(f"{IN_PODS}__train", "train_model", "resume_step", {"asked": asked})],
        ),
        (None, [(deploy, "request_approvals", "execute_complete", {"request": "a" * 64})]),
    ]
    known = {kind for kind in _below(BaseTrigger) if kind.__module__.startswith("practices.")}
    assert {type(trigger) for trigger, _ in waiting if trigger} == known
    told = []
    for trigger, tasks in waiting:
        path, arguments = trigger.serialize() if trigger else (None, None)
        resumed = [dict(zip(("dag", "task", "method", "kwargs"), task, strict=True)) for task in tasks]
        told.append({"path": path, "kwargs": arguments, "waits": resumed})
    write("triggers.json", told)


def _below(kind: Any) -> set[Any]:
    return {found for child in kind.__subclasses__() for found in {child, *_below(child)}}


# ---- records of rollouts -------------------------------------------------------------------------------------------


def keep_kubernetes_objects() -> None:
    """What a cluster holds of a model whose candidate has a fifth of the traffic."""
    makers: dict[str, Callable[..., Any]] = {"http_route": http_route_target, "kserve": kserve_target}
    for kind, make in makers.items():
        cluster = KubernetesInMemory()
        target = make("default", lambda cluster=cluster: cluster)
        target.release(MODEL, "1", *BUNDLES["1"], key="release")
        state = target.create_rollout(MODEL, "r2", PLAN, expect=target.rollout(MODEL).generation, key="r2/create")
        state = target.prepare(MODEL, "r2", "2", *BUNDLES["2"], expect=state.generation, key="r2/prepare")
        target.counted = {"one": ("1", Reading(100, 1, 2.0)), "two": ("2", Reading(0, 0, 0.0))}
        state = target.set_traffic(MODEL, "r2", SPLIT, expect=state.generation, key="r2/traffic")
        target.counted = {"one": ("1", Reading(180, 2, 4.0)), "two": ("2", Reading(20, 1, 0.5))}
        state = target.renew_lease(MODEL, "r2", 900.0, expect=state.generation, key="r2/lease")
        told = {
            "deployment": declared("default", kind).model_dump(mode="json", exclude_defaults=True),
            "objects": list(cluster.objects.values()),
            "state": state.model_dump(mode="json", by_alias=True),
            "counts": [arm.model_dump(mode="json", by_alias=True) for arm in target.counts(MODEL, "r2")],
            "answered": {"key": "r2/traffic", "split": SPLIT},
        }
        write(f"{kind}.json", told)


def keep_sagemaker_record() -> None:
    with local_aws() as aws:
        harness = Field(Clients(*aws.values()))
        target = harness.release("1")
        state = harness.begin(target)
        state = target.set_traffic(MODEL, "r2", SPLIT, expect=state.generation, key="r2/traffic")
        store = f"s3://{BUCKET}/{harness.prefix}"
        key = f"{harness.prefix}/rollouts/{MODEL}.json"
        endpoint, config = harness.described(), harness.config()
        for described in (endpoint, config):
            described.pop("ResponseMetadata")
        target_declared = {
            "kind": "sagemaker",
            "endpoint": harness.endpoint,
            "role_arn": "arn:aws:iam::123456789012:role/airworthy",
            "image": harness.image,
            "instance_type": "ml.m5.large",
        }
        told = {
            "deployment": {"strategy": "canary", "target": target_declared},
            "store": store,
            "key": key,
            "record": json.loads(aws["s3"].get_object(Bucket=BUCKET, Key=key)["Body"].read()),
            "endpoint": endpoint,
            "endpoint_config": config,
            "state": state.model_dump(mode="json", by_alias=True),
        }
        write("sagemaker.json", told)


# ---- pods ----------------------------------------------------------------------------------------------------------


def keep_pod_run() -> None:
    """A step that ended well in a pod, and whose task has not looked yet."""
    store = MemoryStore()
    done = finish(store, begun(store))
    settings = Settings.from_environment({})
    told = {
        "launch": {name: getattr(done, name) for name in ("dag_id", "run_id", "task_id", "map_index", "try_number")},
        "made": done.made,
        "request": done.request,
        "pod": done.pod_name(done.attempt),
        "labels": labels(done, StageRunner(on="kubernetes"), settings),
        "annotations": identity_annotations(done, done.attempt),
        "files": {path: content.decode() for path, content in store.files.items()},
    }
    write("pod_run.json", told)


# ---- the ledger ----------------------------------------------------------------------------------------------------


def keep_ledger(home: Path) -> None:
    """The ledger of the kept installation, and after its last line one line of each kind that it lacks."""
    ledger, clock = MemoryLedger(), FixedClock()
    ledger._clock = clock
    ledger.lines = SqlLedger(f"sqlite:///{home / 'ledger' / 'ledger.db'}").entries()
    clock.at = ledger.lines[-1].at
    for line in written_elsewhere():
        clock.advance(timedelta(seconds=1))
        ledger.append(line.kind, line.model, line.version, line.details, actor=line.actor, key=line.key)
    assert ledger.faults() == []
    texts = [line.model_dump_json() for line in ledger.lines]
    (TEXTS / "ledger.jsonl").write_text("\n".join(texts) + "\n", encoding="utf-8")


def written_elsewhere() -> list[LedgerEntry]:
    found: list[LedgerEntry] = []
    for scene in (monitored, reaped, drilled, rolled_back, not_let_through, orphaned, restored):
        with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            found += scene(PracticeHarness.open(Path(folder), patch), patch)
    return found


def monitored(harness: PracticeHarness, _: pytest.MonkeyPatch) -> list[LedgerEntry]:
    """Version 1 drifts on three days in a row, on the last of which it also performs badly."""
    harness.registry.add("1")
    harness.registry.name(champion="1")
    harness.ledger.append("release", MODEL, "1", {}, actor="test")
    harness.store.put(f"predictions/{MODEL}/date=2013-03-06/a.parquet", b"")
    for number in (5, 6, 7):
        day = date(2013, 3, number)
        changed = {"day": day, "window": [day], "version": "1"}
        harness.answers["measure_drift"] = drifted(0.9).model_copy(update=changed)
        context = harness.context("monitor", "check_drift", partition_key=f"{day}", run=f"monitor__{day}")
        with suppress(Refused):
            DriftCheck(task_id="check_drift", model=MODEL).execute(context)
    harness.answers["measure_performance"] = performed(0.55).model_copy(update={"version": "1"})
    context = harness.context("monitor", "check_performance", partition_key="2013-03-07", run="monitor__2013-03-07")
    with suppress(Refused):
        PerformanceCheck(task_id="check_performance", model=MODEL).execute(context)
    context = harness.context("monitor", "request_retraining", partition_key="2013-03-07", run="monitor__2013-03-07")
    with suppress(DagRunTriggerException):
        RetrainRequest(task_id="request_retraining", model=MODEL).execute(context)
    return [*harness.ledger.entries(kind="monitoring_verdict"), *harness.ledger.entries(kind="retrain_request")]


def reaped(harness: PracticeHarness, _: pytest.MonkeyPatch) -> list[LedgerEntry]:
    clock = FixedClock(NOW)
    harness.clock = clock
    begin(harness, clock, "canary")
    clock.advance(timedelta(seconds=61))
    reap(harness)
    return harness.ledger.entries(kind="lease_expired")


def drilled(harness: PracticeHarness, _: pytest.MonkeyPatch) -> list[LedgerEntry]:
    harness.declare(deployment=Deployment())
    harness.rollouts = FakeTarget("4")
    harness.rollouts.release(MODEL, "5", "bundles/5", "5" * 64, key="5")
    for version in ("4", "5"):
        details = {"uri": f"bundles/{version}", "sha256": version * 64}
        harness.ledger.append("release", MODEL, version, details, actor="test")
    harness.answers["time_rollback"] = QUICK
    drill(harness)
    return harness.ledger.entries(kind="rollback_drill")


def rolled_back(harness: PracticeHarness, _: pytest.MonkeyPatch) -> list[LedgerEntry]:
    run = DeployRun(harness)
    run.play(until="shift_to_5")
    end(run, judge_at_5="failed")
    return run.field.ledger.entries(kind="rollback")


def not_let_through(harness: PracticeHarness, _: pytest.MonkeyPatch) -> list[LedgerEntry]:
    run = DeployRun(harness, ticket=TICKET.model_copy(update={"rollout_id": "r6"}))
    run.play(until="prepare_candidate")
    end(run, count_approvals="skipped")
    return run.field.ledger.entries(kind="rollout_end")


def orphaned(harness: PracticeHarness, patch: pytest.MonkeyPatch) -> list[LedgerEntry]:
    pod = v1_pod("ended", "r1")
    patch.setenv("KUBECONFIG", "/somewhere")
    patch.setattr(KubernetesHook, "core_v1_client", Api(pod))
    harness.clock = FixedClock(NOW)
    harness.store.put(f"{pod.metadata.annotations['airworthy.dev/run']}/ticket.json", b"{}")
    context = harness.context("train", "reap", triggering_user_name="oncall")
    context["ti"] = Asked({"r1": {"train_model": "failed"}})
    OrphanedPods(task_id="reap").execute(context)
    return harness.ledger.entries(kind="orphaned_pod")


def restored(harness: PracticeHarness, _: pytest.MonkeyPatch) -> list[LedgerEntry]:
    ports = FakePorts.make(harness.settings.home)
    for values in ((1, 2, 3), (1,)):
        ports.store.replace_partition(TABLE, date(2013, 1, 1), frame(*values))
    call_restore(ports, TABLE, "1")
    found: list[LedgerEntry] = ports.ledger.entries(kind="restore")
    return found


# ---- what the kept installation holds ------------------------------------------------------------------------------


def keep_what_was_handed_over(home: Path) -> None:
    """The newest of what each task returned, and of what each event of an asset carried."""
    with closing(sqlite3.connect(home / "airflow" / "airflow.db")) as connection:
        returned: dict[str, Any] = {}
        query = "SELECT dag_id, task_id, map_index, value FROM xcom WHERE key = 'return_value' ORDER BY timestamp"
        for dag, task, place, value in connection.execute(query):
            returned[f"{dag}/{task}" if place < 0 else f"{dag}/{task}/{place}"] = json.loads(value)
        events: dict[str, Any] = {}
        joined = "asset_event JOIN asset ON asset.id = asset_id"
        query = f"SELECT asset.name, asset_event.extra FROM {joined} ORDER BY asset_event.id"
        for name, extra in connection.execute(query):
            events[name] = json.loads(extra)
    write("handed_over.json", {"returned": returned, "events": events})


def keep_versions(home: Path) -> None:
    """What the registry says of each version, and the files of the first one."""
    registry = MlflowRegistry(f"sqlite:///{home / 'mlflow' / 'mlflow.db'}")
    versions = registry.versions(MODEL)
    write("versions.json", [version.model_dump(mode="json", by_alias=True) for version in versions])
    [first] = [version for version in versions if version.version == "1"]
    client = registry._client
    logged = client.get_logged_model(first.source.removeprefix("models:/").strip("/"))
    folder = home / "mlflow" / "artifacts" / logged.artifact_location.removeprefix("mlflow-artifacts:/")
    shutil.rmtree(TEXTS / "model", ignore_errors=True)
    shutil.copytree(folder, TEXTS / "model")


@contextmanager
def unpacked() -> Iterator[Path]:
    """The kept installation as it lies in the archive, with the names of files that it was made with."""
    with TemporaryDirectory() as folder, tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
        yield Path(folder)


def main() -> None:
    keep_declarations()
    keep_names_of_dags()
    keep_other_names()
    keep_triggers()
    keep_kubernetes_objects()
    keep_sagemaker_record()
    keep_pod_run()
    with unpacked() as home:
        keep_ledger(home)
        keep_what_was_handed_over(home)
        keep_versions(home)


if __name__ == "__main__":
    main()
