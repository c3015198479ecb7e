"""A request body is either rows the model can score, or an answer that lists every fault in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from pipelines.serving.bundle import Input

MAX_FAULTS = 20
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
FLOAT32_MAX = 3.4028234663852886e38
_NUMBERS = {int, float, type(None)}
_TEXTS = {str, type(None)}


class BadRequest(Exception):
    """The request cannot be scored; ``faults`` says all that is wrong with it, ``status`` is a 4xx."""

    def __init__(self, faults: Sequence[str], status: int = 400, hint: str = "") -> None:
        self.faults = list(faults)
        self.status = status
        self.hint = hint
        super().__init__("; ".join(self.faults))


class Rows(msgspec.Struct):
    """Rows by column, in the model's order of features; ``ids`` has one entity id per row, or is None."""

    values: list[Sequence[Any]]
    count: int
    ids: list[str] | None


class Reader:
    """Reads MLflow's scoring protocol for one schema: ``dataframe_split``, ``dataframe_records``, ``instances``,
    ``inputs``; beside it ``ids``, one entity id per row."""

    def __init__(self, features: Sequence[Input], max_rows: int) -> None:
        self._features = features
        self._names = [feature.name for feature in features]
        self._kinds = [_TEXTS if feature.type == "categorical" else _NUMBERS for feature in features]
        self._max_rows = max_rows

    def read(self, body: bytes) -> Rows:
        """Parse and check. Raises ``BadRequest`` with up to 20 faults, and how many more there are."""
        try:
            content = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequest([f"the body is not JSON: {error}; a missing value is null"]) from None
        if not isinstance(content, dict):
            raise BadRequest([f"the body is a JSON {_kind(content)}; send an object with one of {', '.join(FORMS)}"])
        forms = [form for form in FORMS if form in content]
        unknown = [name for name in content if name not in FORMS and name not in ("ids", "params")]
        faults = [f"unknown field {name!r}" for name in unknown[:MAX_FAULTS]]
        if len(forms) != 1:
            faults.append(f"send exactly one of {', '.join(FORMS)}; found {', '.join(forms) or 'none'}")
            raise BadRequest(faults)
        if content.get("params"):
            faults.append("params are not supported by this model; leave them out")
        values, count, more = _columns(forms[0], content[forms[0]], self._names)
        faults += more
        if count > self._max_rows:
            raise BadRequest([*faults, f"{count} rows; at most {self._max_rows} per request"], 413)
        if not more and count == 0:
            faults.append("no rows to score")
        ids = content.get("ids")
        faults += _id_faults(ids, count)
        if count and not more:
            for kind, column in zip(self._kinds, values, strict=True):
                if not set(map(type, column)) <= kind:
                    faults += _type_faults(self._features, values)
                    break
        if faults:
            left = len(faults) - MAX_FAULTS
            raise BadRequest(faults[:MAX_FAULTS] + ([f"and {left} more"] if left > 0 else []))
        return Rows(values, count, ids)

    def out_of_range(self, rows: Rows) -> BadRequest:
        """What to answer when a number does not fit into the model's 32-bit floats."""
        return BadRequest(_range_faults(self._features, rows.values)[:MAX_FAULTS])


def _kind(value: Any) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "ao" else f"a {kind}"


def _columns(form: str, content: Any, names: list[str]) -> tuple[list[Sequence[Any]], int, list[str]]:
    """Columns in the order of ``names``, the number of rows, and the faults of shape."""
    if form == "dataframe_split":
        return _split(content, names)
    if form == "inputs" and isinstance(content, dict):
        return _columnar(content, names)
    if not isinstance(content, list):
        return [], 0, [f"{form} is a JSON {_kind(content)}; give an array of rows"]
    if content and all(type(row) is dict for row in content):
        return _records(form, content, names)
    if form == "dataframe_records":
        bad = [place for place, row in enumerate(content) if type(row) is not dict]
        return [], len(content), [f"{form}[{place}] is a JSON {_kind(content[place])}, not an object" for place in bad]
    return _matrix(form, content, names, names)


