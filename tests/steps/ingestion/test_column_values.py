"""A value has the type of its column from CSV, JSON lines and Parquet alike, or it is refused with its line."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from pipelines.adapters.store.delta import DeltaStore
from pipelines.spec.column import ColumnSpec
from pipelines.spec.file_format import FileFormat
from pipelines.steps.ingestion.column_values import typed_columns
from pipelines.tables.column_types import stored_column_type

PLAIN = FileFormat()
NEW_YORK = {"type": "timestamp", "timezone": "America/New_York"}


def read(column: Any, *values: Any, files: FileFormat = PLAIN, dtype: Any = None) -> list[Any]:
    """The values in the type of their column, None where the type does not hold them."""
    declared = ColumnSpec.model_validate(column)
    delivered = pl.DataFrame({"value": pl.Series(values, dtype=dtype, strict=True)})
    typed = typed_columns(delivered, {"value": declared}, files)[1]["value"]
    assert typed.dtype == stored_column_type(declared)
    return typed.to_list()


@pytest.mark.parametrize(
    ("column", "text", "value"),
    [
        ("boolean", "true", True),
        ("boolean", "FALSE", False),
        ("boolean", "yes", None),
        ("boolean", "1", None),
        ("date", "2013-01-05", date(2013, 1, 5)),
        ("date", "2013-02-30", None),
        ("date", "2013-1-5", None),
        ("date", "20130105", None),
        ("date", "2013-01-05T00:00:00Z", None),
        ({"type": "date", "format": "%Y%m%d"}, "19970101", date(1997, 1, 1)),
        ({"type": "date", "format": "%Y%m%d"}, "1997-01-01", None),
        ({"type": "date", "format": "%Y%m%d"}, "199701011", None),
        ({"type": "date", "format": "%d.%m.%Y"}, "5.1.2013", date(2013, 1, 5)),
        ({"type": "date", "format": "%d.%m.%Y"}, "5.1.13", None),
        ({"type": "date", "format": "%d %b %y"}, "05 Jan 13", date(2013, 1, 5)),
        ({"type": "date", "format": "%Y%j"}, "2013366", None),
        ("integer", "5.0", 5),
        ("integer", "5.5", None),
        ("integer", "9223372036854775808", None),
        ("decimal", "0.10", Decimal("0.1")),
        ("decimal", "-1e3", Decimal(-1000)),
        ("decimal", "1.5e-9", None),
        ("decimal", "1e-9", Decimal("0.000000001")),
        ("decimal", "1e999999999", None),
        ({"type": "decimal", "scale": 2}, "12.340", Decimal("12.34")),
        ({"type": "decimal", "scale": 2}, "12.345", None),
        ({"type": "decimal", "scale": 2}, "1" * 36 + ".25", Decimal("1" * 36 + ".25")),
        ({"type": "decimal", "scale": 2}, "1" * 37, None),
        ({"type": "decimal", "scale": 0}, "7.0", Decimal(7)),
        ("timestamp", "2013-07-01 10:00:00", None),
        (NEW_YORK, "2013-07-01 10:00:00", datetime(2013, 7, 1, 14, tzinfo=UTC)),
        (NEW_YORK, "2013-01-01T10:00:00.000001", datetime(2013, 1, 1, 15, 0, 0, 1, tzinfo=UTC)),
        (NEW_YORK, "2013-01-01T10:00:00Z", datetime(2013, 1, 1, 10, tzinfo=UTC)),
        (NEW_YORK, "2013-03-10 02:30:00", None),
        (NEW_YORK, "2013-11-03 01:30:00", None),
        (NEW_YORK | {"ambiguous": "earliest"}, "2013-11-03 01:30:00", datetime(2013, 11, 3, 5, 30, tzinfo=UTC)),
        (NEW_YORK | {"ambiguous": "latest"}, "2013-11-03 01:30:00", datetime(2013, 11, 3, 6, 30, tzinfo=UTC)),
        (NEW_YORK | {"ambiguous": "latest"}, "2013-03-10 02:30:00", None),
        (NEW_YORK | {"format": "%m/%d/%Y %I:%M %p"}, "1/5/2013 1:02 PM", datetime(2013, 1, 5, 18, 2, tzinfo=UTC)),
        (NEW_YORK | {"format": "%m/%d/%Y %I:%M %p"}, "1/5/2013 13:02 PM", None),
        (NEW_YORK | {"format": "%Y%m%dT%H%M%S%.f"}, "20130105T235959.5", datetime(2013, 1, 6, 4, 59, 59, 500_000, UTC)),
        (NEW_YORK | {"format": "%Y%m%dT%H%M%S"}, "20130105T235960", None),
        (
            {"type": "timestamp", "format": "%Y-%m-%d %H:%M:%S%.f%z"},
            "2013-01-05 10:00:00.25+0530",
            datetime(2013, 1, 5, 4, 30, 0, 250_000, UTC),
        ),
        (
            {"type": "timestamp", "format": "%Y-%m-%d %H:%M%z"},
            "2013-01-05 10:00Z",
            datetime(2013, 1, 5, 10, tzinfo=UTC),
        ),
    ],
)
def test_a_text_is_read_in_the_type_and_form_of_its_column(column: Any, text: str, value: Any) -> None:
    assert read(column, text, None) == [value, None]


@pytest.mark.parametrize(
    ("column", "value", "dtype", "expected"),
    [
        ("boolean", True, pl.Boolean, True),
        ("boolean", 1, pl.Int64, None),
        ("string", True, pl.Boolean, "true"),
        ("date", date(2013, 1, 5), pl.Date, date(2013, 1, 5)),
        ("date", datetime(2013, 1, 5), pl.Datetime("ns"), date(2013, 1, 5)),  # noqa: DTZ001
        ("date", datetime(2013, 1, 5, 1), pl.Datetime("ns"), None),  # noqa: DTZ001
        ("string", date(2013, 1, 5), pl.Date, "2013-01-05"),
        ("timestamp", date(2013, 1, 5), pl.Date, None),
        ("timestamp", datetime(2013, 7, 1, 10), pl.Datetime("us"), None),  # noqa: DTZ001
        (NEW_YORK, datetime(2013, 7, 1, 10), pl.Datetime("ms"), datetime(2013, 7, 1, 14, tzinfo=UTC)),  # noqa: DTZ001
        ("string", time(10), pl.Time, "10:00:00"),
        ("integer", timedelta(1), pl.Duration, None),
        ("number", (1 << 53) + 1, pl.Int64, None),
        ("number", (1 << 53) + 2, pl.Int64, float((1 << 53) + 2)),
        ("number", (1 << 64) - 1, pl.UInt64, None),
        ("integer", (1 << 63), pl.UInt64, None),
        ("decimal", 1.1, pl.Float64, Decimal("1.1")),
        ("decimal", 1e-7, pl.Float64, Decimal("0.0000001")),
        ("decimal", 7, pl.Int8, Decimal(7)),
        ({"type": "decimal", "scale": 1}, Decimal("1.25"), pl.Decimal(10, 2), None),
        ({"type": "decimal", "scale": 4}, Decimal("1.25"), pl.Decimal(10, 2), Decimal("1.25")),
        ("integer", Decimal("5.00"), pl.Decimal(10, 2), 5),
        ("number", Decimal("5.25"), pl.Decimal(10, 2), 5.25),
    ],
)
def test_a_value_of_parquet_is_read_in_the_type_of_its_column(
    column: Any, value: Any, dtype: Any, expected: Any
) -> None:
    assert read(column, value, None, dtype=dtype) == [expected, None]


@pytest.mark.parametrize(
    ("signs", "kind", "text", "value"),
    [
        ({"decimal": ","}, "number", "1,5", 1.5),
        ({"decimal": ","}, "number", "1.5", None),
        ({"decimal": ",", "thousands": "."}, "number", "-1.234.567,5", -1234567.5),
        ({"decimal": ",", "thousands": "."}, "decimal", "1.234,05", Decimal("1234.05")),
        ({"decimal": ",", "thousands": "."}, "integer", "1.234", 1234),
        ({"decimal": ",", "thousands": "."}, "integer", "1.23", None),
        ({"decimal": ",", "thousands": "."}, "integer", "1234", 1234),
        ({"thousands": ","}, "number", "12,345.25", 12345.25),
        ({"thousands": ","}, "number", "1,2345", None),
        ({"thousands": ","}, "integer", "1,234,567", 1234567),
        ({"thousands": "\u00a0"}, "integer", "1\u00a0234", 1234),
        ({"thousands": ","}, "string", "1,234", "1,234"),
    ],
)
def test_numbers_are_read_with_the_declared_signs(signs: dict[str, Any], kind: str, text: str, value: Any) -> None:
    assert read(kind, text, files=FileFormat.model_validate(signs)) == [value]


def test_a_column_has_null_values_of_its_own() -> None:
    files = FileFormat(null_values=["-"])
    assert read({"type": "string", "null_values": ["none"]}, "-", "none", files=files) == ["-", None]
    assert read({"type": "string", "null_values": []}, "-", "", files=files) == ["-", ""]
    assert read("string", "-", "", files=files) == [None, ""]


def test_each_type_stays_as_it_is_in_a_table(tmp_path: Any) -> None:
    columns = {
        "flag": ColumnSpec(type="boolean"),
        "on": ColumnSpec(type="date"),
        "price": ColumnSpec(type="decimal"),
        "cents": ColumnSpec(type="decimal", scale=2),
        "count": ColumnSpec(type="integer"),
        "share": ColumnSpec(type="number"),
        "name": ColumnSpec(type="string"),
        "at": ColumnSpec(type="timestamp"),
    }
    texts = {
        "flag": ["true", "NA"],
        "on": ["0001-01-01", "9999-12-31"],
        "price": ["12345678901234567890123456789.123456789", "NA"],
        "cents": ["-0.01", "NA"],
        "count": ["-9223372036854775808", "9223372036854775807"],
        "share": ["0.1", "-1e-300"],
        "name": ["Ä€", "NA"],
        "at": ["2013-01-05T10:00:00.000001Z", "NA"],
    }
    rows = typed_columns(pl.DataFrame(texts), columns, PLAIN)[1]
    store = DeltaStore(str(tmp_path))
    store.replace_partition("raw/rows", date(2013, 1, 5), rows)
    kept = store.read("raw/rows").drop("day")
    assert kept.schema == rows.schema
    assert kept.rows() == rows.rows()


def test_a_table_of_decimals_takes_no_others(tmp_path: Any) -> None:
    from pipelines.errors import Refused

    store = DeltaStore(str(tmp_path))
    prices = pl.DataFrame({"price": ["1.25"]})
    for scale in (2, 3):
        columns = {"price": ColumnSpec(type="decimal", scale=scale)}
        rows = typed_columns(prices, columns, PLAIN)[1]
        if scale == 2:
            store.replace_partition("raw/rows", date(2013, 1, 5), rows)
            continue
        with pytest.raises(Refused, match="do not match table") as refused:
            store.replace_partition("raw/rows", date(2013, 1, 5), rows)
        assert "'price' is Decimal" in str(refused.value)
    assert store.read("raw/rows")["price"].to_list() == [Decimal("1.25")]


ROWS = {
    "flag": [True, None, False],
    "on": [date(2013, 1, 5), date(1600, 2, 29), None],
    "price": [Decimal("1.10"), None, Decimal("-0.05")],
    "name": ["NA", "", None],
}
CONTRACT = {
    "flag": "boolean or null",
    "on": "date or null",
    "price": {"type": "decimal or null", "scale": 2},
    "name": "string or null",
}


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_the_same_rows_in_each_format_are_the_same_table(form: str) -> None:
    from pipelines.steps.ingestion.delivered_file import read_file

    frame = pl.DataFrame(ROWS)
    if form == "parquet":
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        content = buffer.getvalue()
    elif form == "jsonl":
        objects = [
            {
                name: str(v) if isinstance(v, date) else float(v) if isinstance(v, Decimal) else v
                for name, v in row.items()
                if v is not None
            }
            for row in frame.iter_rows(named=True)
        ]
        content = "".join(json.dumps(fields) + "\n" for fields in objects).encode()
    else:
        content = frame.write_csv(null_value="-", quote_style="non_numeric").encode()
    files = FileFormat.model_validate({"format": form, "null_values": ["-"] if form == "csv" else []})
    columns = {name: ColumnSpec.model_validate(column) for name, column in CONTRACT.items()}
    file = read_file("rows", content, files, list(columns))
    assert file.failures == []
    assert file.rows is not None
    assert typed_columns(file.rows, columns, files)[1].to_dict(as_series=False) == ROWS
