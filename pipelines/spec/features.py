"""A feature is declared by name, version and transformation, so that a change of its definition is detected."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from pipelines.spec.aggregate import Aggregate
from pipelines.spec.declared import DeclarationBlock, Identifier
from pipelines.spec.row_expression import columns_of, parsed

VAGUE_NAME_PATTERN = re.compile(r"^(f|x|v|col|feat|feature|var|variable|tmp|temp|test|data|value|field|input)_?\d*$")
WINDOW_SUFFIX = re.compile(r"_(\d+)(m|h|d)$")
HOURS_PER_UNIT = {"m": 1 / 60, "h": 1.0, "d": 24.0}
RESERVED_COLUMNS = ("prediction_time", "day", "label_time", "target", "label", "part", "prediction", "entity_id")
"""Columns that the feature table, a snapshot, its profile and a join with the prediction log have of their own."""


class DirectColumn(DeclarationBlock):
    """A column of the entity's own row."""

    type: Literal["column"]
    column: str


class CalendarPart(DeclarationBlock):
    """A part of the scheduled local time."""

    type: Literal["calendar"]
    part: Literal["hour_local", "day_of_week"]
    """``day_of_week``: Monday is 1, Sunday is 7."""


class Lookup(DeclarationBlock):
    """A column of a reference source, joined by key. ``age_years``: the entity's year minus the column."""

    type: Literal["lookup"]
    source: Identifier
    on: list[str] = Field(min_length=1)
    column: str
    as_: Literal["value", "age_years"] = Field(default="value", alias="as")


class LatestObservation(DeclarationBlock):
    """The newest observation with ``time_column <= t``, null when older than ``max_age_hours``.

    If the latest observation has no ``column`` the feature is null; an older value is not used.
    """

    type: Literal["latest_observation"]
    source: Identifier
    by: list[str]
    time_column: str
    column: str
    max_age_hours: float = Field(gt=0)


class WindowMean(DeclarationBlock):
    """Mean of ``column`` over rows of the same group known in ``(t - window_hours, t]``; null when none."""

    type: Literal["window_mean"]
    by: list[str] = Field(min_length=1)
    column: str
    window_hours: float = Field(gt=0)


class LastValue(DeclarationBlock):
    """``column`` of the newest row of the same group known in ``(t - window_hours, t]``; null when none."""

    type: Literal["last_value"]
    by: list[str] = Field(min_length=1)
    column: str
    window_hours: float = Field(gt=0)


class RowExpression(DeclarationBlock):
    """A value computed from other features, and columns of the entity's own row, as SQL writes it.

    A name is a feature's, else a column's; the feature's own name is the column's.
    """

    type: Literal["expression"]
    expression: str

    @field_validator("expression")
    @classmethod
    def check_can_be_read(cls, expression: str) -> str:
        parsed(expression)
        return expression

    def names(self) -> list[str]:
        """The features and columns that it reads."""
        return columns_of(parsed(self.expression))


Transformation = Annotated[
    DirectColumn | CalendarPart | Lookup | LatestObservation | WindowMean | LastValue | Aggregate | RowExpression,
    Field(discriminator="type"),
]


class Constraints(DeclarationBlock):
    """Constraints of the published feature, checked every day. ``minimum`` and ``maximum`` are inclusive."""

    minimum: float | None = None
    maximum: float | None = None
    max_null_share: float = Field(default=1.0, ge=0, le=1)

    @model_validator(mode="after")
    def check_a_value_can_satisfy_both(self) -> Self:
        limits = {name: value for name in ("minimum", "maximum") if (value := getattr(self, name)) is not None}
        if not all(map(math.isfinite, limits.values())):
            raise ValueError(f"{' and '.join(limits)} must be finite numbers; leave out a limit that there is not")
        if len(limits) == 2 and limits["minimum"] > limits["maximum"]:
            raise ValueError(f"minimum {self.minimum:g} is above maximum {self.maximum:g}; no value satisfies both")
        return self


class Feature(DeclarationBlock):
    """One feature. A change of ``type`` or ``transformation`` needs a higher ``version``."""

    version: int = Field(ge=1)
    description: str = Field(min_length=10)
    type: Literal["categorical", "numeric"]
    source_columns: list[str] = Field(min_length=1)
    transformation: Transformation
    constraints: Constraints = Constraints()

    @model_validator(mode="after")
    def check_limits_are_for_numbers(self) -> Self:
        limits = [name for name in ("minimum", "maximum") if getattr(self.constraints, name) is not None]
        if limits and self.type != "numeric":
            raise ValueError(f"constraints: {' and '.join(limits)} limit numeric features, not categories; remove them")
        return self

    def is_column(self, name: str) -> bool:
        """Whether its values, as text, are those of this column of the entity's own row."""
        how = self.transformation
        return isinstance(how, DirectColumn) and how.column == name and self.type == "categorical"

    def definition_digest(self) -> str:
        """sha256 of the feature's definition, 64 hex digits."""
        meaning = f"{self.type}|{self.transformation.model_dump_json(by_alias=True)}"
        return hashlib.sha256(meaning.encode()).hexdigest()


def _window_hours(how: Transformation) -> float | None:
    """Length of the window; None of what has none."""
    if isinstance(how, Aggregate):
        return how.window.total_seconds() / 3600
    return how.window_hours if isinstance(how, WindowMean | LastValue) else None


