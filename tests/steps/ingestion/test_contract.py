"""A file that is no proper table is never half understood, and what is personal is not shown in a failure."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest

from pipelines.spec.dataset import SourceSpec
from pipelines.steps.ingestion.contract import read_delivery

DAY = date(2013, 1, 5)
GOOD = "id,at,score,kind\n1,2013-01-05T10:00:00Z,0.5,a\n2,2013-01-05T11:00:00Z,NA,b\n"


def source(**changes: Any) -> SourceSpec:
    columns = {
        "id": {"type": "integer"},
        "at": {"type": "timestamp"},
        "score": {"type": "number", "nullable": True, "minimum": 0},
        "kind": {"type": "string", "nullable": True},
    }
    return SourceSpec.model_validate({"file": "data.csv", "key": ["id"], "columns": columns, **changes})


def failures(text: str, **changes: Any) -> list[str]:
    return read_delivery(text.encode(), source(**changes), DAY)[1]


def test_a_good_file_is_typed_as_declared() -> None:
    rows, found = read_delivery(GOOD.encode(), source(), DAY)
    assert found == []
    assert rows.rows()[1] == (2, datetime(2013, 1, 5, 11, tzinfo=UTC), None, "b")
    assert rows.dtypes == [pl.Int64, pl.Datetime("us", "UTC"), pl.Float64, pl.String]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            GOOD + "3,2013-01-05T12:00:00Z\n",
            "the file is not readable as CSV: 1 lines do not have the header's 4 fields, for example line 4 with 2",
        ),
        (
            GOOD.replace("\n1,", "\n\n1,"),
            "the file is not readable as CSV: 1 lines do not have the header's 4 fields, for example line 2 with 0",
        ),
        (
            GOOD + "3,2013-01-05T12:00:00Z,1,a,b\n",
            "the file is not readable as CSV: 1 lines do not have the header's 4 fields, for example line 4 with 5",
        ),
        (GOOD + '3,2013-01-05T12:00:00Z,1,"a\n', "the file is not readable as CSV: line 4: unexpected end of data"),
        (GOOD.replace("kind", "id"), "column 'id' is in the header more than once"),
    ],
)
def test_a_file_whose_lines_are_no_table_is_refused_with_the_line(text: str, expected: str) -> None:
    assert failures(text)[0] == expected


def test_a_broken_line_does_not_hide_a_missing_column() -> None:
    assert len(failures("id,at,kind\n1,2\n")) == 2


def test_quotes_commas_and_foreign_line_ends_are_plain_csv() -> None:
    text = GOOD.replace("Z,0.5,a", 'Z,0.5,"a, ""b""\nc"').replace("\n2,", "\r\n2,")
    rows, found = read_delivery(text.encode(), source(), DAY)
    assert found == []
    assert rows["kind"].to_list() == ['a, "b"\nc', "b"]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1_000", "0x1", "1,5"])
def test_what_is_no_plain_number_is_refused(value: str) -> None:
    text = GOOD.replace("0.5", f'"{value}"')
    assert failures(text)[0] == f"column 'score': 1 of 2 values not of type number, for example {value!r}"


def test_personal_data_are_not_shown_in_failures() -> None:
    columns = {"id": {"type": "string", "pii": True}, "age": {"type": "integer", "pii": True, "maximum": 120}}
    text = "id,age\nAnna,200\nAnna,x\n"
    found = failures(text, columns=columns)
    assert len(found) == 3
    assert not any(secret in failure for failure in found for secret in ("Anna", "200", "'x'"))


def test_a_parquet_file_is_held_to_the_same_contract() -> None:
    hour = datetime(2013, 1, 5, 6, tzinfo=timezone(timedelta(hours=-5)))
    frame = pl.DataFrame({"id": [1, 2], "at": [hour, hour], "score": [0.5, -1.0], "kind": ["a", None]})
    buffer = io.BytesIO()
    frame.with_columns(pl.col("at").dt.convert_time_zone("America/New_York")).write_parquet(buffer)
    rows, found = read_delivery(buffer.getvalue(), source(format="parquet", file="data.parquet"), DAY)
    assert found == ["column 'score': 1 of 2 values below 0, for example '-1.0'"]
    assert rows["at"].to_list() == [datetime(2013, 1, 5, 11, tzinfo=UTC)] * 2
    assert read_delivery(b"PAR1", source(format="parquet"), DAY)[1][0].startswith("the file is not readable as Parquet")
