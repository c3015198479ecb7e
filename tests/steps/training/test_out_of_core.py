"""Data larger than memory trains by declaration alone: in batches, with the rows and the guarantees of any training."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import date, timedelta
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipelines import store_paths
from pipelines.errors import Refused, Unavailable
from pipelines.messages.evaluation import EvaluateRequest
from pipelines.messages.release import BundleRequest
from pipelines.messages.training import ReproduceRequest, SnapshotRequest, SnapshotResult
from pipelines.rules.reproducible_training import judge_training
from pipelines.settings import REPOSITORY
from pipelines.spec.model import ModelSpec, OutOfCore
from pipelines.spec.split import SplitSpec
from pipelines.steps import build_bundle, evaluate_model, reproduce_model, train_model
from pipelines.steps.drift import column_shapes
from pipelines.steps.snapshot.spool import spool, temporary_folder
from pipelines.steps.take_snapshot import count_verified_rows, read_snapshot, run
from pipelines.steps.training.checkpoints import INDEX_FILE
from pipelines.steps.training.plan import TrainingPlan, execute_plan, open_checkpoints, plan_training
from pipelines.steps.training.snapshot import open_snapshot
from pipelines.tables.encoding import encode
from pipelines.tables.profile import TrainingProfile, histogram, profile_frame
from pipelines.testing.ports import FakePorts, MemoryStore
from tests.steps.flights_by_hand import model, random_days, utc
from tests.steps.registered_models import digests
from tests.steps.small_training import FEATURES, START, FolderStore, keep_snapshot, ports, request, rows, spec
from tests.steps.test_take_snapshot import given

MODEL = "small_delay"
FIRST = date(2013, 6, 3)
END = utc("2013-06-08 04:00")
NAME = "flight_delay"
SMALL = {"out_of_core": OutOfCore(batch_rows=100)}


def taken(tmp_path: Path, spec: ModelSpec | None = None, per_day: int = 150) -> tuple[FakePorts, SnapshotResult]:
    ports = given(tmp_path, random_days(11, FIRST, days=4, per_day=per_day), spec)
    return ports, run(SnapshotRequest(model=NAME, as_of=END), ports)


def test_a_snapshot_in_batches_holds_the_same_rows_in_the_same_parts_as_one_table(tmp_path: Path) -> None:
    (whole, one), (batched, many) = taken(tmp_path), taken(tmp_path, model(**SMALL))
    keys = ["prediction_time", "carrier", "flight", "part"]
    assert_frame_equal(
        read_snapshot(whole.store, NAME, one.digest).sort(keys),
        read_snapshot(batched.store, NAME, many.digest).sort(keys),
    )
    assert many.parts == one.parts
    assert (many.rows, many.features, many.latest_label_time) == (one.rows, one.features, one.latest_label_time)
    assert one.batch_rows is None
    assert many.batch_rows == 100


def test_its_files_hold_batch_rows_of_one_part_each_and_bear_one_digest(tmp_path: Path) -> None:
    ports, result = taken(tmp_path, model(**SMALL))
    snapshot = open_snapshot(ports.store, NAME, result.digest)
    for part, facts in result.parts.items():
        batches = list(snapshot.batches(part))
        assert [batch.height for batch in batches[:-1]] == [100] * (len(batches) - 1)
        assert sum(batch.height for batch in batches) == facts.rows
        assert {value for batch in batches for value in batch["part"]} == {part}
    assert len(list(snapshot.batches("train"))) > 2
    again = taken(tmp_path, model(**SMALL))
    assert again[1] == result
    assert again[0].store.files == ports.store.files


@pytest.mark.parametrize("seed", range(5))
def test_no_row_of_a_part_is_later_than_one_of_the_next_wherever_the_days_are_cut(tmp_path: Path, seed: int) -> None:
    split = SplitSpec(train=0.5, validation=0.3, test=0.2)
    frames = random_days(seed, FIRST, days=4, per_day=70)
    results = []
    for declared in (model(split=split), model(split=split, **SMALL)):
        ports = given(tmp_path, frames, declared)
        results.append(run(SnapshotRequest(model=NAME, as_of=END), ports))
    assert results[0].parts == results[1].parts
    train, validation, test = (results[1].parts[part] for part in ("train", "validation", "test"))
    assert train.last < validation.first <= validation.last < test.first


@pytest.mark.parametrize("batched", [False, True])
def test_batches_give_every_row_of_a_part_once_in_pieces_of_the_asked_size(tmp_path: Path, batched: bool) -> None:
    ports, result = taken(tmp_path, model(**(SMALL if batched else {})))
    snapshot = open_snapshot(ports.store, NAME, result.digest)
    for part in result.parts:
        batches = list(snapshot.batches(part, ["target", "flight"], batch_rows=64))
        assert all(batch.height <= 64 and batch.columns == ["target", "flight"] for batch in batches)
        expected = pl.concat(snapshot.batches(part)).select("target", "flight")
        assert_frame_equal(pl.concat(batches), expected)
        assert expected.height == result.parts[part].rows
    with pytest.raises(Refused, match="wind"):
        list(snapshot.batches("train", ["wind"]))


def altered(store: MemoryStore, path: str) -> None:
    frame = pl.read_parquet(BytesIO(store.files[path]))
    content = BytesIO()
    frame.with_columns(target=1 - pl.col("target")).write_parquet(content)
    store.files[path] = content.getvalue()


def test_an_altered_file_is_refused_when_it_is_read(tmp_path: Path) -> None:
    ports, result = taken(tmp_path, model(**SMALL))
    altered(ports.store, store_paths.snapshot(NAME, result.digest, "train-00001.parquet"))
    snapshot = open_snapshot(ports.store, NAME, result.digest)
    batches = snapshot.batches("train", ["target"])
    next(batches)
    with pytest.raises(Refused, match=r"train-00001.parquet was altered"):
        next(batches)


def test_a_list_that_names_other_files_no_longer_bears_the_name(tmp_path: Path) -> None:
    ports, result = taken(tmp_path, model(**SMALL))
    path = store_paths.snapshot(NAME, result.digest, "files.json")
    ports.store.files[path] = ports.store.files[path].replace(b'"part": "test"', b'"part": "train"', 1)
    with pytest.raises(Refused, match=r"files.json was altered"):
        open_snapshot(ports.store, NAME, result.digest)


def test_a_file_whose_bytes_and_sha256_were_both_altered_is_refused_by_its_content(tmp_path: Path) -> None:
    ports, result = taken(tmp_path, model(**SMALL))
    path = store_paths.snapshot(NAME, result.digest, "test-00000.parquet")
    before = hashlib.sha256(ports.store.files[path]).hexdigest()
    altered(ports.store, path)
    after = hashlib.sha256(ports.store.files[path]).hexdigest()
    listed = store_paths.snapshot(NAME, result.digest, "files.json")
    ports.store.files[listed] = ports.store.files[listed].replace(before.encode(), after.encode())
    with pytest.raises(Refused, match="content is not what"):
        next(open_snapshot(ports.store, NAME, result.digest).batches("test"))


def test_no_labelled_row_gives_an_empty_snapshot_and_not_an_error(tmp_path: Path) -> None:
    ports = given(tmp_path, spec=model(**SMALL))
    result = run(SnapshotRequest(model=NAME, as_of=utc("2013-06-01 00:00")), ports)
    assert result.rows == 0
    assert list(open_snapshot(ports.store, NAME, result.digest).batches("train")) == []


# ---- training ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


def keep_batches(store: MemoryStore, frame: pl.DataFrame, batch_rows: int = 100) -> str:
    """Write ``frame`` as ``take_snapshot`` does out of core; returns the digest."""
    days = frame.drop("part").with_columns(day=pl.col("prediction_time").dt.date()).partition_by("day")
    with temporary_folder() as folder:
        made = spool(
            (day.drop("day") for day in days),
            SplitSpec(),
            batch_rows=batch_rows,
            classification=frame["target"].n_unique() == 2,
            folder=Path(folder),
        )
        digest = made.list.digest()
        for file in made.list.files:
            store.put(store_paths.snapshot(MODEL, digest, file.name), (made.folder / file.name).read_bytes())
    store.put(store_paths.snapshot(MODEL, digest, "files.json"), made.list.model_dump_json().encode())
    record = SnapshotResult(
        model=MODEL,
        as_of=START + timedelta(days=60),
        digest=digest,
        uri=store_paths.snapshot(MODEL, digest, "files.json"),
        rows=made.rows,
        parts=made.parts,
        features=FEATURES,
        table_versions={"features/small": 1},
        batch_rows=batch_rows,
    )
    store.put(store_paths.snapshot(MODEL, digest, "snapshot.json"), record.model_dump_json(by_alias=True).encode())
    return digest


def order(world: FakePorts, snapshot: str) -> TrainingPlan:
    return plan_training(request(snapshot), FEATURES, world)


def out_of_core(problem: str = "classification", **training: Any) -> ModelSpec:
    return spec(problem, out_of_core={"batch_rows": 100}, **training)


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where caches go; at the end of a training it is empty."""
    folder = tmp_path / "local"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.mark.parametrize("problem", ["classification", "regression"])
