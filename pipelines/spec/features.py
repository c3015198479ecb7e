"""A view as it is built: its rows, its label, and each feature with the one meaning that its version stands for."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from datetime import date, timedelta
from graphlib import TopologicalSorter
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from pipelines.spec.aggregate import Aggregate
from pipelines.spec.declared import DeclarationBlock, Identifier
from pipelines.spec.durations import Duration
from pipelines.spec.event_time import EventTime
from pipelines.spec.label import Label
from pipelines.spec.panel import PERIOD, Panel
from pipelines.spec.partitions import ONCE
from pipelines.spec.python_function import PythonFunction
from pipelines.spec.row_expression import columns_of, parsed

EVENT, MOMENT = "event", "t"
"""What a calendar part is of besides a column: the row's event, and the moment as of which it is known."""
TICK = timedelta(microseconds=1)


class DirectColumn(DeclarationBlock):
    """A column of the row's own source."""

    type: Literal["column"] = "column"
    column: str


class CalendarPart(DeclarationBlock):
    """A part of a time as the clocks of the dataset's zone show it. ``weekday``: Monday is 1, Sunday is 7."""

    type: Literal["calendar"] = "calendar"
    part: str
    of: str = EVENT
    """``event``, ``t``, or a column of the row's own source."""


class Lookup(DeclarationBlock):
    """A column of the newest copy of a reference source that was known at ``t``, in the row with this key."""

    type: Literal["lookup"] = "lookup"
    source: Identifier
    on: list[str | Lookup] = Field(min_length=1)
    """What equals the key's columns, in their order: columns of the row, or what was looked up for it."""
    column: str

    def whole(self) -> list[Lookup]:
        """It and those that it rests on."""
        return [self, *(other for value in self.on if isinstance(value, Lookup) for other in value.whole())]

    def own_columns(self) -> list[str]:
        """The columns of the row that it reads."""
        return [name for lookup in self.whole() for name in lookup.on if isinstance(name, str)]


class LatestObservation(DeclarationBlock):
    """``column`` of the newest event of the same group that was known at ``t``, with an age of at most ``max_age``.

    If the newest event has no ``column`` the feature is null; an older value is not used.
    """

    type: Literal["latest"] = "latest"
    source: Identifier
    by: list[str]
    column: str
    max_age: Duration

    @property
    def aggregate(self) -> Aggregate:
        """The same as the last value of a window: ``(t - max_age - 1 µs, t]`` holds an age of ``max_age``, too."""
        window = self.max_age + TICK
        return Aggregate(function="last", column=self.column, of=self.source, by=self.by, window=window)


class RowExpression(DeclarationBlock):
    """A value computed row by row from features, columns of the row, looked-up columns and ``t``, as SQL writes it.

    A name is a feature's, else a column's; the feature's own name is the column's.
    """

    type: Literal["expression"] = "expression"
    expression: str
    lookups: dict[str, Lookup] = {}
    """What each ``<source>.<column>`` in it stands for."""

    @field_validator("expression")
    @classmethod
    def check_can_be_read(cls, expression: str) -> str:
        parsed(expression)
        return expression

    def names(self) -> list[str]:
        """All that it reads, as written."""
        return columns_of(parsed(self.expression))


Transformation = Annotated[
    DirectColumn | CalendarPart | Lookup | LatestObservation | Aggregate | RowExpression | PythonFunction,
    Field(discriminator="type"),
]


