"""Two real processes train one model: always the same bytes, as good as one's, and no hanging when one of them dies."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from pipelines import store_paths
from pipelines.adapters.store.delta import DeltaStore
from pipelines.errors import EXIT_REFUSED, EXIT_UNAVAILABLE, Refused, Unavailable
from pipelines.messages.training import ReproduceRequest, TrainResult
from pipelines.mlflow_client import open_client
from pipelines.settings import REPOSITORY
from pipelines.spec.model import ModelSpec
from pipelines.spec.runner import StageRunner
from pipelines.steps import reproduce_model, train_model
from pipelines.steps.training import distributed, snapshot
from pipelines.steps.training.checkpoints import Checkpoints
from pipelines.steps.training.distributed import WorkerTeam
from pipelines.steps.training.distributed_processes import RANK_MODULE
from pipelines.steps.training.distributed_rank import rows_of_rank
from pipelines.steps.training.distributed_work import INVITATION_FILE, SharedWork
from pipelines.steps.training.fitting import FittedModel
from pipelines.steps.training.plan import TrainingPlan, plan_training, shared_work
from pipelines.steps.training.worker import join_training
from pipelines.tables.encoding import learn_inputs
from pipelines.testing.ports import FakePorts
from tests.steps.small_training import FEATURES, keep_snapshot, ports, request, rows, spec

MODEL = "small_delay"
RUN = "runs/small_delay__train/manual/train_model/1"
BOUND = 120.0
"""Seconds in which a loss must be noticed here; most of it is the start of processes on a busy machine."""
WORKER = """
import sys
from pipelines.errors import AirworthyError
from pipelines.steps.training.worker import join_training
from pipelines.wiring import open_ports
try:
    join_training(sys.argv[1], open_ports(), wait_seconds=float(sys.argv[2]), peer_wait_seconds=30)
except AirworthyError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


COORDINATOR = """
import sys
from pathlib import Path
from pipelines.steps.training import distributed
from tests.steps.training.test_distributed import Laid, endless
distributed.own_address = lambda: distributed.LOOPBACK
Laid(Path(sys.argv[1]), endless(), run=sys.argv[2]).fit(on_round=lambda number, scores, rate: print(number, flush=True))
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


def by(workers: int, model: ModelSpec) -> ModelSpec:
    return model.model_copy(update={"runner": {"train": StageRunner(workers=workers)}})


def stopping() -> ModelSpec:
    """Everything that must go on alike on every rank: samples, a rate that follows the scores, an early stop."""
    return spec(
        estimator={
            "rounds": 500,
            "parameters": {"max_depth": 3, "subsample": 0.8, "colsample_bytree": 0.7, "nthread": 1},
        },
        learning_rate={"schedule": "plateau", "initial": 0.3, "minimum": 0.01, "patience": 20},
        early_stopping={"enabled": True, "metric": "logloss", "patience": 300},
        checkpointing={"frequency": 50, "keep_best": 2},
    )


def endless() -> ModelSpec:
    return spec(estimator={"rounds": 100_000, "parameters": {"nthread": 1}})


class Laid:
    """A snapshot in a store on disk, the work that two workers share of it, and a team for it."""

    def __init__(self, folder: Path, model: ModelSpec | None = None, run: str | None = None) -> None:
        self.folder, self.run = folder, run
        self.store = DeltaStore(str(folder))
        frame = rows()
        kept = keep_snapshot(self.store, frame)  # type: ignore[arg-type]
        self.features = learn_inputs(frame.filter(part="train"), dict.fromkeys(FEATURES, "numeric") | KINDS)
        self.order = an_order(by(2, model or stopping()), kept)
        self.work: SharedWork = shared_work(self.order, self.order.training, self.features)

    def fit(self, **given: Any) -> FittedModel:
        team = WorkerTeam(self.store, str(self.folder), self.run, join_seconds=BOUND, peer_wait_seconds=30)
        return team.fit(self.work, self.features, **given)

    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.store, MODEL, self.order.digest(), "min", 2)


@contextmanager
def worker_of(laid: Laid) -> Iterator[subprocess.Popen[str]]:
    """A worker as its pod would run it."""
    command = [sys.executable, "-c", WORKER, str(laid.run), str(BOUND)]
    environment = {**os.environ, "AIRWORTHY_STORE": str(laid.folder)}
    with subprocess.Popen(command, env=environment, cwd=REPOSITORY, text=True, stderr=subprocess.PIPE) as worker:
        try:
            yield worker
        finally:
            worker.kill()


def left(worker: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status and last words."""
    said = worker.communicate(timeout=BOUND)[1]
    return worker.returncode, said