def test_a_training_out_of_core_agrees_with_one_in_memory(
    tmp_path: Path, shared: Path, local: Path, problem: str
) -> None:
    frame = rows(problem, 3000)
    whole, batched = (
        ports(tmp_path / name, _made(tmp_path / name, shared), declared)
        for name, declared in (("whole", spec(problem)), ("batched", out_of_core(problem)))
    )
    one = order(whole, keep_snapshot(whole.store, frame))
    many = order(batched, keep_batches(batched.store, frame))
    in_core = execute_plan(one, open_snapshot(whole.store, MODEL, one.request.snapshot))
    batches = open_snapshot(batched.store, MODEL, many.request.snapshot)
    assert len(list(batches.batches("train"))) == 21
    filled = execute_plan(many, batches)
    assert filled.features == in_core.features
    test = encode(frame.filter(part="test"), filled.features)
    mine, theirs = filled.fitted.predict(test), in_core.fitted.predict(test)
    assert np.corrcoef(mine, theirs)[0, 1] > 0.99
    metric = "validation_roc_auc" if problem == "classification" else "validation_r2"
    assert filled.metrics[metric] == pytest.approx(in_core.metrics[metric], abs=0.01)
    assert not list(local.iterdir())


def test_few_distinct_values_give_the_very_model_of_a_training_in_memory(
    tmp_path: Path, shared: Path, local: Path
) -> None:
    """Where every distinct value fits into a bin, the sketch of batches loses nothing."""
    frame = rows(count=3000).with_columns((pl.col("distance", "wind_speed") / 10).round() * 10)
    whole, batched = (
        ports(tmp_path / name, _made(tmp_path / name, shared), declared)
        for name, declared in (("whole", spec()), ("batched", out_of_core()))
    )
    one = order(whole, keep_snapshot(whole.store, frame))
    many = order(batched, keep_batches(batched.store, frame))
    in_core = execute_plan(one, open_snapshot(whole.store, MODEL, one.request.snapshot))
    filled = execute_plan(many, open_snapshot(batched.store, MODEL, many.request.snapshot))
    assert filled.fitted.native == in_core.fitted.native
    assert filled.metrics == pytest.approx(in_core.metrics)
    assert filled.deployed.native == in_core.deployed.native != in_core.fitted.native


