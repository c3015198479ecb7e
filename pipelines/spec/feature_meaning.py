"""Gives each declared feature its one meaning: columns, types, and the times at which what it reads is known.

A feature may read nothing that is known later than its row's moment ``t``. What is aggregated, or looked up, is taken
as it was known at ``t``; a column of the row itself must be known by then, as its source declares.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Literal

from pipelines.spec.aggregate import Aggregate, aggregate_faults, aggregate_kind
from pipelines.spec.column import ColumnSpec
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.feature_faults import PREDICTION_TIME, TAKEN_BY_MOMENT, ambiguous, function_faults, limit_faults
from pipelines.spec.feature_forms import ExpressionForm, FeatureForm, OwnForm
from pipelines.spec.features import (
    EVENT,
    MOMENT,
    CalendarPart,
    DirectColumn,
    Feature,
    LatestObservation,
    Lookup,
    RowExpression,
    Transformation,
)
from pipelines.spec.form_reader import FormReader
from pipelines.spec.known_time import is_known_by, written_moment
from pipelines.spec.label import Label
from pipelines.spec.panel import PerPeriod
from pipelines.spec.python_function import PythonFunction
from pipelines.spec.row_expression import KINDS, PARTS_OF_A_TIME, Kind, columns_of, kind_of, parsed
from pipelines.spec.view_rows import PerEvent, PerTable

ALL_OWN = "*"
FeatureType = Literal["categorical", "numeric"]
TYPES: Mapping[str, FeatureType] = {
    "string": "categorical",
    "boolean": "numeric",
    "integer": "numeric",
    "number": "numeric",
    "decimal": "numeric",
}
"""Type of a column to that of a feature with its values; a date or a time is no feature."""
CATEGORIES = ("string", "integer", "boolean")
"""Types of columns whose values can be categories."""


class FeatureMeanings:
    """Collects the features of one view. ``places``: each feature's name to the name under which it is declared."""

    def __init__(
        self,
        rows: PerEvent | PerPeriod | PerTable,
        entity: Sequence[str],
        label: Label | None,
        dataset: DatasetSpec,
        functions: Path | None,
    ) -> None:
        self._rows, self._entity, self._label, self._dataset = rows, list(entity), label, dataset
        self._source = dataset.sources[rows.source]
        self._own = self._source.stored_columns()
        if isinstance(rows, PerPeriod):  # a row is no event: it has the columns that name its entity
            self._own = {name: self._own[name] for name in entity if name in self._own}
        self._features: dict[str, Feature] = {}
        self._expressions: dict[str, ExpressionForm] = {}
        self._faults: list[str] = []
        self._all_own: FeatureForm | None = None
        self._reader = FormReader(rows, self._entity, dataset, self._fault, functions)
        self.places: dict[str, str] = {}

    def add(self, place: str, form: FeatureForm) -> None:
        """The features declared at this place: all names of the list, or all results of the template."""
        if place.strip() == ALL_OWN:
            if not isinstance(form, OwnForm) or form.own is not True:
                self._fault(place, "stands for all columns; write `own`")
            self._all_own = form
            return
        for name, how in self._reader.read(place, form):
            if name in self.places:
                self._fault(place, f"{name!r} is declared twice; give each feature a name of its own")
                continue
            self.places[name] = place
            if isinstance(how, ExpressionForm):
                self._expressions[name] = how
            else:
                self._keep(name, how, form)

    def finish(self) -> tuple[dict[str, Feature], list[str]]:
        """All features in the order declared, expressions with the types that they have by what they read; faults."""
        if self._all_own is not None:
            for name in self._columns_to_offer():
                self.places[name] = ALL_OWN
                self._keep(name, DirectColumn(column=name), self._all_own)
        self._read_expressions()
        return {name: self._features[name] for name in self.places if name in self._features}, self._faults

    def _fault(self, place: str, text: str, field: str = "") -> None:
        self._faults.append(f"features.{place}{'.' if field else ''}{field}: {text}")

    def _keep(self, name: str, how: Transformation, form: FeatureForm) -> None:
        place = self.places[name]
        before = len(self._faults)
        for field, text in self._transformation_faults(how, form.type):
            self._fault(place, text, field)
        for column in self._row_columns(how):
            self._check_is_known(place, name, column)
        kind = form.type or self._type(how)
        self._check_limits(place, form, how, kind)
        if len(self._faults) == before:
            self._features[name] = self._feature(how, form, kind)

    def _check_limits(self, place: str, form: FeatureForm, how: Transformation, kind: FeatureType) -> None:
        for field, text in limit_faults(form.constraints, how, kind):
            self._fault(place, text, field)

    def _check_is_known(self, place: str, name: str, column: str) -> None:
        """A column of the row itself is known by ``t``, or the feature would tell what nobody knows yet."""
        if column not in self._own or isinstance(self._rows, PerPeriod):
            return
        if column == PREDICTION_TIME:
            self._fault(place, f"{name} reads {column!r}, {TAKEN_BY_MOMENT}")
        if isinstance(self._rows, PerTable) and self._label is not None and column in self._label.columns:
            self._fault(place, f"{name} reads {column!r}, of which the label tells; leave it out")
        known = self._dataset.known_time(self._rows.source, column)
        if not is_known_by(known, self._rows.lead):
            when = f"is known {known}" if known.anchor != "partition_end" else "is known when its partition is due"
            self._fault(
                place,
                f"{name} reads {column!r} of {self._rows.source}, which {when}, and {written_moment(self._rows.lead)}; "
                "leave it out, or say in the dataset when it is known",
            )

    def _row_columns(self, how: Transformation) -> list[str]:
        """The columns of the row itself that a feature reads."""
        if isinstance(how, DirectColumn):
            return [how.column]
        if isinstance(how, CalendarPart):
            times = {EVENT: list(self._source.stored_time.columns) if self._source.stored_time else [], MOMENT: []}
            return times.get(how.of, [how.of])
        if isinstance(how, Lookup):
            return how.own_columns()
        if isinstance(how, LatestObservation | Aggregate | PythonFunction):
            return how.by
        read = [name for name in how.names() if name in self._own and name not in self._features]
        return list(dict.fromkeys([*read, *(name for lookup in how.lookups.values() for name in lookup.own_columns())]))

    def _transformation_faults(self, how: Transformation, kind: str | None) -> list[tuple[str, str]]:
        """Field and fault of columns that are missing, personal, or of a wrong type."""
        if isinstance(self._rows, PerTable) and isinstance(how, LatestObservation | Aggregate | PythonFunction):
            return [("", "a row of a table has no moment by which events are known; leave it out")]
        if isinstance(how, DirectColumn):
            return self._value_faults("", self._rows.source, self._own, how.column, kind)
        if isinstance(how, CalendarPart):
            return self._calendar_faults(how)
        if isinstance(how, Lookup):
            faults = [fault for lookup in how.whole() for fault in self._lookup_faults(lookup)]
            theirs = self._dataset.sources[how.source].stored_columns()
            return faults + self._value_faults("lookup", how.source, theirs, how.column, kind)
        if isinstance(how, LatestObservation):
            return self._latest_faults(how, kind)
        assert isinstance(how, Aggregate | PythonFunction)
        if faults := self._group_faults(how.by):
            return faults
        if isinstance(how, PythonFunction):
            listed = function_faults(how, self._rows.source, self._dataset)
        else:
            kind = kind or aggregate_kind(how, self._dataset)
            listed = aggregate_faults(how, kind, self._rows.source, self._dataset)
        return [(field, text) for field, _, text in (fault.partition(": ") for fault in listed)]

    def _value_faults(
        self, field: str, source: str, columns: Mapping[str, ColumnSpec], column: str, kind: str | None
    ) -> list[tuple[str, str]]:
        if column not in columns:
            return [(field, f"{column!r} is not a column of {source}; it has {', '.join(columns)}")]
        faults, declared = [], columns[column]
        if declared.pii:
            faults.append((field, f"{column!r} of {source} is personal data; no feature may use it"))
        if declared.type not in TYPES:
            faults.append((field, f"{column!r} of {source} is a {declared.type}; take a part of it, by calendar"))
        elif kind == "numeric" and TYPES[declared.type] != "numeric":
            faults.append((field, f"{column!r} of {source} is {declared.type}, and the feature numeric"))
        elif kind == "categorical" and declared.type not in CATEGORIES:
            faults.append((field, f"{column!r} of {source} is {declared.type}, and the feature categorical"))
        return faults

    def _calendar_faults(self, how: CalendarPart) -> list[tuple[str, str]]:
        if how.of in (EVENT, MOMENT) and how.of in self._own:
            return [("of", ambiguous(how.of, self._rows.source))]
        if how.of in (EVENT, MOMENT) and isinstance(self._rows, PerTable):
            return [("of", f"a row of a table has no moment; write a date or timestamp of {self._rows.source}")]
        if how.of == EVENT and isinstance(self._rows, PerPeriod):
            return [("of", "a row of a period has no event; write t")]
        if how.of in (EVENT, MOMENT):
            time = self._source.stored_time
            is_date = how.of == EVENT and time is not None and self._own[time.column].type == "date"
        else:
            if how.of not in self._own or self._own[how.of].type not in ("date", "timestamp"):
                return [("of", f"{how.of!r} is no time of {self._rows.source}; write t, or a date or timestamp of it")]
            is_date = self._own[how.of].type == "date"
        if is_date and how.part in PARTS_OF_A_TIME:
            return [("calendar", f"a date has no {how.part}; leave it out")]
        return []

    def _lookup_faults(self, how: Lookup) -> list[tuple[str, str]]:
        theirs = self._dataset.sources[how.source]
        columns, faults = theirs.stored_columns(), []
        for key, value in zip(theirs.stored_key, how.on, strict=True):
            if isinstance(value, Lookup):
                parent = self._dataset.sources[value.source].stored_columns()
                name, columns_of_value = f"{value.source}.{value.column}", parent
                declared = parent.get(value.column)
            else:
                name, columns_of_value, declared = value, self._own, self._own.get(value)
            if declared is None:
                faults.append(("on", f"{name!r} is not a column; there are {', '.join(columns_of_value)}"))
            elif declared.type != columns[key].type:
                kind = columns[key].type
                faults.append(
                    ("on", f"{name!r} is {declared.type}, and {key!r} of {how.source} {kind}; they never match")
                )
        return faults

    def _group_faults(self, by: Sequence[str]) -> list[tuple[str, str]]:
        """A row of a period has the columns of its entity alone, by which events can be its own."""
        others = [name for name in by if name not in self._own]
        if isinstance(self._rows, PerEvent) or not others:
            return []
        return [("by", f"{', '.join(others)}: a row has {', '.join(self._own)} alone; leave it out")]

    def _latest_faults(self, how: LatestObservation, kind: str | None) -> list[tuple[str, str]]:
        if how.source not in self._dataset.sources:
            return [("latest", f"{how.source!r} is not a source of {self._dataset.dataset}")]
        columns = self._dataset.sources[how.source].stored_columns()
        faults = self._value_faults("latest", how.source, columns, how.column, kind) + self._group_faults(how.by)
        if faults:
            return faults
        listed = aggregate_faults(
            how.aggregate, kind or TYPES[columns[how.column].type], self._rows.source, self._dataset
        )
        fields = {"of": "latest", "aggregate": "latest", "window": "max_age"}
        return [(fields.get(field, field), text) for field, _, text in (fault.partition(": ") for fault in listed)]

    def _type(self, how: Transformation) -> FeatureType:
        if isinstance(how, DirectColumn):
            columns, name = self._own, how.column
        elif isinstance(how, Lookup | LatestObservation) and how.source in self._dataset.sources:
            columns, name = self._dataset.sources[how.source].stored_columns(), how.column
        else:
            return aggregate_kind(how, self._dataset) if isinstance(how, Aggregate) else "numeric"
        return TYPES.get(columns[name].type, "numeric") if name in columns else "numeric"

    def _feature(self, how: Transformation, form: FeatureForm, kind: FeatureType) -> Feature:
        return Feature(
            version=form.version,
            description=form.description or self._column_description(how),
            type=kind,
            transformation=how,
            constraints=form.constraints,
            source_columns=self._source_columns(how),
            times=self._times(how),
        )

    def _column_description(self, how: Transformation) -> str:
        if isinstance(how, DirectColumn):
            return self._own[how.column].description
        if isinstance(how, Lookup | LatestObservation):
            return self._dataset.sources[how.source].stored_columns()[how.column].description
        return ""

    def _source_columns(self, how: Transformation) -> list[str]:
        named = [f"{self._rows.source}.{column}" for column in self._row_columns(how)]
        lookups = (
            [how] if isinstance(how, Lookup) else list(how.lookups.values()) if isinstance(how, RowExpression) else []
        )
        named += [f"{lookup.source}.{lookup.column}" for whole in lookups for lookup in whole.whole()]
        if isinstance(how, LatestObservation):
            named += [f"{how.source}.{column}" for column in how.aggregate.columns_read()]
        if isinstance(how, Aggregate | PythonFunction):
            named += [f"{how.of}.{column}" for column in how.columns_read()]
        return list(dict.fromkeys(named))

    def _times(self, how: Transformation) -> list[str]:
        """Digests of what decides which values were known at ``t``."""
        moment = f"{self._rows.source}|{self._source.stored_time}|{self._rows.lead.total_seconds():g}"
        if isinstance(self._rows, PerPeriod):
            moment = self._rows.meaning(self._dataset.partition.due)
        view = hashlib.sha256(moment.encode()).hexdigest()
        if isinstance(how, LatestObservation | Aggregate | PythonFunction):
            events = how.aggregate if isinstance(how, LatestObservation) else how
            time = self._dataset.sources[events.of].row_time
            known = [self._dataset.known_time(events.of, column).digest for column in events.columns_read()]
            return [view, *([time.digest] if time else []), *sorted(set(known))]
        if isinstance(how, CalendarPart):
            return [view, self._dataset.partition.timezone]
        lookups = (
            [how] if isinstance(how, Lookup) else list(how.lookups.values()) if isinstance(how, RowExpression) else []
        )
        known = [
            self._dataset.known_time(lookup.source, lookup.column).digest for top in lookups for lookup in top.whole()
        ]
        reads_the_moment = bool(lookups) or (isinstance(how, RowExpression) and MOMENT in how.names())
        zone = [self._dataset.partition.timezone] if isinstance(how, RowExpression) else []
        return [*([view] if reads_the_moment else []), *zone, *sorted(set(known))]

    def _columns_to_offer(self) -> list[str]:
        """What ``*`` stands for."""
        label = self._label.columns if self._label else []
        return [
            name
            for name, column in self._own.items()
            if name not in (*self.places, *self._entity, *label)
            and not column.pii
            and column.type in TYPES
            and is_known_by(self._dataset.known_time(self._rows.source, name), self._rows.lead)
        ]

    def _read_expressions(self) -> None:
        """The expressions, each after those that it reads, whose types its own follows."""
        names = {
            name: {
                other for other in columns_of(parsed(form.expression)) if other in self._expressions and other != name
            }
            for name, form in self._expressions.items()
        }
        try:
            order = list(TopologicalSorter(names).static_order())
        except CycleError as error:
            cycle = list(reversed(error.args[1]))
            text = f"expressions read each other in a circle: {' -> '.join(cycle)}; break it"
            self._fault(self.places[cycle[0]], text)
            return
        for name in order:
            self._read_expression(name, self._expressions[name])

    def _read_expression(self, name: str, form: ExpressionForm) -> None:
        place, node = self.places[name], parsed(form.expression)
        lookups, kinds = {}, dict[str, Kind]()
        for read in columns_of(node):
            if read != name and read in self.places:
                if read not in self._features:
                    return  # its own fault is told already
                kinds[read] = "text" if self._features[read].type == "categorical" else "number"
            elif read == MOMENT and read in self._own:
                self._fault(place, ambiguous(read, self._rows.source))
                return
            elif read in self._own:
                kinds[read] = KINDS[self._own[read].type]
                if self._own[read].pii:
                    self._fault(place, f"{read!r} is personal data; no feature may use it")
            elif read == MOMENT and not isinstance(self._rows, PerTable):
                kinds[read] = "timestamp"
            elif "." in read:
                source, _, column = read.partition(".")
                lookup = self._reader.looked_up(place, source, column, None)
                if lookup is None:
                    return
                faults = self._transformation_faults(lookup, None)
                for _, text in faults:
                    self._fault(place, text)
                if faults:
                    return
                lookups[read] = lookup
                kinds[read] = KINDS[self._dataset.sources[source].stored_columns()[column].type]
        names = {**{other: "number" for other in self.places if other != name}, **self._own}
        if unknown := [read for read in columns_of(node) if read not in kinds]:
            text = (
                f"{unknown[0]!r} is neither a feature nor a column of {self._rows.source}; there are {', '.join(names)}"
            )
            self._fault(place, text)
            return
        self._keep_expression(name, form, RowExpression(expression=form.expression, lookups=lookups), kinds)

    def _keep_expression(self, name: str, form: ExpressionForm, how: RowExpression, kinds: Mapping[str, Kind]) -> None:
        place, before = self.places[name], len(self._faults)
        try:
            value = kind_of(parsed(how.expression), kinds)
        except ValueError as error:
            self._fault(place, str(error))
            return
        if value not in ("text", "number", "boolean"):
            self._fault(place, f"the expression is a {value}; take a part of it, as in year({how.expression})")
        kind: FeatureType = "categorical" if value == "text" else "numeric"
        if form.type is not None and form.type != kind:
            self._fault(place, f"the expression is a {value}, and the feature {form.type}")
        columns = [read for read in self._row_columns(how) if read == name or read not in self.places]
        for column in columns:
            self._check_is_known(place, name, column)
        self._check_limits(place, form, how, kind)
        if len(self._faults) == before:
            self._features[name] = self._feature(how, form, kind)
