"""A feature that is an aggregate: of which events, over which window, and by which of their two clocks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal, Self

from pydantic import field_validator, model_validator

from pipelines.spec.column import NUMERIC
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.declared import DeclarationBlock, Identifier
from pipelines.spec.durations import Duration, written_duration
from pipelines.spec.row_expression import KINDS, Kind, columns_of, kind_of, parsed
from pipelines.spec.source import SourceSpec

AggregateFunction = Literal[
    "count", "sum", "mean", "min", "max", "std", "first", "last", "count_distinct", "share", "exists", "since_last"
]
OF_NUMBERS = ("sum", "mean", "min", "max", "std")
OF_ANY_VALUE = ("first", "last", "count_distinct")
WITHOUT_COLUMN = ("share", "exists", "since_last")
STORED: Mapping[str, tuple[str, ...]] = {
    "numeric": (*NUMERIC, "boolean"),
    "categorical": ("string", "integer", "boolean"),
}
"""Type of a feature to the types of columns whose values it can hold."""


class Aggregate(DeclarationBlock):
    """An aggregate of the events of the same group, as they were known at the prediction time ``t``.

    Seen are events with event time in ``(t - window, t]`` that were known at ``t``; with ``clock: known`` those with
    known time in ``(t - window, t]``. A row's own event is never seen. Values are known when their source declares it:
    an event counts once all columns that the aggregate reads are known, those of ``where`` and ``by`` included.
    """

    type: Literal["aggregate"] = "aggregate"
    function: AggregateFunction
    column: str | None = None
    """What is aggregated; of ``count`` none counts events, else the values that are there."""
    of: Identifier
    """The source of the events."""
    by: list[str]
    """Columns that an event shares with the row; ``[]``: all events."""
    where: str | None = None
    """A condition of one event, as SQL writes it; events where it is null are left out. ``share`` is the part of all
    visible events where it is true."""
    window: Duration | None = None
    """None: all that were known at ``t``."""
    clock: Literal["event", "known"] = "event"
    max_delay: Duration | None = None
    """With ``clock: known`` the longest time from an event to its known time that counts, which limits how many earlier
    days the features of a day read. An event that was known a row's whole lead before it happened does not count."""
    unit: Literal["minutes", "hours", "days"] | None = None
    """Of ``since_last``."""

    @field_validator("window")
    @classmethod
    def check_is_longer_than_nothing(cls, window: timedelta | None) -> timedelta | None:
        if window == timedelta():
            raise ValueError("must be longer than nothing; write 1m at least")
        return window

    @field_validator("where")
    @classmethod
    def check_can_be_read(cls, where: str | None) -> str | None:
        if where is not None:
            parsed(where)
        return where

    @model_validator(mode="after")
    def check_fields_suit_the_function(self) -> Self:
        faults = []
        if self.column is None and self.function in (*OF_NUMBERS, *OF_ANY_VALUE):
            faults.append(f"{self.function} needs column: what is aggregated")
        if self.column is not None and self.function in WITHOUT_COLUMN:
            faults.append(f"{self.function} is of events, not of a column; remove column")
        if self.where is None and self.function == "share":
            faults.append("share needs where: the condition whose share it is")
        if self.unit is None and self.function == "since_last":
            faults.append("since_last needs unit: minutes, hours or days")
        if self.unit is not None and self.function != "since_last":
            faults.append(f"unit is of since_last, not of {self.function}; remove unit")
        if self.max_delay is not None and self.clock == "event":
            faults.append("max_delay is of `clock: known`; remove it")
        if self.max_delay is None and self.clock == "known":
            faults.append("clock: known needs max_delay: the longest time from an event to its known time that counts")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def columns_read(self) -> list[str]:
        """The columns of an event that the aggregate reads."""
        return list(dict.fromkeys([*([self.column] if self.column else []), *self.by, *self.condition_columns()]))

    def condition_columns(self) -> list[str]:
        """The columns that ``where`` reads."""
        return columns_of(parsed(self.where)) if self.where else []


