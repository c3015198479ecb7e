"""What independent writers wrote is read row by row in any format, and read as independent readers read it."""

from __future__ import annotations

import csv
import gzip
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.spec.column import ColumnSpec
from pipelines.spec.file_format import FileFormat
from pipelines.steps.ingestion.column_values import typed_columns
from pipelines.steps.ingestion.delivered_file import read_file

NAMES = ["a", "Größe", "a b", "a,b", 'a"b', "x;y", "A"]
LETTERS = " \t;|,'\"\n\u00e4\u00df0a.NA-"
"""Of single-byte encodings, too."""
texts = st.text(LETTERS, max_size=6).filter(lambda text: "\r" not in text)
lines = st.lists(st.lists(texts, min_size=3, max_size=3), max_size=6)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.sampled_from(NAMES), min_size=3, max_size=3, unique=True),
    lines,
    st.sampled_from([",", ";", "\t", "|", "\x01"]),
    st.sampled_from(['"', "'"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "latin-1", "cp1252"]),
    st.booleans(),
    st.sampled_from(["", ".gz", ".zst"]),
)
def test_what_python_writes_as_csv_is_read_row_by_row(
    names: list[str],
    rows: list[list[str]],
    delimiter: str,
    quote: str,
    line_end: str,
    encoding: str,
    header: bool,
    ending: str,
) -> None:
    written = io.StringIO(newline="")
    writer = csv.writer(written, delimiter=delimiter, quotechar=quote, quoting=csv.QUOTE_ALL, lineterminator=line_end)
    writer.writerows([names, *rows] if header else rows)
    content = written.getvalue().encode(encoding)
    compress = {"": bytes, ".gz": lambda data: gzip.compress(data, mtime=0), ".zst": _zstd}[ending]
    files = FileFormat(delimiter=delimiter, quote=quote, encoding=encoding, header=header)
    file = read_file(f"rows.csv{ending}", compress(content), files, names)
    assert file.failures == []
    assert file.rows is not None
    assert (file.rows.columns, [list(row) for row in file.rows.iter_rows()]) == (names, rows)
    before, starts = int(header) + 1 + sum(name.count("\n") for name in names if header), []
    for row in rows:
        starts.append(before)
        before += 1 + sum(text.count("\n") for text in row)
    assert file.lines.to_list() == starts


def _zstd(content: bytes) -> bytes:
    packed: bytes = pa.compress(content, codec="zstd", asbytes=True)
    return packed


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(["1", "a", '"', '""', ",", "\n", "\r\n", "\r", " ", "ä"]), max_size=14).map("".join))
def test_a_damaged_csv_is_read_as_python_reads_it_or_refused_and_no_row_is_lost(body: str) -> None:
    file = read_file("rows.csv", f"x,y\n{body}".encode(), FileFormat(), ["x", "y"])
    try:
        by_python = list(csv.reader(io.StringIO(f"x,y\n{body}", newline=""), strict=True))[1:]
    except csv.Error:
        by_python = None
    if file.rows is None:
        assert file.failures
    else:
        assert [list(row) for row in file.rows.iter_rows()] == by_python
    if by_python is not None and all(len(row) == 2 for row in by_python) and not {'"', "\r"} & {*body}:
        assert file.rows is not None


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(st.text('abc0"é.', min_size=1, max_size=4), min_size=2, max_size=2), max_size=5), st.data())
def test_values_between_spaces_and_tabs_are_read_row_by_row(rows: list[list[str]], draw: st.DataObject) -> None:
    space = st.text(" \t", min_size=1, max_size=3)
    content = ""
    for row in rows:
        values = ['"' + text.replace('"', '""') + '"' if '"' in text else text for text in row]
        content += (
            draw.draw(st.text(" \t", max_size=2)) + draw.draw(space).join(values) + draw.draw(st.text(" ", max_size=2))
        )
        content += draw.draw(st.sampled_from(["\n", "\r\n", "\n\n", "\n \t\n"]))
    file = read_file("rows.txt", content.encode(), FileFormat(delimiter="whitespace", header=False), ["x", "y"])
    assert file.failures == []
    assert file.rows is not None
    assert [list(row) for row in file.rows.iter_rows()] == rows


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 80), 1 << 80),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(NAMES), scalars, min_size=1), min_size=1, max_size=5), st.booleans())
def test_what_python_writes_as_json_lines_is_read_with_each_number_as_written(
    objects: list[dict[str, Any]], escaped: bool
) -> None:
    content = "".join(json.dumps(fields, ensure_ascii=escaped) + "\n" for fields in objects)
    file = read_file("rows.jsonl", content.encode(), FileFormat(format="jsonl"), NAMES)
    assert file.failures == []
    assert file.rows is not None
    present = [name for name in NAMES if any(name in fields for fields in objects)]
    assert file.rows.columns == present
    for fields, row in zip(objects, file.rows.to_dicts(), strict=True):
        for name in present:
            value = fields.get(name)
            expected = None if value is None else value if isinstance(value, str) else json.dumps(value)
            assert row[name] == expected


