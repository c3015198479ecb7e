"""Guesses the contract of each column from all of its values, by the very reader that will check deliveries."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from pipelines.spec.column import ColumnSpec
from pipelines.spec.file_format import FileFormat
from pipelines.spec.personal_names import may_be_personal, personal_kind
from pipelines.steps.ingestion.column_values import BOOLEANS, INTEGER, typed_columns

SAMPLE = 1_000
"""Different values by which a type is ruled out before all are read."""
NULL_WORDS = ("NULL", "null", "None", "none", "nan", "NaN", "N/A", "n/a", "#N/A", "-", "--", "?", ".", "\\N", "missing")
"""Texts that stand for no value where all others of their column are numbers or times."""
SIGNS = (
    {"decimal": ","},
    {"decimal": ",", "thousands": "."},
    {"thousands": ","},
    {"thousands": " "},
    {"thousands": "'"},
    {"thousands": "\u202f", "decimal": ","},
)
"""Signs in numbers beside 1234.5; those of a whole file."""
DATE_FORMATS = (
    "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%d %b %Y", "%d-%b-%Y", "%d-%b-%y",
    "%b %d, %Y", "%d %B %Y", "%B %d, %Y", "%d.%m.%y", "%d/%m/%y", "%m/%d/%y",
)  # fmt: skip
CLOCKS = (" %H:%M", " %H:%M:%S", " %H:%M:%S%.f", "T%H:%M", " %I:%M %p", " %I:%M:%S %p")
TIMESTAMP_FORMATS = (
    *("%Y-%m-%d %H:%M:%S%.f%z", "%Y-%m-%dT%H:%M%z", "%Y-%m-%d %H:%M%z", "%Y%m%dT%H%M%S%z"),
    *(f"{form}{clock}" for clock in CLOCKS for form in ("%Y-%m-%d", "%Y/%m/%d", *DATE_FORMATS)),
)
COMPACT_DATE = "%Y%m%d"
DATE_NAME = re.compile(r"(?:^|_)(date|day|dt|ymd)(?:_|$|[0-9])", re.IGNORECASE)
ID_NAME = re.compile(r"(?:^|_)id$|Id$|ID$")
YEARS = (1900, 2100)
CODE = r"^[+-]?0[0-9]|^\+"
"""A number of which a person would not write the first sign: it is a code."""
CATEGORIES, CATEGORY_LENGTH, ROWS_PER_CATEGORY = 12, 40, 20
BOUNDED_FROM = 20
"""Rows from which a column without a negative value is taken to have none."""
EXACT_INTEGERS = 2**53
SENTINELS = (-9999, -999, -99, -1, 999, 9999, 99999)
SENTINEL_SHARE = 0.01
SENTINEL_DISTANCE = 2.0
"""How many times as far as the next value one lies that stands for none."""
PERSONAL_SAMPLE = 1_000


@dataclass(frozen=True)
class ColumnGuess:
    """``fields``: of the column's declaration. ``values``: of all rows, in its type."""

    name: str
    fields: Mapping[str, Any]
    values: pl.Series
    questions: list[str] = field(default_factory=list)

    @property
    def type(self) -> str:
        return str(self.fields["type"])

    @property
    def is_nullable(self) -> bool:
        return bool(self.fields.get("nullable"))

    @property
    def is_personal(self) -> bool:
        return bool(self.fields.get("pii"))

    def spec(self) -> ColumnSpec:
        return ColumnSpec.model_validate(dict(self.fields))


def guess_columns(
    rows: pl.DataFrame, files: FileFormat, timezone: str
) -> tuple[dict[str, ColumnGuess], dict[str, str]]:
    """The contract of each column, and the signs in numbers that the file has where they are not those of English.

    ``timezone``: of times that have none.
    """
    signs = number_signs(rows, files) if files.format == "csv" else {}
    written = FileFormat.model_validate({**files.model_dump(include=files.model_fields_set), **signs})
    return {series.name: _guess_column(series, written, timezone) for series in rows}, signs


def number_signs(rows: pl.DataFrame, files: FileFormat) -> dict[str, str]:
    """The first signs by which a column is of numbers that is none of plain ones, and no other column ceases to be."""
    texts = [_different(series, files) for series in rows if series.dtype == pl.String]
    texts = [values.head(SAMPLE) for values in texts if len(values)]
    plain = [values for values in texts if _all_fit(values, {"type": "number"}, files)]
    others = [values for values in texts if not any(values is number for number in plain)]
    others = [values for values in others if values.str.contains("[0-9]").all()]
    for signs in SIGNS:
        try:
            written = FileFormat.model_validate({**files.model_dump(include=files.model_fields_set), **signs})
        except ValueError:  # the delimiter cannot be one of them
            continue
        gained = [values for values in others if _all_fit(values, {"type": "number"}, written)]
        if gained and all(_all_fit(values, {"type": "number"}, written) for values in plain):
            return dict(signs)
    return {}


