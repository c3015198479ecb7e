"""A file that is no proper table is never half understood, and what is personal is not shown in a failure."""

from __future__ import annotations

import gzip
import io
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest

from pipelines.errors import Refused
from pipelines.spec.partitions import Partition, PartitionCalendar
from pipelines.spec.source import SourceSpec
from pipelines.steps.ingestion import contract as delivery
from pipelines.steps.ingestion.csv_table import OPEN_QUOTE

DAY = date(2013, 1, 5)
PARTITION = PartitionCalendar("day", DAY).partition(f"{DAY}")
GOOD = "id,at,score,kind\n1,2013-01-05T10:00:00Z,0.5,a\n2,2013-01-05T11:00:00Z,NA,b\n"


CSV, PARQUET = "{source}/{partition}/data.csv", "{source}/{partition}/data.parquet"


def read_delivery(
    content: bytes, source: SourceSpec, partition: Partition | None, **options: Any
) -> tuple[pl.DataFrame, list[str]]:
    """A delivery of one file."""
    return delivery.read_delivery({source.files.name: content}, source, partition, **options)


def source(**changes: Any) -> SourceSpec:
    columns = {
        "id": {"type": "integer"},
        "at": {"type": "timestamp"},
        "score": {"type": "number", "nullable": True, "min": 0},
        "kind": {"type": "string", "nullable": True},
    }
    return SourceSpec.model_validate({"files": CSV, "key": ["id"], "columns": columns, **changes})


def failures(text: str, **changes: Any) -> list[str]:
    return read_delivery(text.encode(), source(**changes), PARTITION)[1]


def test_a_good_file_is_typed_as_declared() -> None:
    rows, found = read_delivery(GOOD.encode(), source(), PARTITION)
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
        (
            GOOD + '3,2013-01-05T12:00:00Z,1,"a\n',
            f"the file is not readable as CSV: line 4 {OPEN_QUOTE.format(chr(34))}",
        ),
        (GOOD.replace("kind", "id"), "column 'id' is in the header more than once"),
        (GOOD.replace("kind", ""), "column 4 has no name in the header; give it one"),
    ],
)
def test_a_file_whose_lines_are_no_table_is_refused_with_the_line(text: str, expected: str) -> None:
    assert failures(text)[0] == expected


def test_a_broken_line_does_not_hide_a_missing_column() -> None:
    assert len(failures("id,at,kind\n1,2\n")) == 2


def test_quotes_commas_and_foreign_line_ends_are_plain_csv() -> None:
    text = GOOD.replace("Z,0.5,a", 'Z,0.5,"a, ""b""\nc"').replace("\n2,", "\r\n2,")
    rows, found = read_delivery(text.encode(), source(), PARTITION)
    assert found == []
    assert rows["kind"].to_list() == ['a, "b"\nc', "b"]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1_000", "0x1", "1,5"])
def test_what_is_no_plain_number_is_refused(value: str) -> None:
    text = GOOD.replace("0.5", f'"{value}"')
    assert failures(text)[0] == f"column 'score': 1 of 2 values not of type number, for example {value!r} (line 2)"


def test_personal_data_are_not_shown_in_failures() -> None:
    columns = {
        "name": {"type": "string", "pii": True, "allowed": ["Bea"]},
        "age": {"type": "integer", "pii": True, "max": 120},
    }
    text = "name,age\nAnna,200\nAnna,x\n"
    found = failures(text, columns=columns, key="row")
    assert len(found) == 3
    assert not any(secret in failure for failure in found for secret in ("Anna", "200", "'x'"))


def test_a_time_that_is_personal_is_not_shown_when_it_is_of_another_day() -> None:
    columns = {"id": {"type": "integer"}, "at": {"type": "timestamp", "pii": True}}
    text = b"id,at\n1,1984-01-05T10:00:00Z\n"
    [fault] = read_delivery(text, source(columns=columns), PARTITION)[1]
    assert fault.startswith("1 of 1 rows are of another day than 2013-01-05 by at in UTC (line 2); ")
    assert "1984" not in fault