KINDS: dict[str, Any] = {"carrier": "categorical"}


def an_order(model: ModelSpec, digest: str) -> TrainingPlan:
    return TrainingPlan(
        request=request(digest),
        problem=model.problem,
        training=model.training,
        features=dict.fromkeys(FEATURES, "numeric") | KINDS,
        threshold=0.5,
        metric="roc_auc",
        workers=model.stage_runner("train").workers,
    )


def ranks() -> list[psutil.Process]:
    """The ranks that this process has started, in the order of their tasks."""
    alive = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return sorted((child for child in alive if RANK_MODULE in child.cmdline()), key=lambda child: child.cmdline()[6])


def digest(fitted: FittedModel) -> str:
    return hashlib.sha256(fitted.native).hexdigest()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> FittedModel:
    laid = Laid(tmp_path_factory.mktemp("undisturbed"))
    return laid.fit(checkpoints=laid.checkpoints())


@pytest.fixture
def nearby(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pods have an address of their own; this machine's processes meet on the loopback."""
    monkeypatch.setattr(distributed, "own_address", lambda: distributed.LOOPBACK)


def train(tmp_path: Path, shared: Path, name: str, model: ModelSpec) -> tuple[FakePorts, TrainResult]:
    (tmp_path / name).mkdir()
    world = ports(tmp_path / name, shared, model)
    return world, train_model.run(request(keep_snapshot(world.store, rows())), world)


def test_two_workers_give_a_model_as_good_as_one_and_it_is_reproduced(tmp_path: Path, shared: Path) -> None:
    _, alone = train(tmp_path, shared, "one", spec())
    world, result = train(tmp_path, shared, "two", by(2, spec()))
    assert result.model_digest != alone.model_digest
    assert result.metrics["validation_roc_auc"] == pytest.approx(alone.metrics["validation_roc_auc"], abs=0.03)
    assert result.metrics["validation_log_loss"] == pytest.approx(alone.metrics["validation_log_loss"], abs=0.03)
    assert world.registry.get(MODEL, result.version).tags["airworthy.workers"] == "2"
    found = reproduce_model.run(ReproduceRequest(model=MODEL, version=result.version), world)
    assert found.reproduced_digest == result.model_digest != result.judged_digest
    assert found.reproduced_judged_digest == result.judged_digest
    assert ranks() == []


def test_a_search_is_tried_and_its_best_is_trained_by_all_workers(tmp_path: Path, shared: Path) -> None:
    searched = spec(
        estimator={"rounds": 5, "parameters": {"nthread": 1}},
        search={"trials": 2, "space": {"max_depth": {"choices": [1, 4]}}},
    )
    world, result = train(tmp_path, shared, "two", by(2, searched))
    client = open_client(world.settings.tracking)
    experiment = client.get_experiment_by_name(MODEL).experiment_id
    children = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{result.run_id}'")
    scores = [run.data.metrics["validation/roc_auc"] for run in children]
    assert len(scores) == 2
    assert result.metrics["validation_roc_auc"] == pytest.approx(max(scores))


def test_stopping_and_curves_are_those_of_the_whole_data(undisturbed: FittedModel) -> None:
    curve = undisturbed.curves["validation/logloss"]
    assert len(curve) == undisturbed.rounds == len(undisturbed.learning_rates)
    assert undisturbed.best_round == min(range(len(curve)), key=curve.__getitem__)
    assert undisturbed.learning_rates[0] > undisturbed.learning_rates[-1]
    assert set(undisturbed.importance) == set(FEATURES)


@pytest.mark.parametrize("lost", [0, 1])
def test_a_killed_worker_fails_the_attempt_in_bounded_time_and_the_retry_ends_with_the_same_digest(
    lost: int, tmp_path: Path, undisturbed: FittedModel
) -> None:
    laid = Laid(tmp_path)
    killed_at: list[float] = []

    def kill(number: int, scores: Any, rate: float) -> None:
        if number == 120 and not killed_at:
            os.kill(ranks()[lost].pid, signal.SIGKILL)
            killed_at.append(time.monotonic())

    with pytest.raises(Unavailable, match=r"lost a worker after .* the next attempt resumes from"):
        laid.fit(checkpoints=laid.checkpoints(), on_round=kill)
    assert time.monotonic() - killed_at[0] < BOUND
    assert ranks() == []
    resumed = laid.fit(checkpoints=laid.checkpoints())
    assert (resumed.resumed_from_round or 0) >= 100
    assert digest(resumed) == digest(undisturbed)
    assert resumed.curves == undisturbed.curves


def test_a_worker_in_a_pod_gives_the_model_of_processes_on_one_machine(
    tmp_path: Path, undisturbed: FittedModel, nearby: None
) -> None:
    laid = Laid(tmp_path, run=RUN)
    with worker_of(laid) as worker:
        fitted = laid.fit(checkpoints=laid.checkpoints())
        assert left(worker)[0] == 0
    assert digest(fitted) == digest(undisturbed)


def test_a_worker_in_a_pod_goes_on_from_the_checkpoint_of_a_killed_launch(
    tmp_path: Path, undisturbed: FittedModel, nearby: None
) -> None:
    laid = Laid(tmp_path, run=RUN)

    def end(number: int, scores: Any, rate: float) -> None:
        if number == 120:
            raise KeyboardInterrupt

    with worker_of(laid) as worker:
        with pytest.raises(KeyboardInterrupt):
            laid.fit(checkpoints=laid.checkpoints(), on_round=end)
        assert left(worker)[0] == EXIT_UNAVAILABLE
    again = Laid(tmp_path, run=RUN.replace("/1", "/2"))
    with worker_of(again) as worker:
        resumed = again.fit(checkpoints=again.checkpoints())
        assert left(worker)[0] == 0
    assert resumed.resumed_from_round == 100
    assert digest(resumed) == digest(undisturbed)


def test_workers_stay_for_every_trial_of_a_search_and_leave_after_the_last_fit(tmp_path: Path, nearby: None) -> None:
    laid = Laid(tmp_path, run=RUN)
    team = WorkerTeam(laid.store, str(tmp_path), RUN, join_seconds=BOUND, peer_wait_seconds=30)
    with worker_of(laid) as worker:
        first = team.fit(laid.work, laid.features, last=False)
        second = team.fit(laid.work, laid.features)
        assert left(worker)[0] == 0
    assert digest(first) == digest(second)


def test_a_worker_whose_coordinator_is_killed_leaves_with_the_exit_code_of_a_retry(tmp_path: Path) -> None:
    laid = Laid(tmp_path, endless(), run=RUN)
    command = [sys.executable, "-c", COORDINATOR, str(tmp_path), RUN]
    with worker_of(laid) as worker, subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE) as coordinator:
        assert coordinator.stdout is not None
        assert coordinator.stdout.readline()
        coordinator.kill()
        status, said = left(worker)
    assert status == EXIT_UNAVAILABLE
    assert "lost" in said