def _typed(column: dict[str, Any], written: list[str]) -> list[Any]:
    columns = {"value": ColumnSpec.model_validate(column)}
    return typed_columns(pl.DataFrame({"value": written}), columns, FileFormat(null_values=[]))[1]["value"].to_list()


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=None), min_size=1, max_size=5),
    st.integers(0, 12),
)
def test_a_decimal_is_the_one_of_python_or_refused(numbers: list[Decimal], scale: int) -> None:
    read = _typed({"type": "decimal", "scale": scale}, [f"{number}" for number in numbers])
    for number, value in zip(numbers, read, strict=True):
        _, digits, exponent = number.as_tuple()
        exact = Decimal(number).normalize() if len(digits) <= 28 else number
        held = abs(number) < Decimal(10) ** (38 - scale) and -int(exact.as_tuple().exponent) <= scale
        if abs(int(exponent)) < 60:
            assert value == (number if held else None)


FORMS = ["%Y%m%d %H%M%S", "%d.%m.%Y %H:%M:%S", "%m/%d/%y %I:%M:%S %p", "%Y-%j-%H-%M-%S", "%d %B %Y %H:%M:%S"]
ZONES = ["UTC", "America/New_York", "Africa/Cairo", "Asia/Kolkata", "Australia/Lord_Howe"]


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(FORMS),
    st.sampled_from(ZONES),
    st.lists(st.datetimes(datetime(1970, 1, 1), datetime(2068, 12, 31)), min_size=1, max_size=4),  # noqa: DTZ001
    st.sampled_from(["earliest", "latest", "refused"]),
)
def test_a_local_time_is_the_instant_of_python_or_refused_where_there_is_none_or_two(
    form: str, zone: str, times: list[datetime], ambiguous: str
) -> None:
    written = [time.strftime(form) for time in times]
    column = {"type": "timestamp", "format": form, "timezone": zone, "ambiguous": ambiguous}
    for time, value in zip(times, _typed(column, written), strict=True):
        local = time.replace(microsecond=0)
        both = [local.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC) for fold in (0, 1)]
        same = [instant for instant in both if instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == local]
        choice = {"earliest": same[:1], "latest": same[-1:], "refused": same[:1] if len({*same}) == 1 else []}[
            ambiguous
        ]
        assert value == (choice[0] if choice else None)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["%Y%m%d", "%d.%m.%Y", "%d %b %Y", "%Y%j"]), st.dates(date(1, 1, 1)))
def test_a_date_is_the_one_of_python_and_no_other_text_is_one(form: str, day: date) -> None:
    written = f"{day.year:04d}".join(day.strftime(part) for part in form.split("%Y"))
    assert _typed({"type": "date", "format": form}, [written, written + "1", "x" + written]) == [day, None, None]
