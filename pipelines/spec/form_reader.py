"""Reads what each declared form of a feature stands for: one transformation for each name of a list or a template."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from pipelines.spec.aggregate import Aggregate
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.fault_text import faults as validation_faults
from pipelines.spec.feature_forms import (
    AggregateForm,
    CalendarForm,
    ExpressionForm,
    FeatureForm,
    LatestForm,
    LookupForm,
    OwnForm,
    PythonForm,
)
from pipelines.spec.features import EVENT, MOMENT, CalendarPart, DirectColumn, LatestObservation, Lookup, Transformation
from pipelines.spec.panel import PerPeriod
from pipelines.spec.python_function import PythonFunction, read_source
from pipelines.spec.view_rows import PerEvent, PerTable

Fault = Callable[[str, str, str], None]
"""Takes the place of a feature, what is wrong, and the field of it; an empty field: the feature as a whole."""


class FormReader:
    """Reads the forms of one view."""

    def __init__(
        self,
        rows: PerEvent | PerPeriod | PerTable,
        entity: Sequence[str],
        dataset: DatasetSpec,
        fault: Fault,
        functions: Path | None,
    ) -> None:
        self._source, self._entity, self._dataset, self._fault = rows.source, list(entity), dataset, fault
        self._own = dataset.sources[rows.source].stored_columns()
        self._functions = functions
        self._are_events = isinstance(rows, PerEvent)

    def read(self, place: str, form: FeatureForm) -> list[tuple[str, Transformation | ExpressionForm]]:
        """Each name with what it stands for; ``place``: the name, names or template under which it is declared."""
        names = [name.strip() for name in place.split(",")]
        if isinstance(form, OwnForm):
            return [(name, DirectColumn(column=name if form.own is True else form.own)) for name in names]
        if isinstance(form, CalendarForm):
            if len(names) != len(form.calendar):
                self._fault(
                    place, f"{len(names)} name(s) and {len(form.calendar)} part(s); give one for one", "calendar"
                )
            of = form.of or (EVENT if self._are_events else MOMENT)
            return [(name, CalendarPart(part=part, of=of)) for name, part in zip(names, form.calendar, strict=False)]
        if isinstance(form, LookupForm):
            return [(name, how) for name in names if (how := self._lookup(place, name, names, form)) is not None]
        if isinstance(form, LatestForm):
            source, _, column = form.latest.partition(".")
            self._check_one_column(place, "latest", column, names)
            return [
                (name, LatestObservation(source=source, by=form.by, column=column or name, max_age=form.max_age))
                for name in names
            ]
        if isinstance(form, AggregateForm):
            return list(self._aggregates(place, names, form))
        if isinstance(form, PythonForm):
            function = self._function(place, names, form)
            return [] if function is None else [(names[0], function)]
        assert isinstance(form, ExpressionForm)
        if len(names) > 1:
            self._fault(place, "several names have one expression; name one", "")
        return [(names[0], form)]

    def _function(self, place: str, names: list[str], form: PythonForm) -> PythonFunction | None:
        """None, with a fault, where the function or its source is not there."""
        source = form.of or self._source
        if len(names) > 1:
            self._fault(place, "several names have one function; name one", "python")
        if source not in self._dataset.sources:
            self._fault(place, f"{source!r} is not a source of {self._dataset.dataset}", "of")
            return None
        if form.by is None and source == self._source and self._are_events:
            self._fault(place, "is missing: what an event shares with the row; `[]` takes all events", "by")
        try:
            text = read_source(form.python, self._functions)
        except ValueError as error:
            self._fault(place, f"{error}", "python")
            return None
        theirs = self._dataset.sources[source].stored_columns()
        columns = form.columns or [name for name, column in theirs.items() if not column.pii]
        by = self._entity if form.by is None else form.by
        return PythonFunction(function=form.python, source=text, of=source, columns=columns, by=by, window=form.window)

    def _check_one_column(self, place: str, field: str, column: str, names: list[str]) -> None:
        if column and len(names) > 1:
            self._fault(place, f"{len(names)} names take one column {column!r}; name the source alone", field)

    def _lookup(self, place: str, name: str, names: list[str], form: LookupForm) -> Lookup | None:
        source, _, column = form.lookup.partition(".")
        self._check_one_column(place, "lookup", column, names)
        return self.looked_up(place, source, column or name, form.on)

    def looked_up(self, place: str, source: str, column: str, on: list[str] | None) -> Lookup | None:
        """Null, with a fault, where the source or the key is not there."""
        if source not in self._dataset.sources:
            self._fault(place, f"{source!r} is not a source of {self._dataset.dataset}", "lookup")
            return None
        theirs = self._dataset.sources[source]
        keys = theirs.stored_key
        if theirs.cadence != "reference" or not keys:
            self._fault(place, f"{source!r} is not a reference source with a key; aggregate its events", "lookup")
            return None
        names = keys if on is None or set(on) == set(keys) else on
        if len(names) != len(keys):
            self._fault(place, f"{on} is not the key {keys} of {source}; give one column for each", "on")
            return None
        values: list[str | Lookup] = []
        for name in names:
            parent, dot, field = name.partition(".")
            if dot and name not in self._own:
                looked_up = self.looked_up(place, parent, field, None)
                if looked_up is None:
                    return None
                values.append(looked_up)
            else:
                values.append(name)
        return Lookup(source=source, on=values, column=column)

    def _aggregates(self, place: str, names: list[str], form: AggregateForm) -> list[tuple[str, Transformation]]:
        source = form.of or self._source
        by = form.by
        if by is None:
            by = self._entity
            if source == self._source and self._are_events:
                self._fault(place, "is missing: what an event shares with the row; `[]` counts all events", "by")
        results = form.results()
        listed: list[tuple[str, Transformation]] = []
        if len(names) > 1 and not any("{" in name for name in names):
            if len(names) != len(results):
                self._fault(place, f"{len(names)} names for {len(results)} result(s); give one for one", "aggregate")
            pairs = list(zip(names, results, strict=False))
        else:
            pairs = [(name, result) for name in names for result in results]
        for template, (words, fields) in pairs:
            try:
                how = Aggregate(
                    of=source, by=by, where=form.where, clock=form.clock, max_delay=form.max_delay, **fields
                )
                name = template.format_map(words)
            except ValidationError as error:
                for _, text in validation_faults(error):
                    self._fault(place, text, "")
                continue
            except (KeyError, ValueError, IndexError):
                self._fault(place, "a name may have {aggregate} and {window} in it, where there is a window", "")
                continue
            listed.append((name, how))
        if len({name for name, _ in listed}) < len(listed):
            text = "several results have one name; put {aggregate}, {window} or both into it"
            self._fault(place, text, "")
            listed = [*dict(listed).items()]
        return listed