class Stopped(Exception):
    pass


@pytest.mark.parametrize("at", [12, 25, 39])
def test_stopped_anywhere_and_resumed_it_ends_with_the_same_bytes(
    tmp_path: Path, shared: Path, local: Path, at: int
) -> None:
    world = ports(tmp_path, shared, out_of_core())
    filled_order = order(world, keep_batches(world.store, rows(count=3000)))
    snapshot = open_snapshot(world.store, MODEL, filled_order.request.snapshot)
    undisturbed = execute_plan(filled_order, snapshot)

    def stop(number: int, scores: Mapping[str, float], rate: float) -> None:
        if number == at:
            raise Stopped

    with pytest.raises(Stopped):
        execute_plan(filled_order, snapshot, checkpoints=open_checkpoints(filled_order, world), on_round=stop)
    resumed = execute_plan(filled_order, snapshot, checkpoints=open_checkpoints(filled_order, world))
    assert resumed.fitted.resumed_from_round == at // 10 * 10
    assert resumed.fitted.native == undisturbed.fitted.native
    assert resumed.fitted.curves == undisturbed.fitted.curves
    assert resumed.deployed.native == undisturbed.deployed.native
    assert not list(local.iterdir())


def _is_resumable(store: FolderStore) -> bool:
    return any(path.endswith(f"/{INDEX_FILE}") for path in store.list(f"checkpoints/{MODEL}/"))


