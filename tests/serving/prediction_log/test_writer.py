"""The log keeps every complete record, whatever happens to the disk or to the process that writes it."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import msgspec
import polars as pl
import pytest

from pipelines.serving.prediction_log.compaction import compact_all
from pipelines.serving.prediction_log.writer import (
    RECORD_HEADER,
    LogColumns,
    LoggedAnswer,
    LogWriter,
    complete_segments,
    pack_record,
    read_segment,
)
from pipelines.steps.monitoring.prediction_log import read_log
from pipelines.testing.ports import MemoryStore

MARCH = int(datetime(2013, 3, 1, 23, 59, 59, tzinfo=UTC).timestamp() * 1e6)


class Timer:
    """Holds what was scheduled until told that the time has come."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def __call__(self, seconds: float, callback: Callable[[], None]) -> None:
        self.waiting.append(callback)

    def ring(self) -> None:
        waiting, self.waiting = self.waiting, []
        for callback in waiting:
            callback()


def writer(folder: Path, timer: Timer | None = None, write: Callable[[int, bytes], int] = os.write) -> LogWriter:
    return LogWriter(folder, "0-1", timer or Timer(), write=write)


def answer(log: LogWriter, name: str, *, version: str = "1", at: int = MARCH, features: int = 1) -> None:
    names = [f"x{number}" for number in range(features)]
    columns = log.columns("flight_delay", version, names, ["numeric"] * features)
    values = [[float(number)] for number in range(features)]
    log.append(columns, LoggedAnswer(columns.number, at, at, name, name, 1, 10, [name], values, [0.5]))


def logged(folder: Path, store: Path) -> list[str]:
    compact_all(folder, str(store))
    files = sorted(store.glob("predictions/*/date=*/*.parquet"))
    return [one for path in files for one in pl.read_parquet(path)["entity_id"]]


def test_answers_reach_the_disk_when_the_timer_rings_and_not_before(tmp_path: Path) -> None:
    timer = Timer()
    log = writer(tmp_path, timer)
    answer(log, "a")
    assert list(tmp_path.glob("*.open")) == []
    timer.ring()
    (path,) = tmp_path.glob("*.open")
    assert len(read_segment(path.read_bytes())[0]) == 2
    answer(log, "b")
    assert len(timer.waiting) == 1


def test_a_segment_of_a_dead_worker_is_kept_up_to_its_last_complete_record(tmp_path: Path) -> None:
    log = writer(tmp_path / "wal")
    for name in "abc":
        answer(log, name)
    log.flush()
    (path,) = (tmp_path / "wal").glob("*.open")
    whole = path.read_bytes()
    for cut in range(1, 30):
        path.write_bytes(whole[:-cut])
        records, left = read_segment(path.read_bytes())
        assert len(records) == 3, "the columns and two of three answers"
        assert left > 0
    complete_segments(tmp_path / "wal", "0-1")
    assert logged(tmp_path / "wal", tmp_path / "store") == ["a", "b"]
    assert list((tmp_path / "wal").iterdir()) == []


def test_a_full_disk_drops_and_counts_rows_and_leaves_no_half_record_behind(tmp_path: Path) -> None:
    full = False

    def write(descriptor: int, content: bytes) -> int:
        if not full:
            return os.write(descriptor, content)
        if len(content) > 40:
            return os.write(descriptor, content[:40])
        raise OSError(errno.ENOSPC, "No space left on device")

    log = writer(tmp_path / "wal", write=write)
    answer(log, "a")
    log.flush()
    full = True
    answer(log, "b")
    answer(log, "c")
    log.flush()
    assert log.dropped == 2
    full = False
    answer(log, "d")
    log.rotate()
    assert logged(tmp_path / "wal", tmp_path / "store") == ["a", "d"]
    assert log.dropped == 2