def test_a_parquet_file_is_held_to_the_same_contract() -> None:
    hour = datetime(2013, 1, 5, 6, tzinfo=timezone(timedelta(hours=-5)))
    frame = pl.DataFrame({"id": [1, 2], "at": [hour, hour], "score": [0.5, -1.0], "kind": ["a", None]})
    buffer = io.BytesIO()
    frame.with_columns(pl.col("at").dt.convert_time_zone("America/New_York")).write_parquet(buffer)
    rows, found = read_delivery(buffer.getvalue(), source(files=PARQUET), PARTITION)
    assert found == ["column 'score': 1 of 2 values below 0, for example '-1.0' (line 2)"]
    assert rows["at"].to_list() == [datetime(2013, 1, 5, 11, tzinfo=UTC)] * 2
    assert read_delivery(b"PAR1", source(files=PARQUET), PARTITION)[1][0].startswith(
        "the file is not readable as Parquet"
    )


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def test_fractions_of_a_second_are_kept_from_csv_and_from_parquet() -> None:
    moment = datetime(2013, 1, 5, 10, 0, 0, 750_000, tzinfo=UTC)
    text = GOOD.replace("2013-01-05T10:00:00Z", "2013-01-05T10:00:00.750Z")
    from_csv, found = read_delivery(text.encode(), source(), PARTITION)
    assert (found, from_csv["at"][0]) == ([], moment)
    frame = pl.DataFrame({"id": [1], "at": [moment], "score": [0.5], "kind": ["a"]})
    for unit in ("ms", "us", "ns"):
        delivered = parquet(frame.with_columns(pl.col("at").dt.cast_time_unit(unit)))
        from_parquet, found = read_delivery(delivered, source(files=PARQUET), PARTITION)
        assert (found, from_parquet["at"][0]) == ([], moment)


def test_a_time_finer_than_a_microsecond_is_refused_because_it_would_be_cut() -> None:
    text = GOOD.replace("2013-01-05T10:00:00Z", "2013-01-05T10:00:00.000000001Z")
    assert "1 of 2 values not of type timestamp" in failures(text)[0]
    frame = pl.DataFrame({"id": [1], "at": [1_357_380_000_000_000_001], "score": [0.5], "kind": ["a"]})
    delivered = parquet(frame.with_columns(pl.col("at").cast(pl.Datetime("ns", "UTC"))))
    assert "1 of 1 values not of type timestamp" in read_delivery(delivered, source(files=PARQUET), PARTITION)[1][0]


@pytest.mark.parametrize(
    "value",
    [
        "13-01-05T10:00:00Z",
        "2013-01-05T23:59:60Z",
        "2013-1-5T1:0:0Z",
        "2013-01-05T24:00:00Z",
        "2013-02-30T10:00:00Z",
        "0000-01-05T10:00:00Z",
        "2013-01-05 10:00:00Z",
        "2013-01-05T10:00:00",
        "2013-01-05T10:00Z",
        " 2013-01-05T10:00:00Z",
        "2013-01-05T10:00:00Z\n",
        "2013-01-05",
        "1357380000",
    ],
)
def test_a_time_in_another_form_is_refused_with_the_accepted_forms(value: str) -> None:
    found = failures(GOOD.replace("2013-01-05T10:00:00Z", f'"{value}"'))
    assert "1 of 2 values not of type timestamp (written as 2013-01-05T10:00:00Z" in found[0]
    assert repr(value) in found[0]


def test_a_word_for_nothing_is_a_value_where_the_contract_lists_it() -> None:
    columns = {
        "id": {"type": "integer"},
        "country": {"type": "string", "allowed": ["DE", "NA"]},
        "note": {"type": "string", "nullable": True},
    }
    rows, found = read_delivery(b"id,country,note\n1,NA,NA\n2,DE,\n", source(columns=columns), PARTITION)
    assert (found, rows["country"].to_list(), rows["note"].to_list()) == ([], ["NA", "DE"], [None, None])


def test_an_empty_field_is_a_value_where_no_null_value_is_empty() -> None:
    text = "id,at,score,kind\n1,2013-01-05T10:00:00Z,-,\n"
    rows, found = read_delivery(text.encode(), source(files={"path": CSV, "null_values": ["-"]}), PARTITION)
    assert (found, rows["kind"].to_list(), rows["score"].to_list()) == ([], [""], [None])


def test_whole_doubles_are_integers_and_others_are_refused() -> None:
    columns = {"id": {"type": "integer"}, "seats": {"type": "integer", "nullable": True}}
    good = parquet(pl.DataFrame({"id": [1, 2, 3], "seats": [517.0, None, 533.0]}))
    rows, found = read_delivery(good, source(files=PARQUET, columns=columns), PARTITION)
    assert (found, rows["seats"].to_list()) == ([], [517, None, 533])
    bad = parquet(pl.DataFrame({"id": [1, 2, 3], "seats": [517.5, 1e300, float("nan")]}))
    found = read_delivery(bad, source(files=PARQUET, columns=columns), PARTITION)[1]
    assert found[0].startswith("column 'seats': 3 of 3 values not of type integer, for example '517.5'")


