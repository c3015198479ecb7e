"""How a file is written follows from its bytes; the reader of deliveries then reads it."""

from __future__ import annotations

import gzip
import io
from typing import Any

import polars as pl
import pytest

from pipelines.steps.drafting.written_form import read_unknown_file

LINES = "id;price\n1;1,5\n2;2,5\n"


def parquet(rows: pl.DataFrame) -> bytes:
    content = io.BytesIO()
    rows.write_parquet(content)
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "pattern", "fields"),
    [
        ("o.csv", b"id,price\n1,2\n", "*.csv", {}),
        ("o.csv", LINES.encode(), "*.csv", {"delimiter": ";"}),
        ("o.tsv", b"id\tprice\n1\t2\n", "*.tsv", {"delimiter": "tab"}),
        ("o.txt", b"id|price\n1|2\n", "*.txt", {"delimiter": "|"}),
        ("o.txt", b"  1  2\n 3   4\n", "*.txt", {"delimiter": "whitespace", "header": False}),
        ("o.csv", b"1,2\n3,4\n", "*.csv", {"header": False}),
        ("o.csv", b"a,b\nb,a\na,b\n", "*.csv", {"header": False}),
        ("o.csv.gz", gzip.compress(b"id,price\n1,2\n", mtime=0), "*.csv.gz", {}),
        ("o.csv", gzip.compress(b"id,price\n1,2\n", mtime=0), "*.csv", {"compression": "gzip"}),
        ("o.csv", LINES.encode("utf-16"), "*.csv", {"encoding": "utf-16", "delimiter": ";"}),
        ("o.csv", "id,ort\n1,Köln\n".encode("cp1252"), "*.csv", {"encoding": "cp1252"}),
        ("o.csv", b'id,note\n1,a "b" c\n', "*.csv", {"quote": "none"}),
        ("o.csv", b'id,note\n1,"a, b"\n', "*.csv", {}),
        ("o.json", b'{"id": 1}\n{"id": 2}\n', "*.json", {"format": "jsonl"}),
        ("o.parquet", parquet(pl.DataFrame({"id": [1]})), "*.parquet", {}),
        ("o", parquet(pl.DataFrame({"id": [1]})), "*", {"format": "parquet"}),
    ],
)
def test_a_file_is_read_as_it_is_written(name: str, content: bytes, pattern: str, fields: dict[str, Any]) -> None:
    form, file = read_unknown_file(name, content)
    assert (form.pattern, form.fields) == (pattern, fields)
    assert file.rows is not None
    assert file.rows.height >= 1


def test_an_encoding_that_any_bytes_have_is_asked_about() -> None:
    form, _ = read_unknown_file("o.csv", "id,ort\n1,Köln\n".encode("cp1252"))
    assert form.questions == ["the bytes are no UTF-8; are the texts right when they are read as cp1252?"]
