"""A request body is either rows the model can score, or an answer that lists every fault in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import inf
from typing import Any

import msgspec

from pipelines.serving.models.bundle import Input
from pipelines.serving.models.faults import MAX_FAULTS, Faults

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
FLOAT32_MAX = 3.4028234663852886e38
_NUMBERS: set[type] = {int, float, type(None)}
_TEXTS: set[type] = {str, type(None)}
_NOTHING = type(None)


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
    ``inputs``; beside it ``ids``, one entity id per row.

    ``missing``: whether null may stand for a value. ``ranges``: whether a feature's minimum and maximum bind.
    """

    def __init__(self, features: Sequence[Input], max_rows: int, *, missing: bool = True, ranges: bool = True) -> None:
        self._features = features
        self._names = [feature.name for feature in features]
        never: set[type] = set() if missing else {_NOTHING}
        self._kinds = [(_TEXTS if feature.type == "categorical" else _NUMBERS) - never for feature in features]
        bounds = [(feature.minimum, feature.maximum) if ranges else (None, None) for feature in features]
        self._bounds = [(place, *pair) for place, pair in enumerate(bounds) if pair != (None, None)]
        self._max_rows = max_rows

    def read(self, body: bytes) -> Rows:
        """Parse and check. Raises ``BadRequest`` with up to 20 faults, and how many more there are."""
        try:
            content = msgspec.json.decode(body)
        except RecursionError:
            raise BadRequest(["the body is not JSON that can be read: it is nested too deeply"]) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadRequest([f"the body is not JSON: {error}; a missing value is null"]) from None
        if not isinstance(content, dict):
            raise BadRequest([f"the body is a JSON {_kind(content)}; send an object with one of {', '.join(FORMS)}"])
        return self.check(content)

    def check(self, content: dict[str, Any]) -> Rows:
        """The rows of a request that has been parsed; raises as ``read`` does."""
        forms = [form for form in FORMS if form in content]
        faults = Faults()
        unknown = [name for name in content if name not in FORMS and name not in ("ids", "params")]
        if unknown:
            faults.extend(unknown, lambda name: f"unknown field {_short(name)}")
        if len(forms) != 1:
            faults.add(f"send exactly one of {', '.join(FORMS)}; found {', '.join(forms) or 'none'}")
            raise BadRequest(faults.said())
        if content.get("params"):
            faults.add("params are not supported by this model; leave them out")
        self._bound(forms[0], content[forms[0]], faults)
        before = faults.count
        values, count = _columns(forms[0], content[forms[0]], self._names, faults)
        shaped = faults.count == before
        if count > self._max_rows:
            raise BadRequest([*faults.shown, self._too_many(count)], 413)
        if shaped and count == 0:
            faults.add("no rows to score")
        ids = content.get("ids")
        _id_faults(ids, count, faults)
        if count and shaped:
            self._check_values(values, faults)
        if faults.count:
            raise BadRequest(faults.said())
        return Rows(values, count, ids)

    def _bound(self, form: str, content: Any, faults: Faults) -> None:
        """Refuse too many rows before any of them is looked at."""
        rows = content.get("data") if form == "dataframe_split" and isinstance(content, dict) else content
        if isinstance(rows, list) and len(rows) > self._max_rows:
            raise BadRequest([*faults.shown, self._too_many(len(rows))], 413)

    def _too_many(self, count: int) -> str:
        return f"{count} rows; at most {self._max_rows} per request"

    def _check_values(self, values: list[Sequence[Any]], faults: Faults) -> None:
        for place, (kind, column) in enumerate(zip(self._kinds, values, strict=True)):
            found = set(map(type, column))
            if not found <= kind:
                _type_faults(self._features, self._kinds, values, faults)
                return
            if int in found:
                values[place] = _within_64_bits(column)
        for place, minimum, maximum in self._bounds:
            name = self._features[place].name
            low, high = -inf if minimum is None else minimum, inf if maximum is None else maximum
            column = values[place]
            outside = [row for row, value in enumerate(column) if value is not None and not low <= value <= high]
            faults.extend(
                outside,
                lambda row, name=name, column=column, low=low, high=high: (  # type: ignore[misc]
                    f"row {row}, column {name!r}: {str(column[row])[:40]} is outside {low:g} to {high:g}"
                ),
            )

    def out_of_range(self, rows: Rows) -> BadRequest:
        """What to answer when a number does not fit into the model's 32-bit floats."""
        faults = Faults()
        _range_faults(self._features, rows.values, faults)
        return BadRequest(faults.said())


def _within_64_bits(column: Sequence[Any]) -> Sequence[Any]:
    """Whole numbers that no log and no other process could take become floats, unless they fit into none."""
    try:
        msgspec.msgpack.encode(column)
    except OverflowError:
        return [float(value) if type(value) is int and abs(value) < FLOAT32_MAX else value for value in column]
    return column


def _kind(value: Any) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "ao" else f"a {kind}"


def _short(name: str) -> str:
    return repr(name if len(name) <= 80 else name[:80] + "…")


def _columns(form: str, content: Any, names: list[str], faults: Faults) -> tuple[list[Sequence[Any]], int]:
    """Columns in the order of ``names`` and the number of rows; no columns if there are faults of shape."""
    if form == "dataframe_split":
        return _split(content, names, faults)
    if form == "inputs" and isinstance(content, dict):
        return _columnar(content, names, faults)
    if not isinstance(content, list):
        faults.add(f"{form} is a JSON {_kind(content)}; give an array of rows")
        return [], 0
    if content and all(type(row) is dict for row in content):
        return _records(form, content, names, faults)
    if form == "dataframe_records":
        bad = [place for place, row in enumerate(content) if type(row) is not dict]
        faults.extend(bad, lambda place: f"{form}[{place}] is a JSON {_kind(content[place])}, not an object")
        return [], len(content)
    return _matrix(form, content, names, names, faults)