@pytest.mark.parametrize(
    ("kind", "allowed", "good", "bad"),
    [
        ("integer", ["1", "2"], "2", "3"),
        ("integer", [1, 2], "2", "3"),
        ("number", ["0.5", 1], "0.50", "0.25"),
        ("string", ["1", "2"], "2", "02"),
    ],
)
def test_categories_are_compared_in_the_type_of_their_column(kind: str, allowed: Any, good: str, bad: str) -> None:
    columns = {"id": {"type": "integer"}, "grade": {"type": kind, "allowed": allowed}}
    assert failures(f"id,grade\n1,{good}\n", columns=columns) == []
    assert "1 of 1 values not one of" in failures(f"id,grade\n1,{bad}\n", columns=columns)[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(GOOD.encode(), mtime=0), "the file is compressed with gzip; deliver it uncompressed"),
        (b"\x28\xb5\x2f\xfd\x04", "the file is compressed with zstd"),
        (b"PK\x03\x04....", "a zip archive or an Excel workbook"),
        (b"PAR1....PAR1", "the file is Parquet, the contract declares CSV"),
        (GOOD.encode("utf-16"), "the file is UTF-16, by the byte order mark on line 1"),
        (GOOD.encode("utf-16-le"), "the file is UTF-16 or UTF-32: line 1"),
        (GOOD.encode("utf-32"), "the file is UTF-32"),
        (GOOD.replace("0.5,a", "0.5,ä").encode("latin-1"), "line 2 is not UTF-8 (byte 0xe4)"),
        (GOOD.replace(",", ";").encode(), "line 1 separates the columns by semicolons"),
        (GOOD.replace(",", "\t").encode(), "line 1 separates the columns by tabs"),
        (GOOD.replace(",", "|").encode(), "line 1 separates the columns by vertical bars"),
        (GOOD.replace("\n", "\r").encode(), "line 1 has a carriage return (CR) without a line feed"),
        (GOOD.replace("NA,b", "NA,b\rc").encode(), "line 3 has a carriage return (CR) without a line feed"),
        (GOOD.replace("NA,b", 'NA,5" pipe').encode(), 'line 3 has a quote (") that is no part of a quoted field'),
        (GOOD.replace("0.5,a", '0.5,"a"b').encode(), 'line 2 has a quote (") that is no part of a quoted field'),
        (GOOD.replace("0.5,a", '0.5,"a').encode(), 'line 2 opens a quote (") that is never closed'),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_of_another_kind_is_named_for_what_it_is_and_nothing_else_is_said(content: bytes, said: str) -> None:
    rows, found = read_delivery(content, source(), PARTITION)
    assert [said in failure for failure in found] == [True], found
    assert rows.is_empty()


def test_a_byte_order_mark_is_no_part_of_the_first_column() -> None:
    rows, found = read_delivery(b"\xef\xbb\xbf" + GOOD.encode(), source(), PARTITION)
    assert (found, rows.columns) == ([], ["id", "at", "score", "kind"])


def test_a_source_keeps_its_own_columns_day_and_reasons() -> None:
    columns = {"id": {"type": "integer"}, "day": {"type": "string"}, "reasons": {"type": "string"}}
    rows, found = read_delivery(b"id,day,reasons\n1,Monday,late\n", source(columns=columns), PARTITION)
    assert (found, rows.to_dicts()) == ([], [{"id": 1, "source_day": "Monday", "reasons": "late"}])


def test_rows_of_another_local_day_are_refused_by_the_timestamp_of_the_key() -> None:
    text = "id,at,score,kind\n1,2013-01-06T04:59:59Z,1,a\n2,2013-01-06T05:00:00Z,1,a\n3,2013-01-05T04:59:59Z,1,a\n"
    trips = source(key=["id", "at"])
    zone = "America/New_York"
    local_day = PartitionCalendar("day", DAY, timezone=zone).partition(f"{DAY}")
    [fault] = read_delivery(text.encode(), trips, local_day, timezone=zone)[1]
    assert fault.startswith(
        "2 of 3 rows are of another day than 2013-01-05 by at in America/New_York, for example 2013-"
    )
    any_day = source(key=["id", "at"], event_time="none")
    assert read_delivery(text.encode(), any_day, local_day, timezone=zone)[1] == []