def test_why_a_worker_was_refused_is_what_the_coordinator_says(tmp_path: Path, nearby: None) -> None:
    """The worker's copy of the store has other rows than the digest says."""
    laid, other = Laid(tmp_path / "good", run=RUN), Laid(tmp_path / "bad", run=RUN)
    altered = BytesIO()
    rows(count=600).write_parquet(altered)
    other.store.put(store_paths.snapshot(MODEL, laid.work.snapshot, "data.parquet"), altered.getvalue())
    (tmp_path / "good" / "runs").mkdir()
    (tmp_path / "bad" / "runs").symlink_to(tmp_path / "good" / "runs")
    with worker_of(other) as worker:
        with pytest.raises(Refused, match="altered"):
            laid.fit()
        assert left(worker)[0] == EXIT_REFUSED


@pytest.mark.parametrize("workers", [2, 3, 5])
@pytest.mark.parametrize("batch_rows", [7, 100, 10_000])
def test_shares_are_every_nth_row_whatever_the_batches(
    workers: int, batch_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "BATCH_ROWS", batch_rows)
    laid = Laid(tmp_path)
    held = snapshot.open_snapshot(laid.store, MODEL, laid.work.snapshot)
    work = laid.work.model_copy(update={"workers": workers})
    whole = snapshot.encode_part(held.rows("train"), laid.features)
    for rank in range(workers):
        share = rows_of_rank(held, "train", work, rank)
        assert np.array_equal(share.rows, whole.rows[rank::workers], equal_nan=True)
        assert np.array_equal(share.target, whole.target[rank::workers])


