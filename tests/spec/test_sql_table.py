"""A source of a database is refused when it is read for what would fail, or lose rows, later."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.fault_text import fault_texts

COLUMNS = {"id": "integer", "at": "timestamp", "paid_at": "timestamp or null", "minute": "integer"}
ORDERS = {"sql": {"connection": "warehouse", "table": "orders"}, "key": ["id"], "event_time": "at", "columns": COLUMNS}


def faults(every: str = "day", **changes: Any) -> str:
    """``sql__window`` changes a field of the block."""
    source: dict[str, Any] = {**ORDERS, "sql": dict(ORDERS["sql"])}  # type: ignore[call-overload]
    for name, value in changes.items():
        (source["sql"] if name.startswith("sql__") else source)[name.removeprefix("sql__")] = value
    partition = {"every": every} if every == "once" else {"every": every, "start": "2024-01-01"}
    fields = {"schema": 2, "dataset": "sales", "partition": partition, "sources": {"orders": source}}
    try:
        DatasetSpec.model_validate(fields)
    except ValidationError as error:
        return "\n".join(fault_texts(error))
    return ""


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"files": "{source}/{partition}/a.csv"}, "sources.orders.files: a source has `files` or `sql`, and not both"),
        ({"sql__table": "orders; DROP TABLE x"}, "sql.table: must be the name of a table"),
        ({"sql__table": "a.b.c"}, "sql.table: must be the name of a table"),
        ({"sql__table": None}, "needs `table` or `query`"),
        ({"sql__query": "SELECT 1"}, "needs `table` or `query`, and not both"),
        ({"sql__table": None, "sql__query": "DELETE FROM orders"}, "sql.query: must be one SELECT"),
        ({"sql__table": None, "sql__query": "SELECT 1; SELECT 2"}, "sql.query: must be one SELECT without a semicolon"),
        ({"sql__window": "id"}, "sources.orders.sql.window: 'id' is integer; it must be a timestamp or a date"),
        ({"sql__window": "paid_at"}, "'paid_at' may be null, and such a row is of no partition"),
        ({"sql__window": "updated"}, "'updated' is no column of the source"),
        ({"event_time": "at + minute"}, "no database finds rows by at + minute; write the sum as a column of `query`"),
        ({"event_time": "none"}, "sources.orders.sql: name the time by which a partition is read"),
        (
            {"cadence": "reference", "event_time": None, "sql__window": "at"},
            "a reference copy is read whole; remove it",
        ),
        ({"late": {"allow": "1d"}}, "sources.orders.late: a table is read by its own times; remove it"),
        ({"every": "once", "sql__window": "at"}, "a table without dates is read whole; remove it"),
    ],
)
def test_a_table_that_cannot_be_read_as_declared_is_refused(changes: dict[str, Any], fault: str) -> None:
    assert fault in faults(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sql__window": "at", "event_time": "none"},
        {"sql__window": "at", "event_time": "at + minute"},
        {"cadence": "reference", "event_time": None},
        {"every": "once", "event_time": None, "key": "row"},
        {"sql__table": None, "sql__query": "with x as (select * from orders) select * from x"},
    ],
)
def test_a_table_or_query_with_its_window_is_taken(changes: dict[str, Any]) -> None:
    assert faults(**changes) == ""
