"""What one writer wrote is what the contract reads: every row, in its order, each value the same or the row named."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.spec.partitions import Partition, PartitionCalendar
from pipelines.spec.source import SourceSpec
from pipelines.steps.ingestion import contract as delivery

DAY = date(2013, 1, 5)
PARTITION = PartitionCalendar("day", DAY).partition(f"{DAY}")
NULL_WORDS = ["NA", "", "-"]
TYPES = ("integer", "number", "string", "timestamp")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
values: dict[str, st.SearchStrategy[Any]] = {
    "integer": st.integers(-(1 << 63), (1 << 63) - 1),
    "number": st.floats(allow_nan=False, allow_infinity=False),
    "string": st.one_of(
        text, st.sampled_from(['5" pipe', "a,b", "a\nb", "a\r\nb", "a\rb", "NA", "null", " NA", "Ä€😀"])
    ),
    "timestamp": st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)),  # noqa: DTZ001
}
names = st.one_of(
    st.sampled_from(["a b", "a.b", "Größe", "select", "day_", "a,b", 'a"b', "a\nb", "A", "1", "-", "a$", "{x}"]),
    st.from_regex(r"[A-Za-z][A-Za-z0-9 _.-]{0,9}", fullmatch=True),
).filter(lambda name: name not in ("id", "day", "reasons"))
columns = st.dictionaries(names, st.sampled_from(TYPES), min_size=1, max_size=4)


def read_delivery(
    content: bytes, source: SourceSpec, partition: Partition | None, **options: Any
) -> tuple[pl.DataFrame, list[str]]:
    """A delivery of one file."""
    return delivery.read_delivery({source.files.name: content}, source, partition, **options)


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, str], list[dict[str, Any]]]:
    kinds = {"id": "integer", **draw(columns)}
    order = draw(st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1, max_size=8, unique=True))
    rows = [{"id": number} for number in order]
    for row in rows:
        row |= {name: draw(st.none() | values[kind]) for name, kind in kinds.items() if name != "id"}
    return kinds, rows


CSV = "{source}/{partition}/rows.csv"


def contract(kinds: dict[str, str], **changes: Any) -> SourceSpec:
    declared = {name: {"type": kind, "nullable": name != "id"} for name, kind in kinds.items()}
    return SourceSpec.model_validate(
        {"files": {"path": CSV, "null_values": NULL_WORDS}, "key": ["id"], "columns": declared, **changes}
    )


def written(value: Any, draw: st.DataObject) -> str:
    """A value as one of the forms in which sources write it."""
    if value is None:
        return draw.draw(st.sampled_from(NULL_WORDS))
    if isinstance(value, datetime):
        zone = draw.draw(
            st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-5))])
        )
        local = value.astimezone(zone)
        digits = f"{local:.%f}" if value.microsecond else draw.draw(st.sampled_from(["", ".0", ".000"]))
        offset = "Z" if zone is UTC else local.isoformat()[-6:]
        return f"{local.year:04d}{local.strftime('-%m-%dT%H:%M:%S')}{digits}{offset}"
    return value if isinstance(value, str) else repr(value)


def field(content: str, *, quoted: bool) -> str:
    if quoted or any(letter in content for letter in '",\r\n'):
        return '"' + content.replace('"', '""') + '"'
    return content


@settings(max_examples=60, deadline=None)
@given(tables(), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans(), st.data())
def test_a_csv_file_is_read_row_by_row_as_it_was_written(
    table: tuple[dict[str, str], list[dict[str, Any]]], line_end: str, marked: bool, quoted: bool, draw: st.DataObject
) -> None:
    kinds, rows = table
    lines = [list(kinds), *([written(row[name], draw) for name in kinds] for row in rows)]
    content = "".join(",".join(field(cell, quoted=quoted) for cell in line) + line_end for line in lines).encode()
    frame, failures = read_delivery((BYTE_ORDER_MARK if marked else b"") + content, contract(kinds), PARTITION)
    assert failures == []
    expected = [
        {name: None if kinds[name] == "string" and value in NULL_WORDS else value for name, value in row.items()}
        for row in rows
    ]
    assert frame.to_dicts() == expected


ARROW = {"integer": pa.int64(), "number": pa.float64(), "string": pa.string(), "timestamp": pa.timestamp("ns", "UTC")}


@settings(max_examples=40, deadline=None)
@given(tables())
def test_a_parquet_file_is_read_row_by_row_as_it_was_written(
    table: tuple[dict[str, str], list[dict[str, Any]]],
) -> None:
    kinds, rows = table
    within = datetime(1700, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)  # what nanoseconds can hold
    for row in rows:
        row |= {
            name: within[0]
            for name, value in row.items()
            if isinstance(value, datetime) and not within[0] <= value <= within[1]
        }
    schema = pa.schema([(name, ARROW[kind]) for name, kind in kinds.items()])
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), buffer)
    source = SourceSpec.model_validate(
        contract(kinds).model_dump(exclude={"files"}) | {"files": "{source}/{partition}/rows.parquet"}
    )
    frame, failures = read_delivery(buffer.getvalue(), source, PARTITION)
    assert (failures, frame.to_dicts()) == ([], rows)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(TYPES), text, st.lists(values["integer"], max_size=3))
def test_the_verdict_on_a_value_does_not_depend_on_the_other_rows(kind: str, cell: str, others: list[int]) -> None:
    source = contract({"id": "integer", "cell": kind})
    good = {"integer": "1", "number": "1.5", "string": "x", "timestamp": "2013-01-05T10:00:00Z"}[kind]

    def faults(cells: list[str]) -> list[str]:
        lines = ["id,cell", *(f'{number},"{text.replace(chr(34), chr(34) * 2)}"' for number, text in enumerate(cells))]
        return read_delivery("\n".join(lines).encode(), source, PARTITION)[1]

    alone, among = faults([cell]), faults([*["NA"] * len(others), good, cell])
    assert bool(alone) == bool(among)
    assert [fault.replace("1 of 1", "").replace("(line 2)", "") for fault in alone] == [
        fault.replace(f"1 of {len(others) + 2}", "").replace(f"(line {len(others) + 3})", "") for fault in among
    ]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_at_all_are_rows_or_named_faults(content: bytes) -> None:
    for form in ("csv", "parquet"):
        rows, failures = read_delivery(
            content, contract({"id": "integer"}, files={"path": CSV, "format": form}), PARTITION
        )
        assert failures or rows.columns == ["id"]