def _split(content: Any, names: list[str]) -> tuple[list[Sequence[Any]], int, list[str]]:
    if not isinstance(content, dict):
        return [], 0, [f"dataframe_split is a JSON {_kind(content)}; give an object with columns and data"]
    faults = [f"dataframe_split has no {field!r}" for field in ("columns", "data") if field not in content]
    faults += [
        f"dataframe_split has unknown field {field!r}" for field in content if field not in ("columns", "data", "index")
    ]
    columns, data = content.get("columns", []), content.get("data", [])
    if not isinstance(columns, list) or any(type(name) is not str for name in columns):
        faults.append("dataframe_split.columns is not an array of names")
    if not isinstance(data, list):
        faults.append("dataframe_split.data is not an array of rows")
    if faults:
        return [], 0, faults
    return _matrix("dataframe_split.data", data, columns, names)


def _matrix(
    where: str, data: list[Any], columns: list[str], names: list[str]
) -> tuple[list[Sequence[Any]], int, list[str]]:
    faults = [] if columns == names else _name_faults(columns, names)
    width = len(columns)
    for place, row in enumerate(data):
        if type(row) is not list:
            faults.append(f"{where}[{place}] is a JSON {_kind(row)}, not an array")
        elif len(row) != width:
            faults.append(f"{where}[{place}] has {len(row)} values, not {width}")
    if faults or not data:
        return [], len(data), faults
    values: list[Sequence[Any]] = list(zip(*data, strict=True))
    if columns != names:
        places = {name: place for place, name in enumerate(columns)}
        values = [values[places[name]] for name in names]
    return values, len(data), []


def _records(form: str, rows: list[dict[str, Any]], names: list[str]) -> tuple[list[Sequence[Any]], int, list[str]]:
    expected = set(names)
    faults = []
    for place, row in enumerate(rows):
        if row.keys() != expected:
            faults += [f"{form}[{place}]: {fault}" for fault in _name_faults(list(row), names)]
    if faults:
        return [], len(rows), faults
    return [[row[name] for row in rows] for name in names], len(rows), []


def _columnar(content: dict[str, Any], names: list[str]) -> tuple[list[Sequence[Any]], int, list[str]]:
    faults = _name_faults(list(content), names)
    columns = {name: column if type(column) is list else [column] for name, column in content.items()}
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        faults.append(f"inputs has columns of {', '.join(map(str, sorted(lengths)))} values; give one per row to each")
    if faults:
        return [], max(lengths, default=0), faults
    return [columns[name] for name in names], lengths.pop(), []


def _name_faults(columns: list[str], names: list[str]) -> list[str]:
    missing = [f"missing column {name!r}" for name in names if name not in columns]
    extra = [f"unknown column {name!r}" for name in dict.fromkeys(columns) if name not in names]
    twice = [f"column {name!r} is given twice" for name in dict.fromkeys(columns) if columns.count(name) > 1]
    return missing + extra + twice


def _id_faults(ids: Any, count: int) -> list[str]:
    if ids is None:
        return []
    if not isinstance(ids, list):
        return [f"ids is a JSON {_kind(ids)}; give an array with one entity id per row"]
    faults = [
        f"ids[{place}] is a JSON {_kind(one)}, not a string" for place, one in enumerate(ids) if type(one) is not str
    ]
    if len(ids) != count:
        faults.append(f"ids has {len(ids)} entries for {count} rows")
    return faults


def _type_faults(features: Sequence[Input], values: list[Sequence[Any]]) -> list[str]:
    """Every value of the wrong type; a boolean is not a number."""
    faults = []
    for feature, column in zip(features, values, strict=True):
        allowed, wanted = (_TEXTS, "a string") if feature.type == "categorical" else (_NUMBERS, "a number")
        faults += [
            f"row {place}, column {feature.name!r}: {str(value)[:40]!r} is {_a(_kind(value))}, not {wanted} or null"
            for place, value in enumerate(column)
            if type(value) not in allowed
        ]
    return faults


def _range_faults(features: Sequence[Input], values: list[Sequence[Any]]) -> list[str]:
    """Every number that a model's 32-bit floats cannot hold."""
    faults = []
    for feature, column in zip(features, values, strict=True):
        if feature.type == "numeric":
            faults += [
                f"row {place}, column {feature.name!r}: {str(value)[:40]} is larger than {FLOAT32_MAX:.3g}"
                for place, value in enumerate(column)
                if value is not None and not -FLOAT32_MAX <= value <= FLOAT32_MAX
            ]
    return faults