def test_fewer_rows_than_workers_are_refused(tmp_path: Path) -> None:
    laid = Laid(tmp_path)
    held = snapshot.open_snapshot(laid.store, MODEL, laid.work.snapshot)
    with pytest.raises(Refused, match=r"part 'validation' has 180 rows for 200 workers"):
        rows_of_rank(held, "validation", laid.work.model_copy(update={"workers": 200}), 0)


def test_a_worker_that_nobody_invites_gives_up(tmp_path: Path) -> None:
    world = FakePorts.make(tmp_path)
    with pytest.raises(Unavailable, match=r"workers\.json did not appear in 0 s"):
        join_training(RUN, world, wait_seconds=0)


def test_a_worker_leaves_when_the_launch_ends_without_a_training(tmp_path: Path) -> None:
    world = FakePorts.make(tmp_path)
    world.store.put(f"{RUN}/manifest.json", b"{}")
    join_training(RUN, world, wait_seconds=0)


def test_an_invitation_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    world = FakePorts.make(tmp_path)
    world.store.put(f"{RUN}/{INVITATION_FILE}", b'{"session": 1}')
    with pytest.raises(Refused, match="is not an invitation; do all pods of the launch run the same image"):
        join_training(RUN, world, wait_seconds=0)


def test_workers_that_never_come_are_waited_for_in_bounds(tmp_path: Path, nearby: None) -> None:
    laid = Laid(tmp_path, run=RUN)
    team = WorkerTeam(laid.store, str(tmp_path), RUN, join_seconds=12, peer_wait_seconds=30)
    started = time.monotonic()
    with pytest.raises(Unavailable, match="the 2 workers of small_delay did not all join in 12 s"):
        team.fit(laid.work, laid.features)
    assert time.monotonic() - started < BOUND
    assert ranks() == []


def test_what_cannot_be_shared_out_is_refused_with_every_reason(tmp_path: Path, shared: Path) -> None:
    estimator = {"kind": "sklearn", "class_path": "sklearn.ensemble.HistGradientBoostingClassifier"}
    declared = by(2, spec(estimator=estimator, cross_validation={"folds": 3}))
    with pytest.raises(Refused, match=r"runner\.train\.workers of small_delay is 2") as refused:
        plan_training(request("s" * 64), FEATURES, ports(tmp_path, shared, declared))
    assert len(refused.value.reasons) == 2


def test_a_number_of_workers_is_part_of_the_order_and_one_needs_no_saying(tmp_path: Path, shared: Path) -> None:
    one, two = (plan_training(request("s" * 64), FEATURES, ports(tmp_path, shared, by(n, spec()))) for n in (1, 2))
    assert "workers" not in one.model_dump_json(by_alias=True)
    assert one.digest() != two.digest()
    assert TrainingPlan.model_validate_json(two.model_dump_json(by_alias=True)).workers == 2


def test_a_declaration_that_xgboost_does_not_accept_is_refused_by_every_number_of_workers(tmp_path: Path) -> None:
    laid = Laid(tmp_path, spec(estimator={"rounds": 2, "parameters": {"nthread": 1, "tree_method": "exact"}}))
    with pytest.raises(Refused, match="XGBoost does not accept the declared training"):
        laid.fit()


def test_an_address_that_no_other_pod_reaches_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed.socket, "gethostbyname", lambda name: "127.0.1.1")
    with pytest.raises(Unavailable, match=r"is 127\.0\.1\.1: no other pod reaches it"):
        distributed.own_address()
