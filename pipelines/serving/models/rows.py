"""Checks the rows of both protocols: columns in the model's order, valid types, ranges and entity ids."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Mapping, Sequence
from math import inf
from types import MappingProxyType
from typing import Any

import msgspec

from pipelines.serving.http.response import Problem
from pipelines.serving.models.bundle import InputColumn
from pipelines.serving.models.faults import MAX_FAULTS, RowFaults

SMALL_BODY_BYTES = 256 * 1024
"""A body up to this size is parsed without counting its names first."""
SPARE_NAMES = 1000
"""Names and brackets of a body that are not those of its rows."""
TOO_DEEP = b"[" * 2000
MARKS_OF_A_VALUE = 4
"""Quotes of a named text value, and the commas that a text may hold itself."""
WHITESPACE = b" \t\r\n"
FLOAT32_MAX = 3.4028234663852886e38
MAX_LISTED_CATEGORIES = 10
MAX_KNOWN_ROW_TYPES = 256
"""Per version; callers choose in which columns of a row null or an integer stands."""
MIN_INTEGER, MAX_INTEGER = -(2**63), 2**64 - 1
"""Those that MessagePack has."""
_NUMBERS: set[type] = {int, float, type(None)}
_TEXTS: set[type] = {str, type(None)}
_NULL = type(None)


class InputRows(msgspec.Struct):
    """Rows by column, in the model's order of features; ``ids`` has one entity id per row, or is None.

    ``request_id``: the caller's id of the request, to be repeated in the response. ``unseen``: number of values per
    column that are no known category; None if there are none.
    """

    values: list[Sequence[Any]]
    count: int
    ids: list[str] | None
    request_id: str | None = None
    unseen: dict[str, int] | None = None


class RowSchema:
    """Requirements on the rows of one version.

    ``missing``: whether null is allowed. ``ranges``: whether a feature's minimum and maximum are enforced.
    ``categories``: the known ones by feature, null among them; others are counted, and refused with ``only_known``.
    ``needs_ids``: whether each row needs an entity id.
    """

    def __init__(
        self,
        features: Sequence[InputColumn],
        max_rows: int,
        *,
        missing: bool = True,
        ranges: bool = True,
        categories: Mapping[str, frozenset[str | None]] = MappingProxyType({}),
        only_known: bool = False,
        needs_ids: bool = False,
    ) -> None:
        self.features = {feature.name: feature for feature in features}
        self.names = list(self.features)
        self.max_rows = max_rows
        excluded: set[type] = set() if missing else {_NULL}
        self._types = [(_TEXTS if feature.type == "categorical" else _NUMBERS) - excluded for feature in features]
        self._row_types: dict[tuple[type, ...], list[int]] = {}
        """Types of the values of rows that were right, each with the columns that hold an integer."""
        bounds = [(feature.minimum, feature.maximum) if ranges else (None, None) for feature in features]
        self._bounds = [(index, *pair) for index, pair in enumerate(bounds) if pair != (None, None)]
        self._categories = [
            (index, name, categories[name]) for index, name in enumerate(self.names) if name in categories
        ]
        self._only_known, self._needs_ids = only_known, needs_ids
        self.max_names = max_rows * (len(self.names) + 1) + SPARE_NAMES
        forms = {json.dumps(name, ensure_ascii=plain) for name in self.names for plain in (True, False)}
        self.written_names = [form.encode("utf-8", "replace").translate(None, WHITESPACE) + b":" for form in forms]
        """The names of the columns as they stand before their values in JSON without whitespace."""

    def order_columns(self, columns: Mapping[str, list[Any]], faults: RowFaults) -> tuple[list[Sequence[Any]], int]:
        """Columns in the model's order and the number of rows; no columns if the shape is wrong."""
        before = faults.count
        if columns.keys() != self.features.keys():
            name_faults(list(columns), self.names, faults)
        lengths = {len(column) for column in columns.values()}
        if len(lengths) > 1:
            shown = ", ".join(map(str, sorted(lengths)[:MAX_FAULTS]))
            faults.add(f"inputs has columns of {shown} values; all columns need the same number")
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
        is_shaped: bool,
        request_id: str | None = None,
    ) -> InputRows:
        """Check parsed rows. Raises ``Problem`` with at most 20 faults and the number of further ones.

        ``is_shaped``: whether ``values`` are columns in the model's order, ``count`` values each.
        """
        if count > self.max_rows:
            raise self.too_many_rows_problem(count, faults.shown)
        if is_shaped and count == 0:
            faults.add("no rows to score")
        if ids is not None or self._needs_ids:
            _id_faults(ids, count, faults, needed=self._needs_ids)
        unseen = self._check_values(values, count, faults) if count and is_shaped else None
        if faults.count:
            raise Problem(400, faults.summary())
        return InputRows(values, count, ids, request_id, unseen)

    def too_dense_problem(self, fault: str) -> Problem:
        table = f"{self.max_rows} rows of {len(self.names)} columns"
        return Problem(413, [f"the body has {fault}; no table of {table} has so many; send fewer"])

    def too_many_rows_problem(self, count: int, faults: Sequence[str] = ()) -> Problem:
        return Problem(413, [*faults, f"{count} rows; at most {self.max_rows} per request"])

    def _check_values(self, values: list[Sequence[Any]], count: int, faults: RowFaults) -> dict[str, int] | None:
        """Add a fault for every wrong value; returns the number of unseen categories per column, if any."""
        if not (self._is_known_row(values) if count == 1 and values else self._check_types(values)):
            self._type_faults(values, faults)
            return None
        for index, minimum, maximum in self._bounds:
            name = self.names[index]
            low, high = -inf if minimum is None else minimum, inf if maximum is None else maximum
            column = values[index]
            outside = [row for row, value in enumerate(column) if value is not None and not low <= value <= high]
            faults.extend(
                outside,
                lambda row, name=name, column=column, low=low, high=high: (  # type: ignore[misc]
                    f"row {row}, column {name!r}: {str(column[row])[:40]} is outside {low:.15g} to {high:.15g}"
                ),
            )

        unseen: dict[str, int] | None = None
        for index, name, known in self._categories:
            if not known.issuperset(values[index]):
                rows = [row for row, value in enumerate(values[index]) if value not in known]
                unseen = {**(unseen or {}), name: len(rows)}
                if self._only_known:
                    self._category_faults(name, known, values[index], rows, faults)
        return unseen

    def _check_types(self, values: list[Sequence[Any]]) -> bool:
        """Whether every value has a type of its column; huge integers are replaced."""
        for index, (kind, column) in enumerate(zip(self._types, values, strict=True)):
            types = set(map(type, column))
            if not types <= kind:
                return False
            if int in types:
                values[index] = _replace_huge_integers(column)
        return True

    def _is_known_row(self, values: list[Sequence[Any]]) -> bool:
        """``_check_types`` of one row, by the types of rows before it."""
        (row,) = zip(*values, strict=True)
        types = tuple(map(type, row))
        integers = self._row_types.get(types)
        if integers is None:
            if not self._check_types(values):
                return False
            if len(self._row_types) < MAX_KNOWN_ROW_TYPES:
                self._row_types[types] = [index for index, kind in enumerate(types) if kind is int]
            return True
        for index in integers:
            if not MIN_INTEGER <= row[index] <= MAX_INTEGER:
                values[index] = _replace_huge_integers(values[index])
        return True

    @staticmethod
    def _category_faults(
        name: str, known: frozenset[str | None], column: Sequence[Any], rows: list[int], faults: RowFaults
    ) -> None:
        categories = sorted(category for category in known if category is not None)
        listed = ", ".join(categories[:MAX_LISTED_CATEGORIES])
        rest = len(categories) - MAX_LISTED_CATEGORIES
        expected = f"{listed} and {rest} more" if rest > 0 else listed
        faults.extend(rows, lambda row: f"row {row}, column {name!r}: {_value_text(column[row])} is none of {expected}")

    def _type_faults(self, values: list[Sequence[Any]], faults: RowFaults) -> None:
        """Add a fault for every value of a wrong type; a boolean is not a number."""
        for feature, allowed, column in zip(self.features.values(), self._types, values, strict=True):
            expected = "a string" if feature.type == "categorical" else "a number"
            expected += " or null" if _NULL in allowed else ""
            wrong = [index for index, value in enumerate(column) if type(value) not in allowed]
            faults.extend(
                wrong,
                lambda row, name=feature.name, column=column, expected=expected: (  # type: ignore[misc]
                    f"row {row}, column {name!r}: {_typed_text(column[row])}, not {expected}"
                ),
            )

    def out_of_range_problem(self, rows: InputRows) -> Problem:
        """The problem that lists every number that does not fit into the model's 32-bit floats."""
        faults = RowFaults()
        for feature, column in zip(self.features.values(), rows.values, strict=True):
            if feature.type == "numeric":
                wrong = [
                    index
                    for index, value in enumerate(column)
                    if value is not None and not -FLOAT32_MAX <= value <= FLOAT32_MAX
                ]
                faults.extend(
                    wrong,
                    lambda row, name=feature.name, column=column: (  # type: ignore[misc]
                        f"row {row}, column {name!r}: {str(column[row])[:40]} is larger than {FLOAT32_MAX:.3g}"
                    ),
                )
        return Problem(400, faults.summary())