def aggregate_faults(how: Aggregate, kind: str, own: str, dataset: DatasetSpec) -> list[str]:
    """Columns that are missing, personal, or of the wrong type, and clocks that do not suit. ``kind``: the feature's.

    ``own``: the source of the view's rows.
    """
    name = how.of
    if name not in dataset.sources:
        return [f"of: {name!r} is not a source of {dataset.dataset}; it has {', '.join(dataset.sources)}"]
    source = dataset.sources[name]
    theirs, rows = source.stored_columns(), dataset.sources[own].stored_columns()
    faults = []
    used = [
        ("aggregate", [how.column] if how.column else []), ("by", how.by), ("where", how.condition_columns())
    ]  # fmt: skip
    if source.cadence == "reference":
        faults.append(f"of: {name!r} is a reference source: copies, not events")
    elif source.row_time is None:
        faults.append(f"of: {name!r} has no event time; declare event_time in the dataset")
    missing = [
        f"{field}: {column!r} is not in {name}" for field, columns in used for column in columns if column not in theirs
    ]
    missing += [f"by: {column!r} is not in {own}" for column in how.by if column not in rows and name != own]
    faults += missing
    faults += [
        f"by: {column!r} is {theirs[column].type} in {name} and {rows[column].type} in {own}; they never match"
        for column in how.by
        if column in theirs and column in rows and theirs[column].type != rows[column].type
    ]
    faults += [
        f"{field}: {column!r} of {name} is personal data; no feature may use it"
        for field, columns in used
        for column in columns
        if field != "by" and column in theirs and theirs[column].pii
    ]
    if missing:
        return faults
    return faults + _type_faults(how, kind, name, source) + _clock_faults(how, name, dataset)


def aggregate_kind(how: Aggregate, dataset: DatasetSpec) -> Literal["categorical", "numeric"]:
    """The type of a feature that is this aggregate: that of the column for ``first`` and ``last``, else a number."""
    source = dataset.sources.get(how.of)
    column = source.stored_columns().get(how.column or "") if source else None
    is_text = how.function in ("first", "last") and column is not None and column.type == "string"
    return "categorical" if is_text else "numeric"


def _type_faults(how: Aggregate, kind: str, name: str, source: SourceSpec) -> list[str]:
    columns, faults = source.stored_columns(), []
    if how.column and how.function in OF_NUMBERS and columns[how.column].type not in NUMERIC:
        types = f"{how.column!r} of {name} is {columns[how.column].type}"
        faults.append(f"aggregate: {types}; {how.function} needs {' or '.join(NUMERIC)}")
    if how.function in ("first", "last") and how.column and columns[how.column].type not in STORED[kind]:
        faults.append(f"aggregate: {how.column!r} of {name} is {columns[how.column].type}, and the feature {kind}")
    if how.function not in ("first", "last") and kind == "categorical":
        faults.append(f"type: {how.function} is a number; declare the feature numeric")
    if how.where:
        kinds: Mapping[str, Kind] = {column: KINDS[spec.type] for column, spec in columns.items() if spec.type in KINDS}
        try:
            if kind_of(parsed(how.where), kinds) != "boolean":
                faults.append(f"where: {how.where!r} is no condition; compare it with something")
        except ValueError as error:
            faults.append(f"where: {error}")
    return faults


def _clock_faults(how: Aggregate, name: str, dataset: DatasetSpec) -> list[str]:
    """With the clock ``known`` an event must be able to become known at the event or later, within ``max_delay``."""
    if how.clock == "event":
        return []
    known = [dataset.known_time(name, column) for column in how.columns_read()]
    if known and all(time.anchor == "event" and not time.minutes and time.offset < timedelta() for time in known):
        return [f"clock: all that is read of {name} is known before its event; write clock: event"]
    late = [
        time.offset
        for time in known
        if time.anchor != "partition_start" and time.offset > (how.max_delay or timedelta())
    ]
    if late:
        longest = written_duration(max(late))
        return [f"max_delay: what is read of {name} is known {longest} after its event at the earliest; nothing counts"]
    return []