def _guess_column(series: pl.Series, files: FileFormat, timezone: str) -> ColumnGuess:
    if series.dtype == pl.String or isinstance(series.dtype, pl.Categorical | pl.Enum):
        fields, questions = _guess_text(series, files, timezone)
    else:
        fields, questions = _guess_typed(series, timezone)
    untyped, typed = typed_columns(series.to_frame(), {series.name: _read(fields)}, files)
    values = typed[series.name]
    if values.null_count() > untyped[series.name].null_count():
        fields, questions = {"type": "string"}, [*questions, "some values could not be read as times; is it text?"]
        untyped, typed = typed_columns(series.to_frame(), {series.name: _read(fields)}, files)
        values = typed[series.name]
    if values.null_count():
        fields["nullable"] = True
    if kind := _personal_kind(series.name, values):
        fields["pii"] = True
        questions.append(f"it looks like {kind}; does it tell of a person? if not, write `pii: false`")
    else:
        fields |= _limits(values, fields["type"])
        questions += _sentinel_questions(values, fields["type"])
    return ColumnGuess(series.name, fields, values, questions)


def _guess_text(series: pl.Series, files: FileFormat, timezone: str) -> tuple[dict[str, Any], list[str]]:
    values = _different(series, files)
    if not len(values):
        return {"type": "string"}, ["it has no value here; which type has it?"]
    fields, questions = _type_of_text(series.name, values, files, timezone)
    if fields["type"] != "string":
        return fields, questions
    if "NA" in files.null_values and values.str.contains("^[A-Z]{2}$").all() and (series == "NA").any():
        questions = [*questions, "is NA a code here, and not a missing value? then list all codes in `allowed`"]
    words = [word for word in NULL_WORDS if word in values]
    without = values.filter(~values.is_in(words)) if words else values
    if words and len(without):
        fields_without, questions_without = _type_of_text(series.name, without, files, timezone)
        if fields_without["type"] != "string":
            listed = " and ".join(map(repr, words))
            return (
                {**fields_without, "null_values": [*files.null_values, *words]},
                [*questions_without, f"does {listed} stand for no value?"],
            )
    return fields, questions


def _type_of_text(name: str, values: pl.Series, files: FileFormat, timezone: str) -> tuple[dict[str, Any], list[str]]:
    """``values``: each different text once, without nulls."""
    if values.is_in(list(BOOLEANS)).all():
        return {"type": "boolean"}, []
    if _is_compact_date(name, values):
        return {"type": "date", "format": COMPACT_DATE}, []
    if not values.str.contains(CODE).any():
        if values.str.contains(INTEGER).all() and not values.str.contains(r"\.").any():
            fits = _all_fit(values, {"type": "integer"}, files)
            return ({"type": "integer"}, []) if fits else ({"type": "string"}, [])
        if values.str.contains(INTEGER).all() and values.str.contains(r"\.0*$").all():
            return {"type": "integer"}, []
        if _all_fit(values, {"type": "number"}, files):
            return _number_of_text(values)
    if values.head(SAMPLE).str.contains("[0-9]").all() and (time := _time_of_text(values, files, timezone)):
        return time
    return {"type": "string"}, []


def _number_of_text(values: pl.Series) -> tuple[dict[str, Any], list[str]]:
    """Whole numbers beyond 2^53 are not all doubles; such a column is kept as text."""
    largest = values.filter(values.str.contains(INTEGER)).cast(pl.Float64, strict=False).abs().max()
    if isinstance(largest, float) and largest >= EXACT_INTEGERS:
        return {"type": "string"}, ["its numbers have more digits than a number holds; are they codes?"]
    return {"type": "number"}, []


def _is_compact_date(name: str, values: pl.Series) -> bool:
    """Eight digits that are all days: by chance at most 3 % of the numbers of eight digits are."""
    if not values.head(SAMPLE).str.contains(r"^[0-9]{8}$").all() or (len(values) < 3 and not DATE_NAME.search(name)):
        return False
    days = values.str.to_date(COMPACT_DATE, strict=False)
    return days.null_count() == 0 and bool(days.dt.year().is_between(*YEARS).all())


def _time_of_text(values: pl.Series, files: FileFormat, timezone: str) -> tuple[dict[str, Any], list[str]] | None:
    zone = {"timezone": timezone}
    candidates: list[dict[str, Any]] = [{"type": "date"}, {"type": "timestamp"}, {"type": "timestamp", **zone}]
    for fields in candidates:
        if _all_fit(values, fields, files):
            return fields, _zone_questions(fields)
    formats = [{"type": "date", "format": form} for form in DATE_FORMATS]
    formats += [
        {"type": "timestamp", "format": form, **({} if form.endswith("%z") else zone)} for form in TIMESTAMP_FORMATS
    ]
    fitting = [fields for fields in formats if _all_fit(values, fields, files)]
    if not fitting:
        return None
    fields, others = (
        fitting[0],
        [form["format"] for form in fitting[1:] if form["format"][:2] != fitting[0]["format"][:2]],
    )
    questions = [f"is {values[0]!r} written as {fields['format']}, or as {others[0]}?"] if others else []
    return fields, [*questions, *_zone_questions(fields)]