def test_a_file_without_its_header_is_named_and_none_of_its_values() -> None:
    columns = {"email": {"type": "string", "pii": True}, "id": {"type": "integer"}}
    for text in (
        "ann@mail.example,1\nbea@mail.example,2\n",
        "ann@mail.example,ann@mail.example\n",
        "ann@mail.example\t1\n",
    ):
        [fault] = failures(text, columns=columns, key="row")
        assert fault == (
            "line 1 names none of the columns (email, id); deliver the file with its header, or declare `header: false`"
        )


def test_a_parquet_file_without_a_declared_column_names_those_that_it_lacks() -> None:
    buffer = io.BytesIO()
    pl.DataFrame({"other": [1]}).write_parquet(buffer)
    declared = source(columns={"id": {"type": "integer"}}, key="row", files="{source}/{partition}/a.parquet")
    found = read_delivery(buffer.getvalue(), declared, PARTITION)[1]
    assert found == ["column 'id' is missing", "column 'other' is not in the contract; remove it, or declare it"]


@pytest.mark.parametrize(
    "times",
    [
        pl.Series([2**30], dtype=pl.Int32).cast(pl.Date),
        pl.Series([-(2**31) + 1], dtype=pl.Int32).cast(pl.Date),
        pl.Series([253_402_300_800_000_000]).cast(pl.Datetime("us")),
        pl.Series([253_402_300_800_000]).cast(pl.Datetime("ms", "UTC")),
        pl.Series([-(2**63) + 1]).cast(pl.Datetime("us", "UTC")),
    ],
    ids=["date", "date before", "us", "ms", "least"],
)
def test_times_of_parquet_that_no_text_can_write_refuse_the_file_with_the_line(times: pl.Series) -> None:
    buffer = io.BytesIO()
    pl.DataFrame({"at": times}).write_parquet(buffer)
    declared = source(columns={"at": {"type": "timestamp"}}, key="row", files="{source}/{partition}/a.parquet")
    [fault] = read_delivery(buffer.getvalue(), declared, PARTITION)[1]
    assert fault.startswith("column 'at': 1 of 1 values lie outside of the years 1 to 9999 (line 1)")


@pytest.mark.parametrize("minutes", ["9223372036854775807", "-9223372036854775808", "1e300", "5000000000"])
def test_a_row_whose_event_no_table_can_hold_refuses_the_delivery_with_its_line(minutes: str) -> None:
    columns = {"at": {"type": "timestamp"}, "minute": {"type": "number"}}
    trips = source(columns=columns, key="row", event_time="at + minute")
    text = f"at,minute\n2013-01-05T10:00:00Z,1\n2013-01-05T10:00:00Z,{minutes}\n"
    [fault] = read_delivery(text.encode(), trips, PARTITION)[1]
    assert fault == "1 rows are outside of the years 1 to 9999 by at + minute (line 3)"


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_the_first_and_the_last_date_are_dates_of_another_day(day: str, zone: str) -> None:
    dated = source(columns={"on": {"type": "date"}}, key="row", event_time="on")
    [fault] = read_delivery(f"on\n{day}\n".encode(), dated, PARTITION, timezone=zone)[1]
    assert fault.startswith("1 of 1 rows are of another day than 2013-01-05")


def test_a_time_that_the_clocks_skip_or_repeat_is_refused_with_what_to_declare() -> None:
    columns = {"at": {"type": "timestamp", "timezone": "Europe/Berlin"}}
    [fault] = failures("at\n2013-10-27T02:30:00\n", columns=columns, key="row", event_time="none")
    assert "no time that its clocks skip, nor one that they repeat: declare `ambiguous: earliest`" in fault


def test_a_value_of_many_characters_is_cut_in_the_fault() -> None:
    [fault] = failures("id\n" + "9" * 5000 + "\n", columns={"id": {"type": "integer"}}, key="row")
    assert len(fault) < 200


def test_a_pattern_that_the_engine_cannot_hold_is_refused_by_its_column() -> None:
    columns = {"code": {"type": "string", "pattern": r"\w{900}"}}
    with pytest.raises(Refused, match="the pattern of column 'code' takes too much memory"):
        failures("code\na\n", columns=columns, key="row")
