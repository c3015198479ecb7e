"""Whatever a record of the log holds, it is in Parquet or in a side file, and so is every record beside it."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.serving.prediction_log.compaction import compact_all
from pipelines.serving.prediction_log.segment_scan import scan_segment
from pipelines.serving.prediction_log.side_files import SideFileCounts, restore_former_side_files
from pipelines.serving.prediction_log.writer import LogColumns, LoggedAnswer, decode_record, pack_record
from tests.serving.prediction_log.records import (
    COLUMNS,
    LAST_MOMENT,
    MOMENT,
    answers,
    is_convertible,
    odd_bodies,
    pack_body,
)

SEEDED = settings(
    max_examples=25, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


class Log:
    """A folder with one complete segment, and what becomes of it."""

    def __init__(self, content: bytes, folder: Path) -> None:
        self.wal, self.store = folder / "wal", folder / "store"
        self.wal.mkdir(exist_ok=True)
        (self.wal / "0-1-000000.seg").write_bytes(content)

    def compact(self) -> dict[str, Any]:
        done = compact_all(self.wal, str(self.store))
        assert (done["errors"], list(self.wal.glob("*.seg"))) == ([], [])
        assert done["set_aside"] == SideFileCounts(self.wal).total()
        return done

    def rows(self) -> pl.DataFrame:
        paths = sorted(self.store.glob("predictions/*/date=*/*.parquet"))
        return pl.concat([pl.read_parquet(path) for path in paths], how="diagonal_relaxed") if paths else pl.DataFrame()

    def request_ids(self) -> Counter[str]:
        """Number of rows of each request."""
        rows = self.rows()
        return Counter(rows["request_id"].to_list()) if rows.height else Counter()

    def set_aside(self) -> list[Any]:
        """The records of the side files; None for bytes that are none."""
        return [
            stretch.record
            for path in self.wal.glob("set_aside/*.seg")
            for stretch in scan_segment(path.read_bytes())
            if not isinstance(stretch.record, LogColumns)
        ]


def number(drawn: Sequence[LoggedAnswer]) -> list[LoggedAnswer]:
    """The same answers, each with its position as request id."""
    return [msgspec.structs.replace(answer, request_id=str(place)) for place, answer in enumerate(drawn)]


def rows_of(drawn: Sequence[LoggedAnswer]) -> Counter[str]:
    return Counter({answer.request_id: len(answer.predictions) for answer in drawn})


def good(name: str, **changes: Any) -> LoggedAnswer:
    answer = LoggedAnswer(0, MOMENT, MOMENT, name, name, 1, 10, [name], [["UA"], [500.0]], [0.5])
    return msgspec.structs.replace(answer, **changes)


@SEEDED
@given(st.lists(answers(), min_size=1, max_size=12))
def test_each_answer_is_written_if_it_fits_and_set_aside_if_not(drawn: list[LoggedAnswer]) -> None:
    drawn = number(drawn)
    with tempfile.TemporaryDirectory() as folder:
        log = Log(b"".join(map(pack_record, [COLUMNS, *drawn])), Path(folder))
        log.compact()
        fitting = [answer for answer in drawn if is_convertible(answer)]
        assert log.request_ids() == rows_of(fitting)
        ids = sorted(record.request_id for record in log.set_aside())
        assert ids == sorted(answer.request_id for answer in drawn if not is_convertible(answer))


@SEEDED
@given(st.lists(st.one_of(answers().filter(is_convertible), odd_bodies), min_size=1, max_size=12))
def test_a_record_of_any_bytes_keeps_no_answer_from_being_written(drawn: list[LoggedAnswer | bytes]) -> None:
    fitting = number([one for one in drawn if isinstance(one, LoggedAnswer)])
    left = iter(fitting)
    records, odd = [pack_record(COLUMNS)], 0
    for one in drawn:
        if isinstance(one, bytes) and not _is_record(one):
            records.append(pack_body(one))
            odd += 1
        elif not isinstance(one, bytes):
            records.append(pack_record(next(left)))
    with tempfile.TemporaryDirectory() as folder:
        log = Log(b"".join(records), Path(folder))
        assert log.compact()["set_aside"] == odd
        assert log.request_ids() == rows_of(fitting)


def _is_record(body: bytes) -> bool:
    try:
        decode_record(body)
    except (ValueError, RecursionError):
        return False
    return True


@SEEDED
@given(st.integers(2, 9), st.integers(0, 2**32))
def test_damaged_bytes_cost_the_records_they_lie_in_and_no_other(count: int, seed: int) -> None:
    records = [pack_record(good(str(place))) for place in range(count)]
    drawn = random.Random(seed)
    place = drawn.randrange(count)
    damaged = bytearray(records[place])
    start = drawn.randrange(len(damaged))
    for position in range(start, min(len(damaged), start + drawn.randrange(1, 20))):
        damaged[position] ^= drawn.randrange(1, 256)
    content = b"".join([pack_record(COLUMNS), *records[:place], bytes(damaged), *records[place + 1 :]])
    with tempfile.TemporaryDirectory() as folder:
        log = Log(content, Path(folder))
        log.compact()
        assert set(log.request_ids()) == {str(other) for other in range(count) if other != place}
        is_last = place == count - 1  # an unfinished record looks like one whose length was altered
        assert SideFileCounts(log.wal).total() in ({0, 1} if is_last else {1})


@pytest.mark.parametrize(
    "body",
    [b"\x91\xa2\x00\x80", b"\x91" * 5000, b"\xc0", b"\x92\xa6answer", b"\x91\xa7another", b"\x80"],
    ids=["a tag that is not UTF-8", "nested too deeply", "null", "cut short", "another kind of record", "a map"],
)
def test_a_body_that_is_no_record_is_set_aside_alone(tmp_path: Path, body: bytes) -> None:
    records = [pack_record(COLUMNS), pack_record(good("a")), pack_body(body), pack_record(good("b"))]
    log = Log(b"".join(records), tmp_path)
    assert log.compact() == {"files": 1, "rows": 2, "set_aside": 1, "errors": []}
    (path,) = log.wal.glob("set_aside/*.seg")
    assert path.read_bytes() == pack_body(body)


FAULTS = [
    ("after the year 9999", good("odd", prediction_time=LAST_MOMENT + 1), "prediction_time lies outside"),
    ("before the year 1", good("odd", prediction_time=-(2**62)), "prediction_time lies outside"),
    ("logged after the year 9999", good("odd", logged_at=2**63), "logged_at lies outside"),
    ("a column short", good("odd", values=[["UA"]]), "it has 1 columns, its version has 2"),
    ("a value too many", good("odd", values=[["UA", "AA"], [1.0]]), "column 'carrier' has 2 values for 1 predictions"),
    ("a text for a number", good("odd", values=[["UA"], ["far"]]), "column 'distance' is numeric and holds"),
    ("a number for a text", good("odd", values=[[1], [1.0]]), "column 'carrier' is categorical and holds"),
    ("an id too many", good("odd", ids=["a", "b"]), "it has 2 ids for 1 predictions"),
    ("columns of no version", good("odd", columns=7), "its columns are not in the segment"),
    ("a latency beyond 64 bits", good("odd", latency_us=2**63), "it cannot be converted"),
]


@pytest.mark.parametrize(("odd", "fault"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_a_side_file_keeps_the_record_and_says_what_is_wrong_without_its_values(
    tmp_path: Path, odd: LoggedAnswer, fault: str
) -> None:
    log = Log(b"".join(map(pack_record, [COLUMNS, good("a"), odd, good("b")])), tmp_path)
    assert log.compact() == {"files": 1, "rows": 2, "set_aside": 1, "errors": []}
    assert log.rows()["entity_id"].to_list() == ["a", "b"]
    assert log.set_aside() == [odd]
    (path,) = log.wal.glob("set_aside/*.json")
    summary = json.loads(path.read_bytes())
    model = "" if odd.columns else "flight_delay"
    assert (summary["records"], summary["rows"]) == ({model: 1}, 1)
    (said,) = summary["faults"]
    assert said.startswith(fault)
    assert not [text for text in ("UA", "far", "odd") if text in said]


def test_a_model_whose_name_is_no_folders_writes_nowhere_and_keeps_no_other_back(tmp_path: Path) -> None:
    names = ["../escaped", "", ".", "a/b", "x" * 300, "\x00"]
    records: list[Any] = [COLUMNS, good("a")]
    for place, name in enumerate(names, start=1):
        records += [msgspec.structs.replace(COLUMNS, number=place, model=name), good(name, columns=place)]
    log = Log(b"".join(map(pack_record, records)), tmp_path)
    assert log.compact()["set_aside"] == len(names)
    assert [path.name for path in (log.store / "predictions").iterdir()] == ["flight_delay"]
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("wal", "store")] == []


def test_a_store_that_takes_one_models_files_and_not_anothers_gets_those_that_it_takes(tmp_path: Path) -> None:
    other = msgspec.structs.replace(COLUMNS, number=1, model="second")
    log = Log(b"".join(map(pack_record, [COLUMNS, other, good("a"), good("b", columns=1)])), tmp_path)
    (log.store / "predictions").mkdir(parents=True)
    (log.store / "predictions" / "flight_delay").write_text("a file where a folder should be")
    done = compact_all(log.wal, str(log.store))
    assert (done["rows"], len(done["errors"]), len(list(log.wal.glob("*.seg")))) == (0, 1, 1)
    assert log.rows()["entity_id"].to_list() == ["b"]
    (log.store / "predictions" / "flight_delay").unlink()
    log.compact()
    assert sorted(log.rows()["entity_id"]) == ["a", "b"]


def test_a_disk_that_takes_no_side_file_keeps_the_segment_and_no_other_record_back(tmp_path: Path) -> None:
    log = Log(b"".join(map(pack_record, [COLUMNS, good("a"), good("odd", ids=["a", "b"])])), tmp_path)
    (log.wal / "set_aside").write_text("a file where a folder should be")
    done = compact_all(log.wal, str(log.store))
    assert (len(done["errors"]), len(list(log.wal.glob("*.seg")))) == (1, 1)
    assert log.rows()["entity_id"].to_list() == ["a"]
    (log.wal / "set_aside").unlink()
    assert log.compact()["set_aside"] == 1
    assert log.rows()["entity_id"].to_list() == ["a"]


def test_a_side_file_that_is_moved_back_is_converted_once_more_beside_what_was_written(tmp_path: Path) -> None:
    log = Log(b"".join(map(pack_record, [COLUMNS, good("a"), good("odd", ids=["a", "b"])])), tmp_path)
    log.compact()
    counts = SideFileCounts(log.wal)
    assert (counts.total(), counts.of_model("flight_delay"), counts.of_model("second")) == (1, 1, 0)
    (path,) = log.wal.glob("set_aside/*.seg")
    path.write_bytes(path.read_bytes().replace(pack_record(good("odd", ids=["a", "b"])), pack_record(good("odd"))))
    shutil.move(path, log.wal / path.name)
    assert counts.total() == 0
    log.compact()
    assert sorted(log.rows()["entity_id"]) == ["a", "odd"]


def test_records_of_a_version_with_a_columns_number_used_again_go_with_their_own_columns(tmp_path: Path) -> None:
    again = LogColumns(0, "flight_delay", "2", ["hour"], ["numeric"])
    second = good("b", values=[[7]])
    log = Log(b"".join(map(pack_record, [COLUMNS, good("a"), again, second])), tmp_path)
    log.compact()
    assert log.rows().select("entity_id", "version").rows() == [("a", "1"), ("b", "2")]


def test_a_segment_that_an_earlier_version_kept_whole_is_written_behind_its_damage_too(tmp_path: Path) -> None:
    records = [bytearray(pack_record(record)) for record in (COLUMNS, good("a"), good("b"), good("c"))]
    records[2][30] ^= 0xFF
    log = Log(b"", tmp_path)
    (log.wal / "damaged").mkdir()
    (log.wal / "0-1-000000.seg").rename(log.wal / "damaged" / "0-1-000000.seg")
    (log.wal / "damaged" / "0-1-000000.seg").write_bytes(b"".join(records))
    before = log.store / f"predictions/flight_delay/date={datetime(2013, 3, 1, tzinfo=UTC):%Y-%m-%d}"
    before.mkdir(parents=True)
    (before / "part-0-1-000000.parquet").write_bytes(b"the first record, as it was written")
    restore_former_side_files(log.wal)
    log.compact()
    assert log.rows()["entity_id"].to_list() == ["a", "c"]
    assert SideFileCounts(log.wal).total() == 1