def parse_rows(body: bytes, schema: RowSchema) -> Any:
    """The JSON content of a body of rows. Raises ``Problem`` for anything else.

    A body with more brackets, quotes, commas or unknown names than the largest table that the schema takes is refused
    before it is parsed: making objects of them would keep every other caller waiting.
    """
    if len(body) > SMALL_BODY_BYTES and not body.startswith(TOO_DEEP):  # the parser refuses such a one at once
        most = schema.max_names
        bounds = {b"{": most, b"[": most, b'"': MARKS_OF_A_VALUE * most, b",": MARKS_OF_A_VALUE * most}
        for mark, bound in bounds.items():
            if (count := body.count(mark)) > bound:
                raise schema.too_dense_problem(f"{count} times {mark.decode()}, at most {bound}")
        if body.count(b'"') > 2 * SPARE_NAMES:
            dense = body.translate(None, WHITESPACE)
            names = _count_names(dense)
            if names > SPARE_NAMES:
                names -= sum(map(dense.count, schema.written_names))
            if names > SPARE_NAMES:
                raise schema.too_dense_problem(f"{names} names of unknown columns")
    return parse_json(body)


def _count_names(dense: bytes) -> int:
    """How many names of fields a JSON text without whitespace has, about: an escaped quote before a colon is text."""
    return dense.count(b'":') - max(0, dense.count(b'\\":') - dense.count(b'\\\\":'))


