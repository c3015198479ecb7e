"""Rows reach a model in its order of features and with values it can take, whichever protocol they came by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import msgspec

from pipelines.serving.http.response import Problem
from pipelines.serving.models.bundle import InputColumn
from pipelines.serving.models.faults import MAX_FAULTS, RowFaults

FLOAT32_MAX = 3.4028234663852886e38
_NUMBERS: set[type] = {int, float, type(None)}
_TEXTS: set[type] = {str, type(None)}
_NOTHING = type(None)


class InputRows(msgspec.Struct):
    """Rows by column, in the model's order of features; ``ids`` has one entity id per row, or is None.

    ``label``: what the caller calls the request, to be repeated in the answer.
    """

    values: list[Sequence[Any]]
    count: int
    ids: list[str] | None
    label: str | None = None


class RowSchema:
    """What the rows of one version have to be.

    ``missing``: whether null may stand for a value. ``ranges``: whether a feature's minimum and maximum bind.
    """

    def __init__(
        self, features: Sequence[InputColumn], max_rows: int, *, missing: bool = True, ranges: bool = True
    ) -> None:
        self.features = {feature.name: feature for feature in features}
        self.names = list(self.features)
        self.max_rows = max_rows
        never: set[type] = set() if missing else {_NOTHING}
        self._kinds = [(_TEXTS if feature.type == "categorical" else _NUMBERS) - never for feature in features]
        bounds = [(feature.minimum, feature.maximum) if ranges else (None, None) for feature in features]
        self._bounds = [(place, *pair) for place, pair in enumerate(bounds) if pair != (None, None)]

    def ordered(self, columns: Mapping[str, list[Any]], faults: RowFaults) -> tuple[list[Sequence[Any]], int]:
        """Columns in the model's order and the number of rows; no columns if there are faults of shape."""
        before = faults.count
        if columns.keys() != self.features.keys():
            name_faults(list(columns), self.names, faults)
        lengths = {len(column) for column in columns.values()}
        if len(lengths) > 1:
            shown = ", ".join(map(str, sorted(lengths)[:MAX_FAULTS]))
            faults.add(f"inputs has columns of {shown} values; give one per row to each")
        if faults.count > before:
            return [], max(lengths, default=0)
        return [columns[name] for name in self.names], lengths.pop()

    def check(
        self,
        values: list[Sequence[Any]],
        count: int,
        ids: Any,
        faults: RowFaults,
        *,
        shaped: bool,
        label: str | None = None,
    ) -> InputRows:
        """Check what was read. Raises ``Problem`` with up to 20 faults, and how many more there are.

        ``shaped``: whether ``values`` are columns in the model's order, ``count`` values each.
        """
        if count > self.max_rows:
            raise self.too_many(count, faults.shown)
        if shaped and count == 0:
            faults.add("no rows to score")
        _id_faults(ids, count, faults)
        if count and shaped:
            self._check_values(values, faults)
        if faults.count:
            raise Problem(400, faults.summary())
        return InputRows(values, count, ids, label)

    def too_many(self, count: int, faults: Sequence[str] = ()) -> Problem:
        return Problem(413, [*faults, f"{count} rows; at most {self.max_rows} per request"])

    def _check_values(self, values: list[Sequence[Any]], faults: RowFaults) -> None:
        for place, (kind, column) in enumerate(zip(self._kinds, values, strict=True)):
            types = {type(column[0])} if len(column) == 1 else set(map(type, column))
            if not types <= kind:
                self._type_faults(values, faults)
                return
            if int in types:
                values[place] = _within_64_bits(column)
        for place, minimum, maximum in self._bounds:
            name = self.names[place]
            low, high = -inf if minimum is None else minimum, inf if maximum is None else maximum
            column = values[place]
            outside = [row for row, value in enumerate(column) if value is not None and not low <= value <= high]
            faults.extend(
                outside,
                lambda row, name=name, column=column, low=low, high=high: (  # type: ignore[misc]
                    f"row {row}, column {name!r}: {str(column[row])[:40]} is outside {low:g} to {high:g}"
                ),
            )

    def _type_faults(self, values: list[Sequence[Any]], faults: RowFaults) -> None:
        """Every value of the wrong type; a boolean is not a number."""
        for feature, allowed, column in zip(self.features.values(), self._kinds, values, strict=True):
            expected = "a string" if feature.type == "categorical" else "a number"
            expected += " or null" if _NOTHING in allowed else ""
            for place, value in enumerate(column):
                if type(value) not in allowed:
                    given = "null" if value is None else f"{_shown(value)} is {_a(kind_of(value))}"
                    faults.add(f"row {place}, column {feature.name!r}: {given}, not {expected}")

    def out_of_range(self, rows: InputRows) -> Problem:
        """What to answer when a number does not fit into the model's 32-bit floats: every one that does not."""
        faults = RowFaults()
        for feature, column in zip(self.features.values(), rows.values, strict=True):
            if feature.type == "numeric":
                for place, value in enumerate(column):
                    if value is not None and not -FLOAT32_MAX <= value <= FLOAT32_MAX:
                        shown = str(value)[:40]
                        faults.add(f"row {place}, column {feature.name!r}: {shown} is larger than {FLOAT32_MAX:.3g}")
        return Problem(400, faults.summary())


def parsed(body: bytes) -> Any:
    """The JSON of a body. Raises ``Problem`` for what is none."""
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        raise Problem(400, ["the body is not JSON that can be read: it is nested too deeply"]) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, [f"the body is not JSON: {error}; a missing value is null"]) from None


def name_faults(columns: list[str], names: list[str], faults: RowFaults, where: str = "") -> None:
    """Every column that is missing, unknown or given twice."""
    known, counts = set(names), Counter(columns)
    faults.extend([name for name in names if name not in counts], lambda name: f"{where}missing column {name!r}")
    faults.extend([name for name in counts if name not in known], lambda name: f"{where}unknown column {short(name)}")
    twice = [name for name, count in counts.items() if count > 1]
    faults.extend(twice, lambda name: f"{where}column {short(name)} is given twice")


def kind_of(value: Any) -> str:
    """What JSON calls it."""
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")


def short(name: str) -> str:
    return repr(name if len(name) <= 80 else name[:80] + "…")


def _within_64_bits(column: Sequence[Any]) -> Sequence[Any]:
    """Whole numbers that no log and no other process could take become floats, unless they fit into none."""
    try:
        msgspec.msgpack.encode(column)
    except OverflowError:
        return [float(value) if type(value) is int and abs(value) < FLOAT32_MAX else value for value in column]
    return column


def _id_faults(ids: Any, count: int, faults: RowFaults) -> None:
    if ids is None:
        return
    if not isinstance(ids, list):
        faults.add(f"ids is a JSON {kind_of(ids)}; give an array with one entity id per row")
        return
    wrong = [place for place, entity_id in enumerate(ids) if type(entity_id) is not str]
    faults.extend(wrong, lambda place: f"ids[{place}] is a JSON {kind_of(ids[place])}, not a string")
    if len(ids) != count:
        faults.add(f"ids has {len(ids)} entries for {count} rows")


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "ao" else f"a {kind}"


def _shown(value: Any) -> str:
    return repr(f"{value}"[:40]) if isinstance(value, str | int | float) else kind_of(value)
