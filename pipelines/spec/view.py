"""What a person declares of a view; with its dataset it says every row, label and feature, or all that is wrong."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipelines.spec.dataset import NO_OWNER, DatasetSpec
from pipelines.spec.declared import DeclarationBlock, Identifier
from pipelines.spec.examples import example_of
from pipelines.spec.fault_text import FieldFaults
from pipelines.spec.feature_faults import PREDICTION_TIME, TAKEN_BY_MOMENT, name_faults
from pipelines.spec.feature_forms import DeclaredFeature, Names
from pipelines.spec.feature_meaning import FeatureMeanings
from pipelines.spec.features import FeatureView
from pipelines.spec.former_digests import former_digests
from pipelines.spec.known_time import is_known_by, written_moment
from pipelines.spec.label import DeclaredLabel
from pipelines.spec.panel import PERIOD, Panel, PerPeriod
from pipelines.spec.partitions import PartitionCalendar
from pipelines.spec.row_expression import KINDS, columns_of, kind_of, parsed
from pipelines.spec.source import ROW_NAME, SourceSpec
from pipelines.spec.view_rows import ROW_FORMS, PerTable, Rows

LABEL_KINDS = ("boolean", "number")


class ViewDeclaration(DeclarationBlock):
    """``include/features/<view>.yaml``: one row per entity and moment, its label, and what was known of it by then."""

    schema_: Literal[2] = Field(alias="schema")
    view: Identifier
    description: str = ""
    owner: str = Field(default=NO_OWNER, min_length=1)
    dataset: Identifier | None = None
    """None: the only dataset that has the source of the rows."""
    entity: Annotated[Names, Field(min_length=1)] | None = None
    """The columns that name what a row is about; they are in every id. None, of a table: its key, or where its rows may
    repeat the name that each row was given."""
    rows: Rows
    label: DeclaredLabel | None = None
    features: dict[str, DeclaredFeature] = Field(min_length=1)
    """A name, a list of names as in ``carrier, origin``, or a name with ``{aggregate}`` and ``{window}`` in it, to what
    it is. ``"*": own``: all columns but the entity's, the label's, personal data, and what is not known yet."""

    @model_validator(mode="after")
    def check_entity_is_named(self) -> Self:
        if self.entity is None and not isinstance(self.rows, PerTable):
            example = example_of(type(self), "entity")
            raise FieldFaults([("entity", f"is required{example}")])
        return self

    @property
    def place(self) -> str:
        """The field of ``rows`` that names their source."""
        return next(name for name, form in ROW_FORMS.items() if isinstance(self.rows, form))

    def entity_of(self, source: SourceSpec) -> list[str]:
        """The columns that name the entity of a row."""
        return self.entity or source.stored_key or [ROW_NAME]

    def questions(self, view: FeatureView) -> list[tuple[str, str]]:
        """What is not declared and people will ask for: the field, and what to write."""
        questions = [] if self.description else [("description", "say in a sentence what a row is, and as of when")]
        if "owner" not in self.model_fields_set:
            questions.append(("owner", "name who answers for the features"))
        without = [name for name, feature in view.features.items() if not feature.description]
        if without:
            names = ", ".join(without)
            questions.append(("features", f"say what {names} mean: `description` here, or of the dataset's column"))
        return questions


def resolved(
    declared: ViewDeclaration, dataset: DatasetSpec, functions: Path | None = None
) -> tuple[FeatureView | None, list[str]]:
    """The view with the type and meaning of each feature, or every fault as ``place: what to do``.

    ``functions``: the folder of Python functions.
    """
    name = declared.rows.source
    place = f"rows.{declared.place}"
    if name not in dataset.sources:
        sources = ", ".join(dataset.sources)
        return None, [f"{place}: {name!r} is not a source of {dataset.dataset}; it has {sources}"]
    source = dataset.sources[name]
    if source.cadence == "reference":
        return None, [f"{place}: {name!r} is a reference source, of copies; rows are events of another source"]
    is_table, every = isinstance(declared.rows, PerTable), dataset.partition_calendar.every
    if is_table != (every == "once"):
        way_on = "write {per: …}, or {each: …}" if is_table else f"write {{table: {name}}}"
        dates = "no dates" if every == "once" else f"a partition every {every}"
        return None, [f"{place}: {dataset.dataset} has {dates}; {way_on}"]
    if source.row_time is None and not is_table:
        return None, [f"{place}: {name!r} has no event time; declare event_time in the dataset"]
    own, entity = source.stored_columns(), declared.entity_of(source)
    faults = _entity_faults(declared, dataset) + _label_faults(declared, dataset)
    if isinstance(declared.rows, PerPeriod):
        faults += [f"rows.{fault}" for fault in declared.rows.moment_faults(dataset.partition.due)]
    if every not in ("day", "once"):
        faults.append(f"rows: the partitions of {dataset.dataset} are not days but {every}, and views are built by day")
    meanings = FeatureMeanings(declared.rows, entity, declared.label, dataset, functions)
    for place, form in declared.features.items():
        meanings.add(place, form)
    features, more = meanings.finish()
    faults += more + name_faults(entity, declared.label, meanings.places, features)
    if faults:
        return None, list(dict.fromkeys(faults))
    is_panel = isinstance(declared.rows, PerPeriod)
    view = FeatureView(
        view=declared.view,
        description=declared.description,
        owner=declared.owner,
        dataset=dataset.dataset,
        entity_source=name,
        key=[*entity, PERIOD] if is_panel else entity,
        key_times=[column for column in entity if column in own and own[column].type == "timestamp"],
        event_time=None if is_table else source.stored_time,
        lead=declared.rows.lead,
        due=timedelta() if is_table else dataset.partition.due,
        is_table=is_table,
        warm_up=declared.rows.warm_up,
        allow_missing=declared.rows.allow_missing,
        label=declared.label,
        features=features,
    )
    panel = _panel(declared, view, dataset)
    former = {} if is_panel or is_table else former_digests(view, dataset)
    return view.model_copy(update={"former_digests": former, "panel": panel}), []


def _panel(declared: ViewDeclaration, view: FeatureView, dataset: DatasetSpec) -> Panel | None:
    rows, partition = declared.rows, dataset.partition
    if not isinstance(rows, PerPeriod):
        return None
    read = {(rows.source, column) for column in view.entity}
    read |= {(how.of, column) for how in view.events_read().values() for column in how.columns_read()}
    looked_up = [lookup for feature in view.features.values() for lookup in feature.lookups()]
    read |= {(lookup.source, lookup.column) for lookup in looked_up}
    waits = all(dataset.known_time(source, column).anchor == "partition_end" for source, column in read)
    return Panel(
        calendar=PartitionCalendar(rows.every, partition.first_date, partition.end, partition.timezone),
        at=partition.due if rows.at is None else rows.at,
        active_within=rows.active_within,
        due=partition.due,
        reads_own_day=not waits,
    )


def _entity_faults(declared: ViewDeclaration, dataset: DatasetSpec) -> list[str]:
    name = declared.rows.source
    source = dataset.sources[name]
    own = source.stored_columns()
    if declared.entity is None:
        return []
    faults = [f"entity: {column!r} is not a column of {name}" for column in declared.entity if column not in own]
    faults += [
        f"entity: {column!r} of {name} is personal data, and the entity is in every id, log and report; "
        "have the source deliver a pseudonym, or choose another column"
        for column in declared.entity
        if column in own and own[column].pii
    ]
    if isinstance(declared.rows, PerPeriod):
        if [source.stored_name(column) for column in declared.rows.columns] != declared.entity:
            each = ", ".join(declared.rows.each)
            faults.append(f"entity: {', '.join(declared.entity)} and {each} of rows.each differ; name the same columns")
        return faults
    keys = source.stored_key
    if missing := [column for column in keys if column not in declared.entity]:
        faults.append(f"entity: rows of {name} are told apart by {', '.join(keys)}; add {', '.join(missing)}")
    if not keys and isinstance(declared.rows, PerTable):
        faults.append(f"entity: rows of {name} may repeat (key: row), so no column names one; remove it")
    elif not keys:
        faults.append(f"entity: rows of {name} may repeat (key: row), so no row is one entity's; declare its key")
    return faults


def _label_faults(declared: ViewDeclaration, dataset: DatasetSpec) -> list[str]:
    """Names that are no columns, values that are no label, and labels that are known when they are predicted."""
    if declared.label is None:
        return []
    if isinstance(declared.rows, PerPeriod) or declared.label.within:
        faults = _window_faults(declared, dataset)
        return [f"label.{declared.label.name}: {fault}" for fault in faults]
    faults = value_faults(declared.label.expression, declared.rows.source, dataset, subject="a label")
    if PREDICTION_TIME in declared.label.columns:
        faults.append(f"it reads {PREDICTION_TIME!r}, {TAKEN_BY_MOMENT}")
    if not isinstance(declared.rows, PerTable):
        faults = faults or early_faults(declared.label.expression, declared.rows.source, declared.rows.lead, dataset)
    return [f"label.{declared.label.name}: {fault}" for fault in faults]


def _window_faults(declared: ViewDeclaration, dataset: DatasetSpec) -> list[str]:
    """Why a label over the time after ``t`` cannot be computed."""
    label = declared.label
    assert label is not None
    if isinstance(declared.rows, PerTable):
        return ["within is of the time after t, and a row of a table has no moment; write a condition of the row"]
    if label.within is None:
        return ["a row of a period has no outcome of its own; write within: the time after t of which it tells"]
    names = [source for source in label.window.sources if source in dataset.sources]
    if declared.rows.source in names and declared.rows.lead:
        return [f"the row's own event would count among {declared.rows.source}; count those of another source"]
    entity = label.on or declared.entity or []
    if others := [name for name in entity if name not in (declared.entity or [])]:
        return [f"on: {', '.join(others)} is no column of the entity; it has {', '.join(declared.entity or [])}"]
    kind, faults = label.window.kind(entity, label.where, dataset)
    if not faults and kind not in LABEL_KINDS:
        faults = [f"{label.expression!r} is a {kind}, and a label is a condition or a number"]
    own = dataset.sources[declared.rows.source].stored_columns()
    missing = [
        f"{source} has no column {column!r}, which names the entity"
        for source in names
        for column in entity
        if column not in dataset.sources[source].stored_columns()
    ]
    different = [
        f"{column!r} is {theirs[column].type} in {source} and {own[column].type} in {declared.rows.source}; they never "
        "match"
        for source in names
        for theirs in [dataset.sources[source].stored_columns()]
        for column in entity
        if column in theirs and column in own and theirs[column].type != own[column].type
    ]
    return list(dict.fromkeys([*missing, *different, *([] if missing else faults)]))


def value_faults(expression: str, name: str, dataset: DatasetSpec, *, subject: str) -> list[str]:
    """Why an expression over the columns of a source is no condition or number that can be learnt."""
    own = dataset.sources[name].stored_columns()
    try:
        kind = kind_of(parsed(expression), {name: KINDS[column.type] for name, column in own.items()})
    except ValueError as error:
        return [f"{error}"]
    if kind not in LABEL_KINDS:
        example = f"{expression} = 'yes'" if kind == "text" else f"{expression} is not null"
        return [f"{expression!r} is a {kind}, and {subject} is a condition or a number; write one, as in {example!r}"]
    return []


def early_faults(expression: str, source: str, lead: timedelta, dataset: DatasetSpec) -> list[str]:
    """A fault if all that the expression reads is known by ``t``: then nothing is left to predict."""
    known = {column: dataset.known_time(source, column) for column in columns_of(parsed(expression))}
    if any(not is_known_by(time, lead) for time in known.values()):
        return []
    names = ", ".join(f"{column} is known {time}" for column, time in known.items()) or "it is a constant"
    return [f"{names}, and {written_moment(lead)}: say in known_columns of {source} when it is known"]
