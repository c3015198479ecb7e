"""A file is read as its source declares it; one that is anything else is named for what it is, with the line."""

from __future__ import annotations

import gzip
import io
from datetime import timedelta
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from pydantic import ValidationError

from pipelines.spec.fault_text import fault_texts
from pipelines.spec.file_format import FileFormat, format_of_name
from pipelines.steps.ingestion.delivered_file import read_file
from pipelines.steps.ingestion.file_rows import FileRows

COLUMNS = ["id", "name", "amount"]
GOOD = "id,name,amount\n1,Ä,0.5\n2,b,1.5\n"
ROWS = [("1", "Ä", "0.5"), ("2", "b", "1.5")]


def read(content: bytes | str, name: str = "rows.csv", **declared: Any) -> FileRows:
    delivered = content.encode() if isinstance(content, str) else content
    return read_file(name, delivered, FileFormat.model_validate(declared), COLUMNS)


def compressed(text: str, codec: str = "zstd") -> bytes:
    content: bytes = pa.compress(text.encode(), codec=codec, asbytes=True)
    return content


@pytest.mark.parametrize(
    ("content", "declared"),
    [
        (GOOD.replace(",", ";").encode(), {"delimiter": ";"}),
        (GOOD.replace(",", "\t").encode(), {"delimiter": "tab"}),
        (GOOD.replace(",", "\x01").encode(), {"delimiter": "\x01"}),
        (GOOD.partition("\n")[2].encode(), {"header": False}),
        (GOOD.replace("\n", "\r\n").encode("utf-16"), {"encoding": "utf-16"}),
        (GOOD.encode("utf-16-le"), {"encoding": "utf-16-le"}),
        (GOOD.encode("utf-8-sig"), {"encoding": "utf-8-sig"}),
        (GOOD.encode("latin-1"), {"encoding": "latin-1"}),
        (GOOD.encode("cp1252"), {"encoding": "cp1252"}),
        (GOOD.replace("Ä", "'Ä'").encode(), {"quote": "'"}),
        (b"id  name\tamount\r\n 1 \xc3\x84 0.5\r\n\r\n2   b   1.5  \r\n", {"delimiter": "whitespace"}),
        ('1 "Ä" 0.5\n2 b "1.5"'.encode(), {"delimiter": "whitespace", "header": False}),
        (
            '{"id": 1, "name": "Ä", "amount": 0.5}\n\n{"amount": 1.5, "name": "b", "id": 2}'.encode(),
            {"format": "jsonl"},
        ),
    ],
)
def test_a_file_is_read_as_its_source_declares_it(content: bytes, declared: dict[str, Any]) -> None:
    file = read(content, **declared)
    assert file.failures == []
    assert file.rows is not None
    assert (file.rows.columns, file.rows.rows()) == (COLUMNS, ROWS)


@pytest.mark.parametrize(
    ("name", "content", "declared"),
    [
        ("rows.csv.gz", gzip.compress(GOOD.encode(), mtime=0), {}),
        ("rows.csv.gz", gzip.compress(GOOD[:20].encode(), mtime=0) + gzip.compress(GOOD[20:].encode(), mtime=0), {}),
        ("rows", gzip.compress(GOOD.encode(), mtime=0), {"compression": "gzip"}),
        ("rows.csv.zst", compressed(GOOD), {}),
        ("rows.csv.gz", GOOD.encode(), {"compression": "none"}),
    ],
    ids=["gz", "gz of two parts", "gz by declaration", "zst", "none by declaration"],
)
def test_a_compressed_file_is_read_by_its_name_or_its_declaration(
    name: str, content: bytes, declared: dict[str, Any]
) -> None:
    file = read(content, name, **declared)
    assert (file.failures, file.lines.to_list()) == ([], [2, 3])


def test_each_row_has_the_line_on_which_it_begins() -> None:
    assert read('id,name,amount\n1,"a\nb",2\n3,c,4\n').lines.to_list() == [2, 4]
    assert read("1 a 2\n\n3 c 4\n", delimiter="whitespace", header=False).lines.to_list() == [1, 3]
    assert read('{"id": 1}\n\n{"id": 2}\n', format="jsonl").lines.to_list() == [1, 3]


