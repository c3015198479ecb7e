"""The forms in which a feature is declared: a word, an expression, or fields of which one says what it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, PlainValidator, field_validator, model_validator

from pipelines.spec.aggregate import AggregateFunction
from pipelines.spec.declared import DeclarationBlock, Identifier
from pipelines.spec.durations import Duration, written_duration
from pipelines.spec.features import Constraints
from pipelines.spec.forms import one_of
from pipelines.spec.row_expression import CALENDAR_PARTS, parsed

OWN = "own"
AGGREGATE = re.compile(r"([a-z_]+)(?:\(\s*([A-Za-z_]\w*)\s*\))?")
"""``mean(amount)``, or ``count`` alone."""
CalendarWord = Literal[*CALENDAR_PARTS]  # type: ignore[valid-type]


def _listed(value: Any) -> Any:
    """One name is short for a list of one."""
    return [value] if isinstance(value, str) else value


Names = Annotated[list[str], BeforeValidator(_listed, json_schema_input_type=str | list[str])]


class FeatureForm(DeclarationBlock):
    """What may be said of every feature beside what it is."""

    version: int = Field(default=1, ge=1)
    """Raise it with the feature's meaning."""
    description: str = ""
    type: Literal["categorical", "numeric"] | None = None
    """None: that of the column, or of the expression."""
    constraints: Constraints = Constraints()


class OwnForm(FeatureForm):
    """Columns of the row's own source: ``own: true`` those with the features' names, else the one that is named."""

    own: Literal[True] | str


class CalendarForm(FeatureForm):
    """Parts of the event's time, one for each feature: ``{calendar: [hour, weekday]}``."""

    calendar: Annotated[
        list[CalendarWord], BeforeValidator(_listed, json_schema_input_type=CalendarWord | list[CalendarWord])
    ] = Field(min_length=1)
    of: str | None = None
    """``t``, or a column of the row; none: the row's event."""


class LookupForm(FeatureForm):
    """Columns of the newest known copy of a reference source: ``{lookup: products.weight, on: product}``.

    ``lookup: products`` alone takes the columns that have the features' names.
    """

    lookup: str
    on: Names | None = None
    """Columns of the row that equal the key's, in its order, or ``<source>.<column>`` of a parent; none: those of the
    key's names."""


class LatestForm(FeatureForm):
    """Columns of the newest event that was known at ``t``: ``{latest: weather, by: place, max_age: 6h}``.

    ``latest: weather.temp`` names the column; else it is that of the feature's name.
    """

    latest: str
    by: Names
    """Columns that the event shares with the row; ``[]``: all events."""
    max_age: Duration


class AggregateForm(FeatureForm):
    """Aggregates of events: ``{aggregate: mean(amount), of: orders, by: customer, window: 7d}``.

    Several aggregates or windows give a feature each, whose name has ``{aggregate}`` and ``{window}`` in it.
    """

    aggregate: Names = Field(min_length=1)
    of: Identifier | None = None
    """The source of the events; none: the row's own."""
    by: Names | None = None
    """Columns that the event shares with the row; ``[]``: all events. None: the entity's."""
    where: str | None = None
    """A condition of one event; events where it is null are left out."""
    window: Duration | None = None
    windows: list[Duration] | None = Field(default=None, min_length=1)
    clock: Literal["event", "known"] = "event"
    """Whether events are in the window by when they happened, or by when they were known."""
    max_delay: Duration | None = None
    unit: Literal["minutes", "hours", "days"] | None = None
    """Of ``since_last``; none: days."""

    @field_validator("aggregate")
    @classmethod
    def check_can_be_read(cls, aggregates: list[str]) -> list[str]:
        for text in aggregates:
            match = AGGREGATE.fullmatch(text)
            if match is None or match[1] not in get_args(AggregateFunction):
                functions = ", ".join(get_args(AggregateFunction))
                raise ValueError(f"{text!r} is no aggregate; write one of {functions}, as in count or mean(amount)")
        return aggregates

    @model_validator(mode="after")
    def check_has_one_kind_of_window(self) -> Self:
        if self.window is not None and self.windows is not None:
            raise ValueError("has window and windows, which exclude each other; give one")
        return self

    def results(self) -> list[tuple[dict[str, str], dict[str, Any]]]:
        """What ``{aggregate}`` and ``{window}`` stand for in the name of each result, and its fields."""
        windows: list[timedelta | None] = [*self.windows] if self.windows else [self.window]
        results = []
        for text in self.aggregate:
            match = AGGREGATE.fullmatch(text)
            assert match is not None
            function, column = match.groups()
            for window in windows:
                words = {"aggregate": "_".join(filter(None, (function, column)))}
                words |= {"window": written_duration(window)} if window is not None else {}
                unit = (self.unit or "days") if function == "since_last" else self.unit
                results.append((words, {"function": function, "column": column, "window": window, "unit": unit}))
        return results


class ExpressionForm(FeatureForm):
    """A value computed row by row: ``"price / weight"``."""

    expression: str

    @field_validator("expression")
    @classmethod
    def check_can_be_read(cls, expression: str) -> str:
        parsed(expression)
        return expression


class PythonForm(FeatureForm):
    """A function of the owner: ``{python: "baskets:shape", of: orders, window: 30d}`` is ``shape(rows, pairs)`` of
    ``include/python/baskets.py``. It returns ``row_id`` and ``value``, each row once."""

    python: str
    of: Identifier | None = None
    """The source of the events; none: the row's own."""
    by: Names | None = None
    """Columns that the event shares with the row; ``[]``: all events. None: the entity's."""
    columns: list[str] | None = Field(default=None, min_length=1)
    """What it receives of an event; none: all but personal data. An event is seen once all of them are known."""
    window: Duration | None = None


DeclaredForm = OwnForm | CalendarForm | LookupForm | LatestForm | AggregateForm | ExpressionForm | PythonForm
FEATURE_FORMS: dict[str, type[FeatureForm]] = {
    "own": OwnForm,
    "calendar": CalendarForm,
    "lookup": LookupForm,
    "latest": LatestForm,
    "aggregate": AggregateForm,
    "expression": ExpressionForm,
    "python": PythonForm,
}
"""The field that tells a form from the others to its class."""
_read_fields = one_of(
    FEATURE_FORMS, "write `own`, an expression, or fields such as {lookup: products.weight, on: product}"
)


def _read(value: Any) -> Any:
    if value == OWN:
        return OwnForm(own=True)
    if isinstance(value, str):
        return ExpressionForm.model_validate({"expression": _checked(value)})
    return _read_fields(value)


def _checked(expression: str) -> str:
    parsed(expression)  # its own words, not those of a field that was not written
    return expression


DeclaredFeature = Annotated[DeclaredForm, PlainValidator(_read, json_schema_input_type=str | DeclaredForm)]
DeclaredFeatures = Mapping[str, DeclaredFeature]