class FeatureView(DeclarationBlock):
    """``include/features/<view>.yaml``: one row per entity, as known ``lead_hours`` before the event.

    ``known_at`` of a row's facts is its actual event time: scheduled time plus ``delay_column`` minutes.
    """

    schema_: Literal[1] = Field(alias="schema")
    view: Identifier
    description: str = Field(min_length=1)
    owner: str = Field(min_length=1)
    dataset: Identifier
    entity_source: Identifier
    key: list[str] = Field(min_length=1)
    event_hour_column: str
    """Timestamp (UTC) of the hour of the scheduled event."""
    event_minute_column: str
    delay_column: str
    """Minutes by which the actual event was late; a row's own facts are known after it."""
    lead_hours: float = Field(gt=0)
    max_delay_hours: float = Field(default=24, gt=0)
    """Rows whose delay lies outside ``(-lead_hours, max_delay_hours]`` contribute to no window, which limits how many
    earlier days the features of a day depend on."""
    outcome_columns: list[str] = []
    """Columns of the entity's own row that are unknown at prediction time: no feature of that row may read them."""
    label: Label
    features: dict[str, Feature] = Field(min_length=1)

    @field_validator("features")
    @classmethod
    def check_names(cls, features: dict[str, Feature]) -> dict[str, Feature]:
        problems = []
        for name, feature in features.items():
            if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
                problems.append(f"feature name {name!r} is not lower_snake_case")
            elif VAGUE_NAME_PATTERN.match(name) and name != getattr(feature.transformation, "column", None):
                problems.append(
                    f"feature name {name!r} is too vague; name entity, measure and window, as in city_delay_mean_24h"
                )
            suffix, hours = WINDOW_SUFFIX.search(name), _window_hours(feature.transformation)
            if hours is not None and not suffix:
                problems.append(f"feature name {name!r} must end with its window, as in _24h")
            elif hours and suffix and abs(int(suffix[1]) * HOURS_PER_UNIT[suffix[2]] - hours) > 1e-9:
                problems.append(f"feature name {name!r} must end with its window of {hours:g} hours")
        if problems:
            raise ValueError("; ".join(problems))
        return features

    @model_validator(mode="after")
    def check_reserved_names(self) -> Self:
        reserved = {*RESERVED_COLUMNS, self.label.name} & set(self.features)
        if reserved:
            raise ValueError(f"features {sorted(reserved)} have reserved names; rename them")
        if self.label.name in RESERVED_COLUMNS:
            raise ValueError(f"label {self.label.name!r} has a reserved name; rename it")
        others = {name for name, feature in self.features.items() if not feature.is_column(name)}
        taken = sorted(set(self.key) & {*RESERVED_COLUMNS, self.label.name, *others})
        if taken:
            raise ValueError(
                f"key columns {taken} share their name with another column of the feature table or of a snapshot: "
                "of its time, day, part, label or answer, or a feature; rename the feature or the label, or have the "
                "source rename the column"
            )
        return self

    @model_validator(mode="after")
    def check_no_future_leakage(self) -> Self:
        outcomes = {self.delay_column, self.label.column, *self.label.known_after_columns, *self.outcome_columns}
        problems = []
        for name, feature in self.features.items():
            how = feature.transformation
            own = [*getattr(how, "by", []), *getattr(how, "on", [])]
            if isinstance(how, DirectColumn):
                own.append(how.column)
            if isinstance(how, WindowMean | LastValue) and how.column != self.delay_column:
                own.append(how.column)
            if isinstance(how, RowExpression):
                own += [column for column in how.names() if column == name or column not in self.features]
            problems += [f"feature {name!r} reads {column!r}, an outcome" for column in own if column in outcomes]
        if problems:
            raise ValueError("; ".join(problems) + ", which is unknown at prediction time")
        return self

    @model_validator(mode="after")
    def check_expressions_have_an_order(self) -> Self:
        try:
            self.expressions_in_order()
        except CycleError as error:
            cycle = " -> ".join(reversed(error.args[1]))
            raise ValueError(f"expressions read each other in a circle: {cycle}; break it") from error
        return self

    def expressions_in_order(self) -> list[str]:
        """The features that are expressions, each after those that it reads."""
        reads = {
            name: {other for other in how.names() if other in self.features and other != name}
            for name, feature in self.features.items()
            if isinstance(how := feature.transformation, RowExpression)
        }
        return [name for name in TopologicalSorter(reads).static_order() if name in reads]

    def definition_digests(self) -> dict[str, str]:
        """Feature to the sha256 of its definition.

        Features as of ``t`` include the view's definition of ``t``, expressions the definitions of what they read.
        """
        moment = "|".join(
            [self.entity_source, self.event_hour_column, self.event_minute_column, self.delay_column]
            + [f"{self.lead_hours:g}", f"{self.max_delay_hours:g}"]
        )
        digests = {name: feature.definition_digest() for name, feature in self.features.items()}
        for name, feature in self.features.items():
            if isinstance(feature.transformation, LatestObservation | WindowMean | LastValue | Aggregate):
                digests[name] = hashlib.sha256(f"{digests[name]}|{moment}".encode()).hexdigest()
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
            elif digest != known_digest and version == known_version:
                faults.append(f"feature {name!r} changed but is still version {version}; raise it to {version + 1}")
        return faults


class Label(DeclarationBlock):
    """The label, known later: ``column >= at_least`` of the entity's own row; null where the column is null."""

    name: Identifier
    column: str
    at_least: float
    known_after_columns: list[str] = []
    """Columns of minutes; the label is known their sum after the scheduled event. Null: not known yet."""
    known_after_minutes: float = Field(default=0, ge=0)
    """Additional minutes until the label is in the tables."""


FeatureView.model_rebuild()