def test_an_empty_file_has_no_rows_where_nothing_must_stand_before_them() -> None:
    for declared in ({"header": False}, {"format": "jsonl"}):
        file = read("", **declared)
        assert (file.failures, file.rows is not None and file.rows.height) == ([], 0)
    assert read("").failures == ["the file is empty; deliver it again"]
    assert read(gzip.compress(b"", mtime=0), "rows.csv.gz").failures == ["the file is empty; deliver it again"]


ZIPPED = gzip.compress((GOOD * 50).encode(), mtime=0)
SQUEEZED = compressed(GOOD * 50)
OBJECT = '{"id": 1, "name": "a", "amount": 2}\n'


@pytest.mark.parametrize(
    ("name", "content", "declared", "fault"),
    [
        ("a.csv.gz", ZIPPED[:-9], {}, "the file ends before its gzip data do; it was truncated"),
        ("a.csv.zst", SQUEEZED[:-9], {}, "the file ends before its zstd data do; it was truncated"),
        ("a.csv.gz", ZIPPED[:20] + b"\xff" * 9 + ZIPPED[29:], {}, "the file's gzip data are damaged"),
        ("a.csv.zst", SQUEEZED[:9] + b"\xff" * 9 + SQUEEZED[18:], {}, "the file's zstd data are damaged"),
        ("a.csv.gz", GOOD.encode(), {}, "the file is not compressed with gzip, as its name or its source says"),
        ("a.csv", ZIPPED, {}, "compressed with gzip; deliver it uncompressed, or declare `compression: gzip`"),
        ("a.csv.gz", ZIPPED, {"max_bytes": 900}, "the file has more than 900 bytes, decompressed"),
        ("a.csv.zst", SQUEEZED, {"max_bytes": 900}, "the file has more than 900 bytes, decompressed"),
        ("a.csv", GOOD.encode() * 50, {"max_bytes": 900}, "the file has more than 900 bytes, decompressed"),
        ("a.csv", b"BZh91AY", {}, "the file is compressed with bzip2; deliver it uncompressed, or with gzip"),
        ("a.jsonl", b"PK\x03\x04....", {"format": "jsonl"}, "a zip archive or an Excel workbook; deliver it as JSON"),
        ("a.csv", GOOD.encode("utf-16"), {"encoding": "latin-1"}, "is UTF-16, by the byte order mark on line 1"),
        ("a.csv", GOOD.encode("utf-8-sig"), {"encoding": "cp1252"}, "is UTF-8, by the byte order mark on line 1"),
        ("a.csv", GOOD.encode("latin-1"), {}, "line 2 is not UTF-8 (byte 0xc4); deliver the file as UTF-8, or declare"),
        ("a.csv", GOOD.encode("utf-16") + b"\x00", {"encoding": "utf-16"}, "line 4 is not UTF-16"),
        ("a.csv", b"id,name,amount\n1,\x81,2\n", {"encoding": "cp1252"}, "line 2 is not CP1252 (byte 0x81)"),
        ("a.csv", GOOD.encode(), {"delimiter": ";"}, "by commas; deliver the file separated by semicolons"),
        ("a.csv", GOOD.encode(), {"delimiter": "whitespace"}, "by commas; deliver the file separated by spaces"),
        ("a.csv", b"1;a;2\n", {"header": False}, "line 1 separates the columns by semicolons"),
        ("a.csv", b"1 a 2\n", {"header": False}, "separated by commas, or declare `delimiter: whitespace`"),
        (
            "a.csv",
            b"1,a,2,3\n4,b\n",
            {"header": False},
            "2 lines do not have the 3 declared fields, for example line 1 with 4",
        ),
        ("a.csv", b'id name amount\n1 5"pipe 2\n', {"delimiter": "whitespace"}, 'line 2 has a quote (")'),
        ("a.csv", b"id|name|amount\n1|'a|2\n", {"delimiter": "|", "quote": "'"}, "line 2 opens a quote (')"),
        ("a.csv", b"id,name,amount\n1,a\rb,2\n", {"quote": "none"}, "line 2 has a carriage return (CR)"),
        (
            "a",
            OBJECT.encode() + b"[1, 2]\n",
            {"format": "jsonl"},
            "1 lines are no JSON object but an array: deliver one object per",
        ),
        ("a", b"7\n" + OBJECT.encode(), {"format": "jsonl"}, "no JSON object but a single value, for example line 1"),
        ("a", OBJECT.encode() + b'{"id": 1', {"format": "jsonl"}, "are no JSON object (Expecting ',' delimiter)"),
        ("a", b'{"id": 1, "id": 2}', {"format": "jsonl"}, "name the field 'id' more than once; write each once"),
        ("a", b'{"id": NaN}', {"format": "jsonl"}, "have NaN, which JSON does not know; write null"),
        ("a", b'{"id": -Infinity}', {"format": "jsonl"}, "have -Infinity, which JSON does not know"),
        ("a", b'{"id": {"a": 1}}', {"format": "jsonl"}, "have an object in the field 'id'; deliver flat objects"),
        ("a", b'{"id": [1]}', {"format": "jsonl"}, "have a list in the field 'id'; deliver flat objects"),
        ("a", b'{"id": "\\ud800"}', {"format": "jsonl"}, "have half a character (a surrogate) in the field 'id'"),
        ("a", b"[" * 100_000, {"format": "jsonl"}, "hold values within values; deliver flat objects"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_is_not_as_declared_is_named_for_what_it_is(
    name: str, content: bytes, declared: dict[str, Any], fault: str
) -> None:
    file = read(content, name, **declared)
    assert [fault in failure for failure in file.failures] == [True], file.failures
    assert file.rows is None


def test_faults_of_json_lines_are_counted_by_what_they_are() -> None:
    file = read(OBJECT + "{\n{\n[]\n" + '{"id": [1]}\n' * 3, format="jsonl")
    assert [failure.split(": ")[1].split(" lines")[0] for failure in file.failures] == ["2", "1", "3"]


def test_columns_of_parquet_that_no_contract_takes_are_named() -> None:
    frame = pl.DataFrame({"id": [[1]], "took": [timedelta(1)], "part": [{"a": 1}], "raw": [b"\xff"], "text": [b"ok"]})
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    failures = read(buffer.getvalue(), format="parquet").failures
    assert [failure.split("'")[1] for failure in failures] == ["id", "took", "part", "raw"]
    assert failures[3] == "column 'raw': 1 of 1 values are bytes that are no UTF-8 text"


def test_a_parquet_file_of_few_bytes_and_many_rows_is_refused() -> None:
    buffer = io.BytesIO()
    pl.DataFrame({"id": pl.repeat(1, 100_000, eager=True)}).write_parquet(buffer)
    [failure] = read(buffer.getvalue(), format="parquet", max_bytes=100_000).failures
    assert failure.startswith("the file has 800,000 bytes, decompressed, more than 100,000")


@pytest.mark.parametrize(
    ("declared", "fault"),
    [
        ({"delimiter": ""}, "delimiter: must be one character, `tab` or `whitespace`"),
        ({"delimiter": "::"}, "delimiter: must be one character"),
        ({"delimiter": '"'}, "delimiter and quote are both '\"'"),
        ({"delimiter": "whitespace", "quote": " "}, "delimiter and quote are both ' '"),
        ({"decimal": ",", "thousands": ","}, "decimal and thousands are both ','"),
        ({"encoding": "klingon"}, "encoding: must be an encoding of text"),
        ({"encoding": "base64"}, "encoding: must be an encoding of text"),
        ({"encoding": "idna"}, "encoding: must be an encoding of text"),
        ({"format": "jsonl", "delimiter": ";"}, "delimiter are not for jsonl; remove them"),
        ({"format": "parquet", "encoding": "latin-1", "compression": "gzip"}, "encoding and compression are not for"),
        ({"max_bytes": 0}, "max_bytes: must be at least 1"),
    ],
)
def test_a_format_that_cannot_be_read_is_refused_when_it_is_declared(declared: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError) as refused:
        FileFormat.model_validate(declared)
    assert any(fault in text for text in fault_texts(refused.value)), fault_texts(refused.value)


def test_the_format_follows_from_the_end_of_a_name() -> None:
    names = {"a.csv": "csv", "a.txt": "csv", "a.jsonl.gz": "jsonl", "a.ndjson": "jsonl", "a.parquet": "parquet"}
    assert {name: format_of_name(name) for name in names} == names