class Constraints(DeclarationBlock):
    """Constraints of the published feature, checked every day. ``min`` and ``max`` are inclusive."""

    minimum: float | None = Field(default=None, alias="min")
    maximum: float | None = Field(default=None, alias="max")
    max_null_share: float = Field(default=1.0, ge=0, le=1, alias="nulls")
    """The largest share of rows without a value."""
    allowed: list[bool | int | float | str] | None = Field(default=None, min_length=1)
    """The only values that there are; None: any."""
    freshness: Duration | None = None
    """How old the newest event of the feature's source that was known may be at ``t`` of each row, at the most; of what
    is looked up, how long its newest copy may have been known. None: of any age."""

    @model_validator(mode="after")
    def check_a_value_can_satisfy_both(self) -> Self:
        limits = {"min": self.minimum, "max": self.maximum}
        declared = {name: value for name, value in limits.items() if value is not None}
        if not all(map(math.isfinite, declared.values())):
            raise ValueError(f"{' and '.join(declared)} must be finite numbers; leave out a limit that there is not")
        if len(declared) == 2 and declared["min"] > declared["max"]:
            raise ValueError(f"min {self.minimum:g} is above max {self.maximum:g}; no value satisfies both")
        return self

    @field_validator("freshness")
    @classmethod
    def check_freshness_is_a_time(cls, freshness: timedelta | None) -> timedelta | None:
        if freshness is not None and not freshness:
            raise ValueError("must be longer than nothing; write 1h at least")
        return freshness


class Feature(DeclarationBlock):
    """One feature. A change of its meaning needs a higher ``version``."""

    version: int = Field(ge=1)
    description: str = ""
    type: Literal["categorical", "numeric"]
    transformation: Transformation
    constraints: Constraints = Constraints()
    source_columns: list[str] = []
    """``<source>.<column>`` of all that it reads, other features aside."""
    times: list[str] = []
    """Digests of the event and known times by which it reads what it reads: they are part of its meaning."""

    def lookups(self) -> list[Lookup]:
        """All that is looked up for it."""
        how = self.transformation
        if isinstance(how, RowExpression):
            return [other for lookup in how.lookups.values() for other in lookup.whole()]
        return how.whole() if isinstance(how, Lookup) else []

    def allowed_values(self) -> list[str] | list[float] | None:
        """Those of ``constraints.allowed`` as they are stored; None: all."""
        values = self.constraints.allowed
        if values is None:
            return None
        if self.type == "numeric":
            return [float(value) for value in values]
        return [str(value).lower() if isinstance(value, bool) else str(value) for value in values]

    def is_column(self, name: str) -> bool:
        """Whether its values, as text, are those of this column of the entity's own row."""
        how = self.transformation
        return isinstance(how, DirectColumn) and how.column == name and self.type == "categorical"

    def definition_digest(self) -> str:
        """sha256 of the feature's definition, 64 hex digits; that of an expression without what it reads."""
        meaning = [self.type, self.transformation.model_dump_json(), *self.times]
        return hashlib.sha256("|".join(meaning).encode()).hexdigest()