def _zone_questions(fields: Mapping[str, Any]) -> list[str]:
    return [f"its times have no zone; are they of {fields['timezone']}?"] if "timezone" in fields else []


def _guess_typed(series: pl.Series, timezone: str) -> tuple[dict[str, Any], list[str]]:
    dtype = series.dtype
    if dtype.is_integer():
        fits = series.drop_nulls().cast(pl.Int64, strict=False).null_count() == 0
        return {"type": "integer" if fits else "string"}, []
    if dtype.is_float():
        values = series.drop_nulls()
        whole = len(values) > 0 and bool((values == values.floor()).all()) and series.null_count() > 0
        in_range = bool((values.abs() <= EXACT_INTEGERS).all())
        return {"type": "integer" if whole and in_range else "number"}, []
    if isinstance(dtype, pl.Decimal):
        return {"type": "decimal", "scale": min(dtype.scale or 0, 18)}, []
    if dtype == pl.Boolean:
        return {"type": "boolean"}, []
    if isinstance(dtype, pl.Date):
        return {"type": "date"}, []
    if isinstance(dtype, pl.Datetime):
        values = series.drop_nulls()
        local = values.dt.replace_time_zone(None)
        if dtype.time_zone is None and len(values) and bool((local == local.dt.truncate("1d")).all()):
            return {"type": "date"}, []
        fields = {"type": "timestamp", **({} if dtype.time_zone else {"timezone": timezone})}
        return fields, _zone_questions(fields)
    return {"type": "string"}, ["it has no value here; which type has it?"] if dtype == pl.Null else []


def _personal_kind(name: str, values: pl.Series) -> str | None:
    texts = values.drop_nulls().head(PERSONAL_SAMPLE).to_list() if values.dtype == pl.String else []
    return personal_kind(texts) or ("personal data, by its name" if may_be_personal(name) else None)


def _limits(values: pl.Series, kind: str) -> dict[str, Any]:
    """Categories of a text that has few, and 0 as the least of numbers that are never below it."""
    present = values.drop_nulls()
    if kind == "string" and len(present):
        categories = present.unique()
        few = 2 <= len(categories) <= CATEGORIES and len(present) >= ROWS_PER_CATEGORY * len(categories)
        if few and all(0 < len(text) <= CATEGORY_LENGTH for text in categories):
            return {"allowed": sorted(categories)}
    is_quantity = kind in ("integer", "number") and not ID_NAME.search(values.name)
    if is_quantity and len(present) >= BOUNDED_FROM and not (present < 0).any():
        return {"min": 0}
    return {}


def _sentinel_questions(values: pl.Series, kind: str) -> list[str]:
    """A number far from all others that is there often may stand for no value."""
    if kind not in ("integer", "number"):
        return []
    numbers = values.drop_nulls().cast(pl.Float64).to_numpy()
    for sentinel in SENTINELS:
        others = numbers[numbers != sentinel]
        count = len(numbers) - len(others)
        if not len(others) or count == 0 or count < SENTINEL_SHARE * len(numbers):
            continue
        is_outermost = sentinel < others.min() or sentinel > others.max()
        is_far = abs(sentinel) > SENTINEL_DISTANCE * abs(others).max() or (sentinel < 0 <= others.min())
        if is_outermost and is_far:
            return [f"does {sentinel} stand for no value? then have the source leave it out"]
    return []


def _different(series: pl.Series, files: FileFormat) -> pl.Series:
    """Each different text once, without those that stand for no value."""
    values = series.cast(pl.String).unique(maintain_order=True).drop_nulls()
    return values.filter(~values.is_in(files.null_values)) if files.null_values else values


def _all_fit(values: pl.Series, fields: Mapping[str, Any], files: FileFormat) -> bool:
    """Whether a type holds all of the values; few are tried first."""
    spec = {values.name: _read(fields)}
    for part in (values.head(SAMPLE), values) if len(values) > SAMPLE else (values,):
        if typed_columns(part.to_frame(), spec, files)[1][values.name].null_count():
            return False
    return True


def _read(fields: Mapping[str, Any]) -> ColumnSpec:
    return ColumnSpec.model_validate(dict(fields))


def numeric(columns: Sequence[ColumnGuess]) -> list[ColumnGuess]:
    return [column for column in columns if column.type in ("integer", "number", "decimal")]
