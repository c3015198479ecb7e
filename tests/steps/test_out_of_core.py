"""Data larger than memory trains by declaration alone: in batches, with the rows and the guarantees of any training."""

from __future__ import annotations

from datetime import date
from io import BytesIO
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipelines import layout
from pipelines.errors import Refused
from pipelines.messages import SnapshotRequest, SnapshotResult
from pipelines.spec import ModelSpec
from pipelines.spec.model import OutOfCore, Split
from pipelines.steps.take_snapshot import read_snapshot, run
from pipelines.steps.training.snapshot import open_snapshot
from pipelines.testing import FakePorts, MemoryStore
from tests.steps.flights_by_hand import model, random_days, utc
from tests.steps.test_take_snapshot import given

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
    split = Split(train=0.5, validation=0.3, test=0.2)
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
    altered(ports.store, layout.snapshot(NAME, result.digest, "train-00001.parquet"))
    snapshot = open_snapshot(ports.store, NAME, result.digest)
    batches = snapshot.batches("train", ["target"])
    next(batches)
    with pytest.raises(Refused, match=r"train-00001.parquet was altered"):
        next(batches)


def test_a_list_that_names_other_files_no_longer_bears_the_name(tmp_path: Path) -> None:
    ports, result = taken(tmp_path, model(**SMALL))
    path = layout.snapshot(NAME, result.digest, "files.json")
    ports.store.files[path] = ports.store.files[path].replace(b'"part": "test"', b'"part": "train"', 1)
    with pytest.raises(Refused, match=r"files.json was altered"):
        open_snapshot(ports.store, NAME, result.digest)


def test_a_file_whose_bytes_and_sha256_were_both_altered_is_refused_by_its_content(tmp_path: Path) -> None:
    import hashlib

    ports, result = taken(tmp_path, model(**SMALL))
    path = layout.snapshot(NAME, result.digest, "test-00000.parquet")
    before = hashlib.sha256(ports.store.files[path]).hexdigest()
    altered(ports.store, path)
    after = hashlib.sha256(ports.store.files[path]).hexdigest()
    listed = layout.snapshot(NAME, result.digest, "files.json")
    ports.store.files[listed] = ports.store.files[listed].replace(before.encode(), after.encode())
    with pytest.raises(Refused, match="content is not what"):
        next(open_snapshot(ports.store, NAME, result.digest).batches("test"))


def test_no_labelled_row_gives_an_empty_snapshot_and_not_an_error(tmp_path: Path) -> None:
    ports = given(tmp_path, spec=model(**SMALL))
    result = run(SnapshotRequest(model=NAME, as_of=utc("2013-06-01 00:00")), ports)
    assert result.rows == 0
    assert list(open_snapshot(ports.store, NAME, result.digest).batches("train")) == []
