"""The purchases are read from the file as it is shipped, without a word of Python for them."""

from __future__ import annotations

from datetime import date

import polars as pl

from pipelines.demo.purchases import purchases_file
from pipelines.spec.column import ColumnSpec
from pipelines.spec.file_format import FileFormat
from pipelines.steps.ingestion.column_values import typed_columns
from pipelines.steps.ingestion.delivered_file import read_file

COLUMNS = {
    "customer_master": "string",
    "customer_id": "string",
    "date": {"type": "date", "format": "%Y%m%d"},
    "cds": "integer",
    "amount": {"type": "number", "min": 0},
}


def test_every_purchase_is_read_as_pythons_own_split_reads_it() -> None:
    files = FileFormat(delimiter="whitespace", header=False)
    columns = {name: ColumnSpec.model_validate(column) for name, column in COLUMNS.items()}
    file = read_file("CDNOW_sample.txt", purchases_file(), files, list(columns))
    assert file.failures == []
    assert file.rows is not None
    rows = typed_columns(file.rows, columns, files)[1]
    by_hand = [line.split() for line in purchases_file().decode().splitlines()]
    assert rows.rows() == [
        (master, customer, date.fromisoformat(day), int(cds), float(amount))
        for master, customer, day, cds, amount in by_hand
    ]
    assert (rows.height, rows["customer_id"].n_unique(), rows.is_duplicated().sum()) == (6919, 2357, 40)
    assert rows["customer_master"][0] == "00004"
    assert rows.schema["date"] == pl.Date
    assert file.lines.to_list() == list(range(1, 6920))
