"""A file is split by the event times of its rows: each row is in one partition, as it was written, and none is lost."""

from __future__ import annotations

import gzip
import io
from datetime import date
from typing import Any

import polars as pl
import pytest

from pipelines.spec.partitions import PartitionCalendar
from pipelines.spec.source import SourceSpec
from pipelines.steps.ingestion.contract import read_delivery
from pipelines.steps.ingestion.file_split import split_file

CALENDAR = PartitionCalendar("day", date(1997, 1, 1), date(1997, 1, 31))
COLUMNS = {"customer": "string", "bought_on": {"type": "date", "format": "%Y%m%d"}, "note": "string or null"}


def source(path: str = "*.csv", **changes: Any) -> SourceSpec:
    files = {"path": f"{{source}}/{{partition}}/{path}", **changes.pop("files", {})}
    return SourceSpec.model_validate(
        {"files": files, "key": "row", "event_time": "bought_on", "columns": COLUMNS, "empty": "allowed", **changes}
    )


HEADER = "customer,bought_on,note\n"
FIRST = '0001,19970103,"two\nlines"\n'
SECOND = "0002,19970101,\r\n"
THIRD = "0003,19970103,c"


def test_each_record_stands_in_its_partition_as_it_was_written_below_the_header() -> None:
    parts, faults = split_file("a.csv", (HEADER + FIRST + SECOND + THIRD).encode(), source(), CALENDAR)
    assert faults == []
    assert {key: (part.content.decode(), part.rows) for key, part in parts.items()} == {
        "1997-01-01": (HEADER + SECOND, 1),
        "1997-01-02": (HEADER, 0),
        "1997-01-03": (HEADER + FIRST + THIRD + "\n", 2),
    }
    days = source(empty="refused")
    assert set(split_file("a.csv", (HEADER + FIRST + SECOND).encode(), days, CALENDAR)[0]) == {
        "1997-01-01",
        "1997-01-03",
    }


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("a.csv.gz", {"encoding": "utf-16"}),
        ("a.csv.zst", {}),
        ("a.jsonl", {"format": "jsonl"}),
        ("a.parquet", {"format": "parquet"}),
        ("a.txt", {"delimiter": "whitespace", "header": False}),
    ],
)
def test_the_rows_of_all_parts_are_those_of_the_file_in_every_format(name: str, files: dict[str, Any]) -> None:
    rows = pl.DataFrame(
        {"customer": ["0001", "0002", "ä"], "bought_on": ["19970103", "19970101", "19970103"], "note": ["x", "y", "x"]}
    )
    if name.endswith(".parquet"):
        buffer = io.BytesIO()
        rows.write_parquet(buffer)
        content = buffer.getvalue()
    elif name.endswith(".jsonl"):
        content = rows.write_ndjson().encode()
    elif name.endswith(".txt"):
        content = rows.write_csv(separator=" ", include_header=False).encode()
    else:
        content = rows.write_csv().encode(files.get("encoding", "utf-8"))
        if name.endswith(".gz"):
            content = gzip.compress(content, mtime=0)
        else:
            import pyarrow as pa

            content = pa.compress(content, codec="zstd", asbytes=True)
    declared = source("*", files=files)
    parts, faults = split_file(name, content, declared, CALENDAR)
    assert (faults, {key: part.rows for key, part in parts.items()}) == (
        [],
        {"1997-01-01": 1, "1997-01-02": 0, "1997-01-03": 2},
    )
    for key, part in parts.items():
        read, failures = read_delivery({name: part.content}, declared, CALENDAR.partition(key))
        assert failures == []
        assert read["customer"].to_list() == rows.filter(bought_on=key.replace("-", ""))["customer"].to_list()


def test_rows_without_a_time_or_outside_of_the_calendar_refuse_the_file_with_their_lines() -> None:
    content = HEADER + FIRST + "0002,soon,\n" + "0003,19970201,\n"
    parts, faults = split_file("a.csv", content.encode(), source(), CALENDAR)
    assert parts == {}
    assert faults == [
        "1 rows have no event time that can be read, for example line 4",
        "1 rows lie outside of 1997-01-01 to 1997-01-31, which the dataset declares, for example line 5",
    ]
    assert split_file("a.csv", b"customer\n1\n", source(), CALENDAR)[1] == ["column 'bought_on' is missing"]
    assert "is empty" in split_file("a.csv", b"", source(), CALENDAR)[1][0]