def test_a_training_killed_by_the_system_resumes_with_the_same_bytes_and_leaves_no_cache(
    tmp_path: Path, shared: Path, local: Path
) -> None:
    slow = out_of_core(estimator={"rounds": 60, "parameters": {"max_depth": 5, "subsample": 0.8, "nthread": 1}})
    frame = rows(count=3000)
    undisturbed = ports(tmp_path / "a", _made(tmp_path / "a", shared), slow)
    expected = train_model.run(request(keep_batches(undisturbed.store, frame)), undisturbed)
    store = FolderStore(tmp_path / "b" / "store")
    world = ports(tmp_path / "b", _made(tmp_path / "b", shared), slow, store)
    asked = request(keep_batches(store, frame))
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "b"), str(shared), asked.model_dump_json(by_alias=True)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(local)},
    )
    deadline = time.monotonic() + 300
    while not _is_resumable(store) and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert [path.name for path in local.iterdir() if path.name.endswith(f"-{child.pid}")]

    result = train_model.run(asked, world)
    assert result.resumed_from_round is not None
    assert result.model_digest == expected.model_digest
    assert result.metrics == expected.metrics
    assert not list(local.glob("airworthy-*"))


CHILD = """
import sys
from pathlib import Path
from pipelines.messages.training import TrainRequest
from pipelines.steps import train_model
from tests.steps.small_training import FolderStore, ports, spec
home, shared = Path(sys.argv[1]), Path(sys.argv[2])
slow = spec(
    estimator={"rounds": 60, "parameters": {"max_depth": 5, "subsample": 0.8, "nthread": 1}},
    out_of_core={"batch_rows": 100},
)
request = TrainRequest.model_validate_json(sys.argv[3])
train_model.run(request, ports(home, shared, slow, FolderStore(home / "store")))
"""


def _made(folder: Path, shared: Path) -> Path:
    folder.mkdir()
    return shared


def test_a_whole_training_is_registered_profiled_and_reproduced(tmp_path: Path, shared: Path, local: Path) -> None:
    world = ports(tmp_path, shared, out_of_core())
    frame = rows(count=3000)
    result = train_model.run(request(keep_batches(world.store, frame)), world)
    assert judge_training(result, world.catalog.model(MODEL)).passed
    assert result.notes == []
    profile = TrainingProfile.model_validate_json(world.store.get(store_paths.training_profile(MODEL, result.version)))
    whole = profile_frame(frame, categorical=["carrier"], numeric=["distance"])
    assert profile.rows == frame.height
    assert profile.categorical["carrier"] == whole.categorical["carrier"]
    merged, exact = profile.numeric["distance"], whole.numeric["distance"]
    assert (merged.count, merged.minimum, merged.maximum) == (exact.count, exact.minimum, exact.maximum)
    assert merged.std == pytest.approx(exact.std)
    edges = np.quantile(frame["distance"].to_numpy(), np.linspace(0, 1, 11))
    assert np.allclose(histogram(merged, edges), histogram(exact, edges), atol=frame.height / 128)
    found = reproduce_model.run(ReproduceRequest(model=MODEL, version=result.version), world)
    assert found.reproduced_digest == result.model_digest
    assert found.differences == []
    again = train_model.run(request(result.snapshot), world)
    assert (again.version, again.model_digest, again.notes) == (result.version, result.model_digest, [])