def test_compacting_a_segment_again_after_a_crash_writes_the_same_files(tmp_path: Path) -> None:
    log = writer(tmp_path / "wal")
    answer(log, "a")
    answer(log, "b", at=MARCH + 1_000_000)
    log.rotate()
    (path,) = (tmp_path / "wal").glob("*.seg")
    content = path.read_bytes()
    assert compact_all(tmp_path / "wal", str(tmp_path / "store")) == {
        "files": 2,
        "rows": 2,
        "set_aside": 0,
        "errors": [],
    }
    path.write_bytes(content)
    assert logged(tmp_path / "wal", tmp_path / "store") == ["a", "b"]
    days = sorted(folder.name for folder in (tmp_path / "store" / "predictions" / "flight_delay").iterdir())
    assert days == ["date=2013-03-01", "date=2013-03-02"]


def test_a_store_that_does_not_answer_leaves_the_segments_where_they_are(tmp_path: Path) -> None:
    log = writer(tmp_path / "wal")
    answer(log, "a")
    log.rotate()
    (tmp_path / "store").write_text("a file where a folder should be")
    done = compact_all(tmp_path / "wal", str(tmp_path / "store"))
    assert (done["rows"], len(done["errors"])) == (0, 1)
    (tmp_path / "store").unlink()
    assert logged(tmp_path / "wal", tmp_path / "store") == ["a"]


def test_versions_with_other_features_share_a_file_with_nulls_where_one_has_none(tmp_path: Path) -> None:
    log = writer(tmp_path / "wal")
    answer(log, "a")
    answer(log, "b", version="2", features=2)
    log.rotate()
    compact_all(tmp_path / "wal", str(tmp_path / "store"))
    (path,) = (tmp_path / "store").glob("predictions/*/*/*.parquet")
    frame = pl.read_parquet(path).sort("entity_id")
    assert frame["f_x0"].to_list() == [0.0, 0.0]
    assert frame["f_x1"].to_list() == [None, 1.0]


def test_monitoring_reads_what_callers_got_and_neither_mirrored_rows_nor_probes(tmp_path: Path) -> None:
    log = writer(tmp_path / "wal")
    roles = ["champion", "candidate", "control", "variant", "shadow", "probe"]
    for role in roles:
        columns = log.columns("flight_delay", "2", ["x0"], ["numeric"], role, "r1")
        log.append(
            columns, LoggedAnswer(columns.number, MARCH, MARCH, role, role, 1, 10, [role], [[0.0]], [0.5], 7, False)
        )
    log.rotate()
    compact_all(tmp_path / "wal", str(tmp_path / "store"))
    (path,) = (tmp_path / "store").glob("predictions/*/*/*.parquet")
    frame = pl.read_parquet(path)
    assert sorted(frame["role"]) == sorted(roles)
    assert (set(frame["rollout_id"]), set(frame["bucket"]), set(frame["fallback"])) == ({"r1"}, {7}, {False})
    store, day = MemoryStore(), datetime(2013, 3, 1, tzinfo=UTC).date()
    before = BytesIO()
    frame.filter(role="shadow").drop("role", "rollout_id", "bucket", "fallback").write_parquet(before)
    store.put(f"predictions/flight_delay/date={day}/part-new.parquet", path.read_bytes())
    assert sorted(read_log(store, "flight_delay", [day])["entity_id"]) == sorted(roles[:4])
    store.put(f"predictions/flight_delay/date={day}/part-old.parquet", before.getvalue())
    assert read_log(store, "flight_delay", [day]).height == 5, "a file of before there were roles counts as a whole"


def test_a_segment_of_before_there_were_roles_is_read(tmp_path: Path) -> None:
    old = [["columns", 0, "m", "1", ["x0"], ["numeric"]], ["answer", 0, 1, 1, "q", "c", 1, 10, None, [[0.5]], [0.5]]]
    content = b""
    for record in old:
        body = msgspec.msgpack.encode(record)
        content += RECORD_HEADER.pack(len(body), zlib.crc32(body)) + body
    (columns, answered), left = read_segment(content)
    assert isinstance(columns, LogColumns)
    assert isinstance(answered, LoggedAnswer)
    assert (left, columns.role, columns.rollout_id, answered.bucket, answered.fallback) == (
        0,
        "champion",
        "",
        -1,
        False,
    )


@pytest.mark.parametrize("content", [b"", b"\x00", b"\xff" * 100, pack_record(LogColumns(0, "m", "1", [], []))[:-1]])
def test_reading_anything_never_fails(content: bytes) -> None:
    records, left = read_segment(content)
    assert (records, left) == ([], len(content))
