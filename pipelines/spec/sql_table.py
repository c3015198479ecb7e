"""A source may be a table or a query of a database: the connection, what is read, and by which column a partition."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from pydantic import Field, field_validator, model_validator

from pipelines.spec.column import ColumnSpec
from pipelines.spec.declared import DeclarationBlock, Identifier
from pipelines.spec.partitions import Partition

EXTRACT_FILE = "extract.parquet"
"""Into which the rows of a partition are written once; from then on it is a delivered file like any other."""
TABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)?")
QUERY_BEGIN = re.compile(r"\s*(select|with)\b", re.IGNORECASE)


TableColumns = Mapping[str, ColumnSpec]
"""The declared columns of a source by name."""


@dataclass(frozen=True)
class Window:
    """Rows whose ``column`` lies in ``partition``; the dates of the column are days of ``timezone``."""

    column: str
    partition: Partition
    timezone: str


class SqlTable(DeclarationBlock):
    """``sql`` of a source. Of a partition the rows are read whose ``window`` lies in it; of a copy all rows.

    Only the declared columns are read, in a transaction that cannot write.
    """

    connection: Identifier
    """Id of an Airflow connection to PostgreSQL or SQLite."""
    table: str | None = None
    """``orders`` or ``sales.orders``, with capitals as the database has them."""
    query: str | None = None
    """One SELECT in place of a table; the owner's code, trusted."""
    window: str | None = None
    """Timestamp or date column by which a partition is read; none: that of ``event_time``."""
    max_rows: int = Field(default=20_000_000, ge=1)
    """A partition with more rows is refused before it fills the memory."""

    @field_validator("table")
    @classmethod
    def check_table_name(cls, table: str | None) -> str | None:
        if table is not None and not TABLE_NAME.fullmatch(table):
            raise ValueError("must be the name of a table, as in `orders` or `sales.orders`; write `query` for others")
        return table

    @field_validator("query")
    @classmethod
    def check_query_is_one_select(cls, query: str | None) -> str | None:
        if query is not None and (not QUERY_BEGIN.match(query) or ";" in query):
            raise ValueError("must be one SELECT without a semicolon")
        return query

    @model_validator(mode="after")
    def check_table_or_query(self) -> Self:
        if (self.table is None) == (self.query is None):
            raise ValueError("needs `table` or `query`, and not both")
        return self