def _split(content: Any, names: list[str], faults: Faults) -> tuple[list[Sequence[Any]], int]:
    if not isinstance(content, dict):
        faults.add(f"dataframe_split is a JSON {_kind(content)}; give an object with columns and data")
        return [], 0
    before = faults.count
    columns, data = content.get("columns"), content.get("data")
    if columns == names and isinstance(data, list) and len(content) == 2:
        return _matrix("dataframe_split.data", data, columns, names, faults)
    faults.extend(
        [field for field in ("columns", "data") if field not in content],
        lambda field: f"dataframe_split has no {field!r}",
    )
    faults.extend(
        [field for field in content if field not in ("columns", "data", "index")],
        lambda field: f"dataframe_split has unknown field {_short(field)}",
    )
    columns, data = content.get("columns", []), content.get("data", [])
    if not isinstance(columns, list) or any(type(name) is not str for name in columns):
        faults.add("dataframe_split.columns is not an array of names")
    if not isinstance(data, list):
        faults.add("dataframe_split.data is not an array of rows")
    if faults.count > before:
        return [], 0
    return _matrix("dataframe_split.data", data, columns, names, faults)


def _matrix(
    where: str, data: list[Any], columns: list[str], names: list[str], faults: Faults
) -> tuple[list[Sequence[Any]], int]:
    before = faults.count
    if columns != names:
        _name_faults(columns, names, faults)
    width = len(columns)
    for place, row in enumerate(data):
        if type(row) is not list:
            faults.add(f"{where}[{place}] is a JSON {_kind(row)}, not an array")
        elif len(row) != width:
            faults.add(f"{where}[{place}] has {len(row)} values, not {width}")
    if faults.count > before or not data:
        return [], len(data)
    values: list[Sequence[Any]] = list(zip(*data, strict=True))
    if columns != names:
        places = {name: place for place, name in enumerate(columns)}
        values = [values[places[name]] for name in names]
    return values, len(data)


def _records(
    form: str, rows: list[dict[str, Any]], names: list[str], faults: Faults
) -> tuple[list[Sequence[Any]], int]:
    expected = set(names)
    before = faults.count
    for place, row in enumerate(rows):
        if row.keys() != expected:
            _name_faults(list(row), names, faults, f"{form}[{place}]: ")
    if faults.count > before:
        return [], len(rows)
    return [[row[name] for row in rows] for name in names], len(rows)


def _columnar(content: dict[str, Any], names: list[str], faults: Faults) -> tuple[list[Sequence[Any]], int]:
    before = faults.count
    _name_faults(list(content), names, faults)
    columns = {name: column if type(column) is list else [column] for name, column in content.items()}
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        shown = ", ".join(map(str, sorted(lengths)[:MAX_FAULTS]))
        faults.add(f"inputs has columns of {shown} values; give one per row to each")
    if faults.count > before:
        return [], max(lengths, default=0)
    return [columns[name] for name in names], lengths.pop()


def _name_faults(columns: list[str], names: list[str], faults: Faults, where: str = "") -> None:
    known, counts = set(names), Counter(columns)
    faults.extend([name for name in names if name not in counts], lambda name: f"{where}missing column {name!r}")
    faults.extend([name for name in counts if name not in known], lambda name: f"{where}unknown column {_short(name)}")
    twice = [name for name, count in counts.items() if count > 1]
    faults.extend(twice, lambda name: f"{where}column {_short(name)} is given twice")


def _id_faults(ids: Any, count: int, faults: Faults) -> None:
    if ids is None:
        return
    if not isinstance(ids, list):
        faults.add(f"ids is a JSON {_kind(ids)}; give an array with one entity id per row")
        return
    wrong = [place for place, one in enumerate(ids) if type(one) is not str]
    faults.extend(wrong, lambda place: f"ids[{place}] is a JSON {_kind(ids[place])}, not a string")
    if len(ids) != count:
        faults.add(f"ids has {len(ids)} entries for {count} rows")


def _type_faults(
    features: Sequence[Input], kinds: Sequence[set[type]], values: list[Sequence[Any]], faults: Faults
) -> None:
    """Every value of the wrong type; a boolean is not a number."""
    for feature, allowed, column in zip(features, kinds, values, strict=True):
        wanted = "a string" if feature.type == "categorical" else "a number"
        wanted += " or null" if _NOTHING in allowed else ""
        for place, value in enumerate(column):
            if type(value) not in allowed:
                given = "null" if value is None else f"{_shown(value)} is {_a(_kind(value))}"
                faults.add(f"row {place}, column {feature.name!r}: {given}, not {wanted}")


def _shown(value: Any) -> str:
    return repr(f"{value}"[:40]) if isinstance(value, str | int | float) else _kind(value)


def _range_faults(features: Sequence[Input], values: list[Sequence[Any]], faults: Faults) -> None:
    """Every number that a model's 32-bit floats cannot hold."""
    for feature, column in zip(features, values, strict=True):
        if feature.type == "numeric":
            for place, value in enumerate(column):
                if value is not None and not -FLOAT32_MAX <= value <= FLOAT32_MAX:
                    shown = str(value)[:40]
                    faults.add(f"row {place}, column {feature.name!r}: {shown} is larger than {FLOAT32_MAX:.3g}")
