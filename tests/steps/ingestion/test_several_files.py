"""A delivery of several files is one table: no row of any is lost or counted twice, and each fault names its file."""

from __future__ import annotations

import hashlib
from datetime import date
from typing import Any

import polars as pl
import pytest

from pipelines.messages.delivery import DeliveryManifest, LandedFile
from pipelines.spec.partitions import PartitionCalendar
from pipelines.spec.source import SourceSpec
from pipelines.steps.ingestion.contract import MAX_FAILURES, check_rows, read_delivery
from pipelines.steps.ingestion.landed_files import landed_files

DAY = date(1997, 1, 1)
PARTITION = PartitionCalendar("day", DAY).partition(f"{DAY}")
COLUMNS = {"customer": "string", "bought_on": {"type": "date", "format": "%Y%m%d"}, "discs": "integer"}


def source(**changes: Any) -> SourceSpec:
    files = {"path": "{source}/{partition}/*.txt", "delimiter": "whitespace", "header": False}
    return SourceSpec.model_validate({"files": files, "key": "row", "columns": COLUMNS, **changes})


FILES = {"b.txt": b"0003 19970101 2\n0003 19970101 2\n", "a.txt": b" 0001 19970101 1\r\n\r\n 0002 19970101 7\r\n"}


def test_rows_of_all_files_are_one_table_and_each_has_a_name_of_its_own() -> None:
    rows, failures = read_delivery(FILES, source(), PARTITION)
    assert (failures, rows["customer"].to_list()) == ([], ["0001", "0002", "0003", "0003"])
    digests = [hashlib.sha256(FILES[name]).hexdigest()[:16] for name in ("a.txt", "a.txt", "b.txt", "b.txt")]
    lines = [1, 3, 1, 2]
    expected = [f"{digest}:{line:012d}" for digest, line in zip(digests, lines, strict=True)]
    assert rows["__row"].to_list() == expected


def test_held_rows_that_are_checked_again_keep_their_names() -> None:
    rows, _ = read_delivery(FILES, source(), PARTITION)
    again, failures = check_rows(rows, source(columns=COLUMNS | {"discs": {"type": "integer", "max": 9}}), PARTITION)
    assert failures == []
    assert again.equals(rows)


def test_each_fault_names_its_file_and_its_line() -> None:
    files = {"a.txt": FILES["a.txt"] + b"0004 19970101 many\n", "b.txt": FILES["b.txt"] + b"0005 19970102\n"}
    _, failures = read_delivery(files, source(), PARTITION, row_counts={"a.txt": 9, "b.txt": 2})
    assert failures == [
        "a.txt: column 'discs': 1 of 3 values not of type integer, for example 'many' (line 4)",
        "b.txt: the file is not readable as CSV: 1 lines do not have the 3 declared fields, for example line 3 with 2",
    ]


def test_a_file_whose_rows_are_not_as_many_as_its_manifest_says_is_named() -> None:
    _, failures = read_delivery(FILES, source(), PARTITION, row_counts={"a.txt": 3, "b.txt": 2})
    assert failures == ["a.txt: a.txt has 2 rows, its manifest says 3"]


def test_the_same_file_twice_would_count_rows_twice() -> None:
    _, failures = read_delivery({"a.txt": b"1 19970101 1\n", "b.txt": b"1 19970101 1\n"}, source(), PARTITION)
    assert failures == ["two files have the same content, so their rows would count twice; deliver it once"]
    rows, failures = read_delivery({"a.txt": b"", "b.txt": b"1 19970101 1\n", "c.txt": b""}, source(), PARTITION)
    assert (failures, rows.height) == ([], 1)


def test_a_key_is_unique_over_all_files() -> None:
    _, failures = read_delivery(FILES, source(key=["customer"]), PARTITION)
    assert failures == ["key (customer): 2 rows share their key with another, for example 0003"]


def test_failures_are_shown_up_to_a_number_and_counted_beyond() -> None:
    names = [f"column_{number}" for number in range(MAX_FAILURES + 7)]
    declared = source(
        files="{source}/{partition}/rows.csv", key=["id"], columns=dict.fromkeys(["id", *names], "string")
    )
    _, failures = read_delivery({"rows.csv": b"id\n1\n"}, declared, PARTITION)
    assert len(failures) == MAX_FAILURES + 1
    assert failures[-1] == "and 7 more"


@pytest.mark.parametrize(
    ("names", "there", "faults"),
    [
        (["a.txt", "b.txt"], {"a.txt", "b.txt"}, []),
        (["a.txt", "a.txt"], {"a.txt"}, ["_manifest.json lists 'a.txt' more than once"]),
        (["a.txt", "b.txt"], {"a.txt"}, ["b.txt is listed but missing; deliver it again"]),
        (
            ["a.txt", "c.csv"],
            {"a.txt", "c.csv"},
            ["_manifest.json lists 'c.csv', which the contract does not know: its "],
        ),
        ([], set(), ["_manifest.json does not list *.txt"]),
    ],
)
def test_each_file_is_held_against_the_manifest(names: list[str], there: set[str], faults: list[str]) -> None:
    listed = [LandedFile(name=n, rows=2, sha256=hashlib.sha256(FILES.get(n, b"")).hexdigest()) for n in names]
    manifest = DeliveryManifest.model_validate({"source": "purchases", "day": str(DAY), "files": listed})
    contents, failures = landed_files(manifest, source(), lambda name: FILES.get(name) if name in there else None)
    assert [failure.startswith(fault) for failure, fault in zip(failures, faults, strict=True)] == [True] * len(faults)
    assert set(contents) == {name for name in there if name.endswith(".txt")}


def test_a_row_is_accepted_or_its_file_is_refused() -> None:
    """Whatever line is damaged, the rows of a delivery without failures are those that were written."""
    lines = [f"{number:04d} 19970101 {number}" for number in range(6)]
    for place in range(len(lines)):
        for damage in ("", "x", "0001 19970101", "0001 1997 1", '"', "0001 19970101 1 1", "0001 19970102 1"):
            damaged = [*lines[:place], damage, *lines[place + 1 :]]
            content = "\n".join(damaged).encode()
            rows, failures = read_delivery({"a.txt": content}, source(), PARTITION, row_counts={"a.txt": len(lines)})
            assert failures, damage
    rows, failures = read_delivery({"a.txt": "\n".join(lines).encode()}, source(), PARTITION)
    assert (failures, rows["discs"].to_list()) == ([], list(range(6)))
    assert rows.schema["bought_on"] == pl.Date
