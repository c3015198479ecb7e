"""MLflow's scoring protocol: parses a body into rows for the model, or lists its faults.

``dataframe_split``, ``dataframe_records``, ``instances``, ``inputs``; beside it ``ids``, one entity id per row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from pipelines.serving.http.response import Problem
from pipelines.serving.models.faults import RowFaults
from pipelines.serving.models.rows import InputRows, RowSchema, json_type, name_faults, parse_rows, quote_shortened

INPUT_FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")
ALLOWED_FIELDS = {*INPUT_FORMATS, "ids", "params"}


def read(body: bytes, schema: RowSchema) -> InputRows:
    """The rows of a request. Raises ``Problem`` with at most 20 faults and the number of further ones."""
    content = parse_rows(body, schema)
    if not isinstance(content, dict):
        raise Problem(
            400, [f"the body is a JSON {json_type(content)}; send an object with one of {', '.join(INPUT_FORMATS)}"]
        )
    faults = RowFaults()
    forms = [form for form in INPUT_FORMATS if form in content]
    if not content.keys() <= ALLOWED_FIELDS:
        unknown = [name for name in content if name not in ALLOWED_FIELDS]
        faults.extend(unknown, lambda name: f"unknown field {quote_shortened(name)}")
    if len(forms) != 1:
        faults.add(f"send exactly one of {', '.join(INPUT_FORMATS)}; found {', '.join(forms) or 'none'}")
        raise Problem(400, faults.summary())
    if content.get("params"):
        faults.add("params are not supported by this model; leave them out")
    form, table = forms[0], content[forms[0]]
    rows = table.get("data") if form == "dataframe_split" and isinstance(table, dict) else table
    if isinstance(rows, list) and len(rows) > schema.max_rows:  # before any row is checked
        raise schema.too_many_rows_problem(len(rows), faults.shown)
    before = faults.count
    values, count = _read_columns(form, table, schema, faults)
    return schema.check(values, count, content.get("ids"), faults, is_shaped=faults.count == before)


def write(model: str, version: str, rows: InputRows, predictions: Sequence[float]) -> bytes:  # noqa: ARG001 - the protocol names neither
    """The response body."""
    return orjson.dumps({"predictions": predictions})


def _read_columns(form: str, content: Any, schema: RowSchema, faults: RowFaults) -> tuple[list[Sequence[Any]], int]:
    """Columns in the model's order and the number of rows; no columns if the shape is wrong."""
    names = schema.names
    if form == "dataframe_split":
        return _read_split(content, names, faults)
    if form == "inputs" and isinstance(content, dict):
        columns = {name: column if type(column) is list else [column] for name, column in content.items()}
        return schema.order_columns(columns, faults)
    if not isinstance(content, list):
        faults.add(f"{form} is a JSON {json_type(content)}; give an array of rows")
        return [], 0
    if content and all(type(row) is dict for row in content):
        return _read_records(form, content, names, faults)
    if form == "dataframe_records":
        wrong = [index for index, row in enumerate(content) if type(row) is not dict]
        faults.extend(wrong, lambda index: f"{form}[{index}] is a JSON {json_type(content[index])}, not an object")
        return [], len(content)
    return _read_matrix(form, content, names, names, faults)


def _read_split(content: Any, names: list[str], faults: RowFaults) -> tuple[list[Sequence[Any]], int]:
    if not isinstance(content, dict):
        faults.add(f"dataframe_split is a JSON {json_type(content)}; give an object with columns and data")
        return [], 0
    before = faults.count
    columns, data = content.get("columns"), content.get("data")
    if columns == names and isinstance(data, list) and len(content) == 2:
        return _read_matrix("dataframe_split.data", data, columns, names, faults)
    faults.extend(
        [field for field in ("columns", "data") if field not in content],
        lambda field: f"dataframe_split has no {field!r}",
    )
    faults.extend(
        [field for field in content if field not in ("columns", "data", "index")],
        lambda field: f"dataframe_split has unknown field {quote_shortened(field)}",
    )
    columns, data = content.get("columns", []), content.get("data", [])
    if not isinstance(columns, list) or any(type(name) is not str for name in columns):
        faults.add("dataframe_split.columns is not an array of names")
    if not isinstance(data, list):
        faults.add("dataframe_split.data is not an array of rows")
    if faults.count > before:
        return [], 0
    return _read_matrix("dataframe_split.data", data, columns, names, faults)


def _read_matrix(
    location: str, data: list[Any], columns: list[str], names: list[str], faults: RowFaults
) -> tuple[list[Sequence[Any]], int]:
    before = faults.count
    if columns != names:
        name_faults(columns, names, faults)
    width = len(columns)
    for index, row in enumerate(data):
        if type(row) is not list:
            faults.add(f"{location}[{index}] is a JSON {json_type(row)}, not an array")
        elif len(row) != width:
            faults.add(f"{location}[{index}] has {len(row)} values, not {width}")
    if faults.count > before or not data:
        return [], len(data)
    values: list[Sequence[Any]] = list(zip(*data, strict=True))
    if columns != names:
        positions = {name: index for index, name in enumerate(columns)}
        values = [values[positions[name]] for name in names]
    return values, len(data)


def _read_records(
    form: str, rows: list[dict[str, Any]], names: list[str], faults: RowFaults
) -> tuple[list[Sequence[Any]], int]:
    expected = set(names)
    before = faults.count
    for index, row in enumerate(rows):
        if row.keys() != expected:
            name_faults(list(row), names, faults, f"{form}[{index}]: ")
    if faults.count > before:
        return [], len(rows)
    return [[row[name] for row in rows] for name in names], len(rows)