def test_metrics_of_a_part_larger_than_the_sample_say_on_how_many_rows_they_are(
    tmp_path: Path, shared: Path, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = ports(tmp_path, shared, out_of_core())
    asked = order(world, keep_batches(world.store, rows(count=3000)))
    snapshot = open_snapshot(world.store, MODEL, asked.request.snapshot)
    everything = execute_plan(asked, snapshot)
    monkeypatch.setattr("pipelines.steps.training.plan.SAMPLE_ROWS", 1000)
    sampled = execute_plan(asked, snapshot)
    assert sampled.notes == ["metrics of train are those of 1000 of its 2100 rows, drawn evenly over time"]
    assert sampled.fitted.native == everything.fitted.native
    assert sampled.metrics["train_roc_auc"] != everything.metrics["train_roc_auc"]
    assert sampled.metrics["train_roc_auc"] == pytest.approx(everything.metrics["train_roc_auc"], abs=0.05)
    assert sampled.metrics["validation_roc_auc"] == everything.metrics["validation_roc_auc"]


def test_a_sample_has_an_equal_share_of_every_file_and_is_the_same_again(tmp_path: Path, shared: Path) -> None:
    store = MemoryStore()
    digest = keep_batches(store, rows(count=3000))
    files = open_snapshot(store, MODEL, digest).files
    assert files is not None
    sample = files.sample(420, "train")
    assert sample.height == 420
    assert_frame_equal(sample, files.sample(420, "train"))
    assert sample["flight"].is_unique().all()
    shares = [file.sum() for file in ((sample["flight"] // 100 == number) for number in range(21))]
    assert shares == [20] * 21


def test_a_snapshot_of_one_table_is_not_trained_out_of_core(tmp_path: Path, shared: Path) -> None:
    world = ports(tmp_path, shared, out_of_core())
    asked = order(world, keep_snapshot(world.store, rows()))
    with pytest.raises(Refused, match=r"is one table, and small_delay declares training.out_of_core"):
        execute_plan(asked, open_snapshot(world.store, MODEL, asked.request.snapshot))


def test_rows_unfit_for_a_training_are_refused_batch_by_batch_with_every_reason(tmp_path: Path, shared: Path) -> None:
    world = ports(tmp_path, shared, out_of_core("regression"))
    odd = rows("regression").with_columns(target=pl.when(pl.col("flight") % 100 == 7).then(None).otherwise("target"))
    asked = order(world, keep_batches(world.store, odd.drop("wind_speed")))
    with pytest.raises(Refused, match="cannot be trained on") as refused:
        execute_plan(asked, open_snapshot(world.store, MODEL, asked.request.snapshot))
    assert refused.value.reasons == ["column 'wind_speed' is missing"]
    asked = order(world, keep_batches(world.store, odd))
    with pytest.raises(Refused, match="cannot be trained on") as refused:
        execute_plan(asked, open_snapshot(world.store, MODEL, asked.request.snapshot))
    assert refused.value.reasons == ["12 rows have no target"]


def test_too_little_room_on_the_local_disk_is_said_before_the_first_round(
    tmp_path: Path, shared: Path, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = ports(tmp_path, shared, out_of_core())
    asked = order(world, keep_batches(world.store, rows()))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(Unavailable, match="point TMPDIR to a larger disk"):
        execute_plan(asked, open_snapshot(world.store, MODEL, asked.request.snapshot))
    assert not list(local.iterdir())


def test_all_that_follows_a_training_reads_the_snapshot_in_batches(tmp_path: Path, shared: Path, local: Path) -> None:
    world = ports(tmp_path, shared, out_of_core())
    frame = rows(count=3000)
    digest = keep_batches(world.store, frame)
    version = train_model.run(request(digest), world).version
    trained = digests(world, MODEL, version)
    asked = EvaluateRequest(model=MODEL, version=version, digests={version: trained})
    evaluated = evaluate_model.run(asked, world)
    assert (evaluated.rows, evaluated.notes) == (450, [])
    assert evaluated.first is not None
    assert evaluated.trained_until is not None
    assert evaluated.first > evaluated.trained_until == START + timedelta(minutes=10 * 2549)
    again = evaluate_model.run(asked.model_copy(update={"champion": version}), world)
    assert again.champion_trained_until == evaluated.trained_until
    assert again.comparison is not None
    bundle = build_bundle.run(BundleRequest(model=MODEL, version=version, digests=trained), world)
    assert bundle.parity_rows > 1000
    live = world.registry.get(MODEL, version)
    reference, held = column_shapes._training_rows(live, ["distance"], world)
    assert (reference.height, held) == (2000, 2550)
    assert count_verified_rows(world.store, MODEL, digest) == 3000
    altered(world.store, store_paths.snapshot(MODEL, digest, "train-00003.parquet"))
    with pytest.raises(Refused, match="was altered"):
        count_verified_rows(world.store, MODEL, digest)


def test_an_evaluation_of_more_test_rows_than_a_sample_says_so(
    tmp_path: Path, shared: Path, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = ports(tmp_path, shared, out_of_core())
    version = train_model.run(request(keep_batches(world.store, rows(count=3000))), world).version
    trained = digests(world, MODEL, version)
    asked = EvaluateRequest(model=MODEL, version=version, digests={version: trained})
    everything = evaluate_model.run(asked, world)
    monkeypatch.setattr("pipelines.steps.evaluation.rows.SAMPLE_ROWS", 300)
    sampled = evaluate_model.run(asked, world)
    assert sampled.rows == 300
    assert sampled.notes == ["measured on 300 of 450 test rows, drawn evenly over time"]
    assert sampled.metrics["roc_auc"] == pytest.approx(everything.metrics["roc_auc"], abs=0.1)
    assert sampled == evaluate_model.run(asked, world)