class FeatureView(DeclarationBlock):
    """One row per entity, as known at its moment ``t``: the time of its event minus ``lead``.

    Of a ``panel`` one row per entity and period in which it was active, and ``t`` is that of the period.
    """

    view: Identifier
    description: str
    owner: str
    dataset: Identifier
    entity_source: Identifier
    """The source whose rows the view's rows are; of a panel the one whose events make an entity active."""
    key: list[str] = Field(min_length=1)
    """The columns that name a row: those of its entity, and of a panel its ``period``; of a table whose rows may
    repeat the name that each was given."""
    key_times: list[str] = []
    """Those of the key that are timestamps."""
    event_time: EventTime | None
    """None: rows of a table have none."""
    lead: timedelta
    due: timedelta = timedelta()
    """How long after the end of a day its files are due."""
    is_table: bool = False
    """Whether the rows are those of a table without dates, all of which are of the one day ``FIRST_DATE``."""
    warm_up: timedelta | None = None
    allow_missing: bool = False
    """Whether rows are trained on whose windows reach a partition that is not held."""
    panel: Panel | None = None
    label: Label | None = None
    features: dict[str, Feature] = Field(min_length=1)
    former_digests: dict[str, str] = {}
    """Feature to the digest under which version 0.1 recorded the same meaning, where it could say it."""

    @property
    def entity(self) -> list[str]:
        """The columns that name the entity of a row."""
        return [name for name in self.key if self.panel is None or name != PERIOD]

    def partition_key(self, day: date) -> str:
        """By what name a day of rows stands in the tables of its dataset, and in events."""
        return ONCE if self.is_table else f"{day}"

    def days(self, first: date, last: date) -> list[date]:
        """The days of rows, both ends included: every date, or the first dates of a panel's periods."""
        if self.panel is not None:
            return self.panel.periods(first, last)
        return [first + timedelta(days=number) for number in range((last - first).days + 1)]

    def window(self, last: date, dates: int) -> list[date]:
        """The days of rows among so many dates up to ``last``, and the newest where there is none."""
        return self.days(last - timedelta(days=dates - 1), last) or self.last_days(last, 1)

    def due_with(self, day: date) -> list[date]:
        """The days of rows that can be built once this day of the dataset is held: itself, or a period, or none."""
        if self.panel is None:
            return [day]
        period = self.panel.period_due(day)
        return [] if period is None else [period]

    def last_days(self, last: date, count: int) -> list[date]:
        """So many days of rows up to ``last``, which is one of them."""
        if self.panel is not None:
            return self.panel.last_periods(last, count)
        return self.days(last - timedelta(days=count - 1), last)

    @property
    def days_apart(self) -> int:
        """How many dates lie between two days of rows, at the least: 1, or 7 of a panel by week."""
        return 1 if self.panel is None else self.panel.days

    @property
    def label_lag(self) -> int:
        """How many dates after the day of a row a label over a future window is known, at the most; else 0."""
        if self.label is None or self.label.within is None:
            return 0
        latest = timedelta(days=1) if self.panel is None else self.panel.at
        return math.ceil((latest + self.label.within + self.due) / timedelta(days=1)) + 1

    @property
    def label_follows(self) -> bool:
        """Whether the label tells of events after ``t``, in place of the row itself."""
        return self.label is not None and self.label.within is not None

    @property
    def label_on(self) -> list[str]:
        """The columns that an event of the label's window shares with the row."""
        return self.label.on or self.entity if self.label else self.entity

    @property
    def label_horizon(self) -> timedelta | None:
        """How long after ``t`` the label tells of; None: it tells of the row itself."""
        return self.label.within if self.label else None

    def aggregates(self) -> dict[str, Aggregate]:
        """The features that are aggregates of events; a latest value is the last of a window."""
        aggregates = {}
        for name, feature in self.features.items():
            how = feature.transformation
            if isinstance(how, LatestObservation):
                aggregates[name] = how.aggregate
            elif isinstance(how, Aggregate):
                aggregates[name] = how
        return aggregates

    def events_read(self) -> dict[str, Aggregate | PythonFunction]:
        """The features that read events, by a window or all that were known."""
        functions = {
            name: how
            for name, feature in self.features.items()
            if isinstance(how := feature.transformation, PythonFunction)
        }
        return {**self.aggregates(), **functions}

    def expressions_in_order(self) -> list[str]:
        """The features that are expressions, each after those that it reads. Raises ``CycleError``."""
        reads = {
            name: {other for other in how.names() if other in self.features and other != name}
            for name, feature in self.features.items()
            if isinstance(how := feature.transformation, RowExpression)
        }
        return [name for name in TopologicalSorter(reads).static_order() if name in reads]

    def definition_digests(self) -> dict[str, str]:
        """Feature to the sha256 of its definition; of an expression with the definitions of what it reads."""
        digests = {name: feature.definition_digest() for name, feature in self.features.items()}
        for name in self.expressions_in_order():
            how = self.features[name].transformation
            assert isinstance(how, RowExpression)
            parts = [digests[name], *(digests[other] for other in how.names() if other in digests and other != name)]
            digests[name] = hashlib.sha256("|".join(parts).encode()).hexdigest()
        return digests

    def definition_faults(self, registered: Mapping[str, tuple[int, str]]) -> list[str]:
        """Features whose definition changed without a higher version. ``registered``: (version, digest)."""
        faults = []
        for name, digest in self.definition_digests().items():
            known_version, known_digest = registered.get(name, (0, digest))
            version = self.features[name].version
            if version < known_version:
                faults.append(f"feature {name!r} has version {version} < {known_version} built before; raise it")
            elif known_digest not in (digest, self.former_digests.get(name)) and version == known_version:
                faults.append(f"feature {name!r} changed but is still version {version}; raise it to {version + 1}")
        return faults