def parse_json(body: bytes) -> Any:
    """The JSON content of a body. Raises ``Problem`` for anything else."""
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        raise Problem(400, ["the body is not JSON that can be parsed: it is nested too deeply"]) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if body.startswith(BOM_UTF8):
            return parse_json(body.removeprefix(BOM_UTF8))
        raise Problem(400, [f"the body is not JSON: {error}; a missing value is null"]) from None


def name_faults(columns: list[str], names: list[str], faults: RowFaults, at: str = "") -> None:
    """Add a fault for every column that is missing, unknown or given twice; past the shown faults they are counted."""
    if len(columns) > MAX_FAULTS + 2 * len(names):
        faults.add(f"{at}{len(columns)} columns; the model has {len(names)}")
        return
    known = set(names)
    if not faults.has_room:
        given = set(columns)
        for what, count in (
            ("columns are missing", len(known - given)),
            ("columns are unknown", len(given - known)),
            ("columns are given twice", len(columns) - len(given)),
        ):
            faults.add_many(f"{at}{count} {what}", count)
        return
    counts = Counter(columns)
    faults.extend([name for name in names if name not in counts], lambda name: f"{at}missing column {name!r}")
    faults.extend(
        [name for name in counts if name not in known], lambda name: f"{at}unknown column {quote_shortened(name)}"
    )
    twice = [name for name, count in counts.items() if count > 1]
    faults.extend(twice, lambda name: f"{at}column {quote_shortened(name)} is given twice")


def json_type(value: Any) -> str:
    """Name of its JSON type."""
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")


def quote_shortened(name: str) -> str:
    return repr(name if len(name) <= 80 else name[:80] + "…")


def _replace_huge_integers(column: Sequence[Any]) -> Sequence[Any]:
    """Integers beyond 64 bits as floats, because MessagePack has none; those beyond 32-bit floats stay as they are."""
    try:
        msgspec.msgpack.encode(column)
    except OverflowError:
        return [float(value) if type(value) is int and abs(value) < FLOAT32_MAX else value for value in column]
    return column


def _id_faults(ids: Any, count: int, faults: RowFaults, *, needed: bool) -> None:
    if ids is None:
        faults.add("ids are missing; give one entity id per row, by which labels find their predictions")
        return
    if not isinstance(ids, list):
        faults.add(f"ids is a JSON {json_type(ids)}; give an array with one entity id per row")
        return
    wrong = [index for index, entity_id in enumerate(ids) if type(entity_id) is not str]
    faults.extend(wrong, lambda index: f"ids[{index}] is a JSON {json_type(ids[index])}, not a string")
    empty = [index for index, entity_id in enumerate(ids) if entity_id == ""] if needed else []
    faults.extend(empty, lambda index: f"ids[{index}] is empty; give the row's entity id")
    if len(ids) != count:
        faults.add(f"ids has {len(ids)} entries for {count} rows")


def _with_article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "ao" else f"a {kind}"


def _typed_text(value: Any) -> str:
    return "null" if value is None else f"{_value_text(value)} is {_with_article(json_type(value))}"


def _value_text(value: Any) -> str:
    return repr(f"{value}"[:40]) if isinstance(value, str | int | float) else json_type(value)
