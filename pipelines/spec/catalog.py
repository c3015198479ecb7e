"""Reads all declarations of datasets, suites, views and models; refuses faulty files and what uses them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from pipelines.errors import Refused, unknown_name
from pipelines.spec.aggregate import Aggregate, aggregate_faults
from pipelines.spec.alerts import AlertsSpec, alert_faults
from pipelines.spec.column import NUMERIC
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.dataset_schema_1 import SCHEMA_1, schema_1_faults
from pipelines.spec.declaration_faults import declaration_faults
from pipelines.spec.deployment_faults import deployment_faults
from pipelines.spec.experiment import experiment_faults
from pipelines.spec.features import (
    CalendarPart,
    DirectColumn,
    Feature,
    FeatureView,
    LatestObservation,
    Lookup,
    RowExpression,
    WindowMean,
)
from pipelines.spec.model import ModelSpec
from pipelines.spec.plain_yaml import load, with_lines
from pipelines.spec.row_expression import KINDS, Kind, kind_of, parsed
from pipelines.spec.suite import DeclaredSuite
from pipelines.spec.yaml_fault import yaml_fault

Spec = TypeVar("Spec", bound=BaseModel)

FOLDERS = {"datasets": "datasets", "suites": "expectations", "views": "features", "models": "models"}
"""Folder of each kind of declaration, below ``include``."""
ALERTS_FILE = "alerts.yaml"


def read_declaration(path: Path, kind: type[Spec]) -> Spec:
    """Parse one YAML file. Raises ``Refused`` with every fault, its place and its line in the file.

    A check over several fields runs if each of these fields is valid.
    """
    text = ""
    try:
        text = path.read_text(encoding="utf-8")
        content: Any = load(text)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise Refused(f"{path.name} is not valid YAML; correct it and save again", [yaml_fault(error, text)]) from error
    except FileNotFoundError as error:
        raise Refused(f"{path} does not exist; create it or correct the name") from error
    if not isinstance(content, dict):
        schema = 2 if kind is DatasetSpec else 1
        raise Refused(f"{path.name} contains {type(content).__name__}, not fields; start it with `schema: {schema}`")
    if kind is DatasetSpec and content.get("schema") == SCHEMA_1:
        reasons = with_lines(text, schema_1_faults(content))
        raise Refused(f"{path.name} is written for schema 1; rewrite {len(reasons)} line(s) and save again", reasons)
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        reasons = with_lines(text, declaration_faults(kind, content, error))
        raise Refused(f"{path.name} has {len(reasons)} fault(s); correct them and save again", reasons) from error


@dataclass(frozen=True)
class Catalog:
    """The datasets, suites, views and models declared under one ``include`` folder, by name.

    ``refused`` maps each faulty file to its error; valid files are available all the same.
    """

    datasets: dict[str, DatasetSpec] = field(default_factory=dict)
    views: dict[str, FeatureView] = field(default_factory=dict)
    models: dict[str, ModelSpec] = field(default_factory=dict)
    refused: dict[str, Refused] = field(default_factory=dict)
    suites: dict[str, DeclaredSuite] = field(default_factory=dict)
    alerts: AlertsSpec = field(default_factory=AlertsSpec)

    @classmethod
    def read(cls, include: Path) -> Catalog:
        """Read all declarations; ``refused`` has the faulty ones and those that use them."""
        refused: dict[str, Refused] = {}
        datasets = _read_folder(include / FOLDERS["datasets"], DatasetSpec, "dataset", refused)
        suites = _read_folder(include / FOLDERS["suites"], DeclaredSuite, "suite", refused)
        views = _read_folder(include / FOLDERS["views"], FeatureView, "view", refused)
        models = _read_folder(include / FOLDERS["models"], ModelSpec, "model", refused)
        alerts = _read_alerts(include / ALERTS_FILE, refused)
        _check(
            datasets,
            include / FOLDERS["datasets"],
            refused,
            lambda dataset: [*dataset_faults(dataset, suites), *alert_faults(dataset.alerts, alerts, "dataset")],
        )
        _check(views, include / FOLDERS["views"], refused, lambda view: view_faults(view, datasets.get(view.dataset)))
        _check(
            models,
            include / FOLDERS["models"],
            refused,
            lambda model: [*_model_faults(model, views, datasets), *alert_faults(model.alerts, alerts, "model")],
        )
        return cls(datasets, views, models, refused, suites, alerts)

    def model(self, name: str) -> ModelSpec:
        return self._get("models", name)  # type: ignore[no-any-return]

    def view(self, name: str) -> FeatureView:
        return self._get("views", name)  # type: ignore[no-any-return]

    def dataset(self, name: str) -> DatasetSpec:
        return self._get("datasets", name)  # type: ignore[no-any-return]

    def view_of(self, model: str) -> FeatureView:
        return self.view(self.model(model).view)

    def dataset_of(self, model: str) -> DatasetSpec:
        return self.dataset(self.view_of(model).dataset)

    def views_of(self, dataset: str) -> list[FeatureView]:
        return [view for view in self.views.values() if view.dataset == dataset]

    def declared(self, kind: str) -> list[str]:
        """Names of all ``datasets``, ``suites``, ``views`` or ``models``, also of those whose files have faults."""
        faulty = [Path(file).stem for file in self.refused if file.startswith(f"{FOLDERS[kind]}/")]
        return sorted({*getattr(self, kind), *faulty})

    def _get(self, kind: str, name: str) -> Any:
        specs: dict[str, Any] = getattr(self, kind)
        if name in specs:
            return specs[name]
        if refusal := self.refused.get(f"{FOLDERS[kind]}/{name}.yaml"):
            raise refusal
        raise unknown_name(f"there is no {kind.rstrip('s')} {name}", self.declared(kind))


def _model_faults(model: ModelSpec, views: dict[str, FeatureView], datasets: dict[str, DatasetSpec]) -> list[str]:
    view = views.get(model.view)
    faults = model_faults(model, view) + deployment_faults(model.deployment)
    if view is None:
        return faults
    dataset = datasets[view.dataset]
    if model.deployment.ab is not None:
        own = dataset.sources[view.entity_source].stored_columns()
        outcomes = {name: column.type for name, column in own.items()}
        ab_faults = experiment_faults(model.deployment.ab, model.problem, outcomes)
        faults += [f"deployment.ab.{fault}" for fault in ab_faults]
    return faults + target_faults(model, view, dataset)


def _read_alerts(path: Path, refused: dict[str, Refused]) -> AlertsSpec:
    """The installation's channels; its defaults where there is no file, or a faulty one."""
    if not path.exists():
        return AlertsSpec()
    try:
        return read_declaration(path, AlertsSpec)
    except Refused as error:
        refused[path.name] = error
        return AlertsSpec()


def _read_folder(folder: Path, kind: type[Spec], name_field: str, refused: dict[str, Refused]) -> dict[str, Spec]:
    specs: dict[str, Spec] = {}
    for path in sorted(folder.glob("*.yaml")):
        try:
            spec = read_declaration(path, kind)
            name = getattr(spec, name_field)
            if name != path.stem:
                raise Refused(f"{path.name} declares {name_field} {name!r}; give file and {name_field} one name")
            specs[name] = spec
        except Refused as error:
            refused[f"{folder.name}/{path.name}"] = error
    return specs


def _check(
    specs: dict[str, Any], folder: Path, refused: dict[str, Refused], faults: Callable[[Any], list[str]]
) -> None:
    for name, texts in {name: faults(spec) for name, spec in specs.items()}.items():
        if texts:
            file = folder / f"{name}.yaml"
            reasons = with_lines(file.read_text(encoding="utf-8"), texts)
            refused[f"{folder.name}/{file.name}"] = Refused(
                f"{file.name} has {len(texts)} fault(s); correct them", reasons
            )
            del specs[name]


def dataset_faults(dataset: DatasetSpec, suites: Mapping[str, DeclaredSuite]) -> list[str]:
    """Suites that are missing or judge columns of no source."""
    faults = []
    for name, source in dataset.sources.items():
        if source.suite is None:
            continue
        if source.suite not in suites:
            faults.append(
                f"sources.{name}.suite: {source.suite!r} is not declared, or was refused; "
                f"write include/expectations/{source.suite}.yaml, or remove the field"
            )
            continue
        columns = source.stored_columns()
        faults += [
            f"sources.{name}.suite: expectation {number} of {source.suite} judges {column!r}, which is no column of "
            f"{name}; it has {', '.join(columns)}"
            for number, expectation in enumerate(suites[source.suite].expectations, start=1)
            for column in expectation.columns
            if column not in columns
        ]
    return faults


def view_faults(view: FeatureView, dataset: DatasetSpec | None) -> list[str]:
    """Names that the dataset does not have, columns of a wrong type, personal data, and lookups not by the key."""
    if dataset is None:
        return [f"dataset: {view.dataset!r} is not declared, or was refused"]
    if view.entity_source not in dataset.sources:
        return [f"entity_source: {view.entity_source!r} is not a source of {dataset.dataset}"]
    own = dataset.sources[view.entity_source].stored_columns()
    named: list[tuple[str, str, Sequence[str] | None]] = [("key", column, None) for column in view.key]
    named += [("event_hour_column", view.event_hour_column, ("timestamp",))]
    named += [("event_minute_column", view.event_minute_column, NUMERIC), ("delay_column", view.delay_column, NUMERIC)]
    named += [("label.column", view.label.column, NUMERIC)]
    named += [("label.known_after_columns", column, NUMERIC) for column in view.label.known_after_columns]
    named += [("outcome_columns", column, None) for column in view.outcome_columns]
    faults = [
        f"{where}: {column!r} is not a column of {view.entity_source}"
        for where, column, _ in named
        if column not in own
    ]
    faults += [
        f"{where}: {column!r} of {view.entity_source} is {own[column].type}; it must be {' or '.join(types)}"
        for where, column, types in named
        if types is not None and column in own and own[column].type not in types
    ]
    faults += [
        f"key: {column!r} of {view.entity_source} is personal data, and the key is in every id, log and report; "
        "have the source deliver a pseudonym, or choose another key"
        for column in view.key
        if column in own and own[column].pii
    ]
    if dataset.sources[view.entity_source].cadence == "reference":
        faults.append(f"entity_source: {view.entity_source!r} is a reference source; entities need a daily source")
    if (every := dataset.partition_calendar.every) != "day":
        faults.append(
            f"dataset: the partitions of {dataset.dataset} are not days but {every}, and views are built by day"
        )
    for name, feature in view.features.items():
        faults += _feature_faults(f"features.{name}", feature, view, dataset)
    return list(dict.fromkeys(faults))


def _feature_faults(place: str, feature: Feature, view: FeatureView, dataset: DatasetSpec) -> list[str]:
    how, own = feature.transformation, dataset.sources[view.entity_source].stored_columns()
    always = [f"{place}: {fault}" for fault in _unknown_at_prediction(feature, view, dataset)]
    always += _source_column_faults(place, feature, dataset)
    if isinstance(how, Aggregate):
        faults = aggregate_faults(how, feature.type, view.entity_source, dataset)
        return [f"{place}.transformation.{fault}" for fault in faults] + always
    if isinstance(how, RowExpression):
        return _expression_faults(place, feature, how, view, dataset) + always
    source = how.source if isinstance(how, Lookup | LatestObservation) else view.entity_source
    if source not in dataset.sources:
        return [f"{place}: {source!r} is not a source of {dataset.dataset}"]
    columns = [getattr(how, "column", None), getattr(how, "time_column", None)]
    groups = [*getattr(how, "by", []), *getattr(how, "on", [])]
    theirs = dataset.sources[source].stored_columns()
    missing = [(source, column) for column in [*columns, *groups] if column and column not in theirs]
    missing += [(view.entity_source, column) for column in groups if column not in own]
    faults = [f"{place}: {column!r} is not in {table}" for table, column in dict.fromkeys(missing)]
    faults += [
        f"{place}: {column!r} of {source} is personal data; no feature may use it"
        for column in columns
        if column in theirs and theirs[column].pii
    ]
    faults += [
        f"{place}: {column!r} of {source} is {theirs[column].type}; it must be {' or '.join(types)}"
        for column, types in _types_needed(feature)
        if column in theirs and theirs[column].type not in types
    ]
    if isinstance(how, Lookup) and set(how.on) != set(dataset.sources[source].key):
        faults.append(f"{place}: on {how.on} is not the key {dataset.sources[source].key} of {source}")
    return faults + always


def _source_column_faults(place: str, feature: Feature, dataset: DatasetSpec) -> list[str]:
    named = [(column, *column.partition(".")[::2]) for column in feature.source_columns]
    return [
        f"{place}.source_columns: {column!r} is not <source>.<column> of a declared source"
        for column, table, bare in named
        if table not in dataset.sources or bare not in dataset.sources[table].columns
    ]


def _expression_faults(
    place: str, feature: Feature, how: RowExpression, view: FeatureView, dataset: DatasetSpec
) -> list[str]:
    """Names that are neither a feature nor a column, personal data, and values of the wrong kind."""
    own = dataset.sources[view.entity_source].stored_columns()
    kinds: dict[str, Kind] = {name: KINDS[column.type] for name, column in own.items() if column.type in KINDS}
    for name, other in view.features.items():
        if other is not feature:
            kinds[name] = "text" if other.type == "categorical" else "number"
    columns = [
        name for name in how.names() if name in own and (name not in view.features or view.features[name] is feature)
    ]
    faults = [f"{name!r} is personal data; no feature may use it" for name in columns if own[name].pii]
    try:
        kind = kind_of(parsed(how.expression), kinds)
        needed = ("text",) if feature.type == "categorical" else ("number", "boolean")
        if kind not in needed:
            faults.append(f"the expression is a {kind}, and the feature {feature.type}")
    except ValueError as error:
        faults.append(str(error))
    return [f"{place}.transformation.expression: {fault}" for fault in faults]


def _unknown_at_prediction(feature: Feature, view: FeatureView, dataset: DatasetSpec) -> list[str]:
    """Columns of the entity's own row that the dataset declares as known later than the view predicts.

    The column of delays is read by windows alone, which take it from other rows, once it is known.
    """
    how, source = feature.transformation, dataset.sources[view.entity_source]
    read = [*getattr(how, "by", []), *getattr(how, "on", [])]
    if isinstance(how, DirectColumn):
        read.append(how.column)
    if isinstance(how, RowExpression):
        own = source.stored_columns()
        read += [name for name in how.names() if name in own and view.features.get(name) in (None, feature)]
    known = {column: source.known_time(column) for column in read}
    moment = timedelta(hours=-view.lead_hours)
    return [
        f"{column!r} of {view.entity_source} is known {time}, and the view predicts {view.lead_hours:g} h "
        "before the event; leave it out, or correct known_columns"
        for column, time in known.items()
        if time is not None and time.anchor == "event" and (time.minutes or time.offset > moment)
    ]


def _types_needed(feature: Feature) -> list[tuple[str, tuple[str, ...]]]:
    """Columns of a feature's source with the types that the feature can be computed from."""
    how = feature.transformation
    needed: list[tuple[str, tuple[str, ...]]] = []
    if isinstance(how, LatestObservation):
        needed.append((how.time_column, ("timestamp",)))
    computed = isinstance(how, WindowMean) or (isinstance(how, Lookup) and how.as_ == "age_years")
    if isinstance(how, CalendarPart | Aggregate | RowExpression):
        return needed
    if computed or feature.type == "numeric":
        needed.append((how.column, NUMERIC))
    return needed


def model_faults(model: ModelSpec, view: FeatureView | None) -> list[str]:
    """Feature and key names in the model that its view does not have."""
    if view is None:
        return [f"view: {model.view!r} is not declared, or was refused"]
    named = {
        "training.features": model.training.features or [],
        "evaluation.slices.columns": model.evaluation.slices.columns if model.evaluation.slices else [],
        "monitoring.drift.exclude": model.monitoring.drift.exclude,
    }
    faults = [
        f"{where}: unknown feature {name!r}; {view.view} has {', '.join(sorted(view.features))}"
        for where, names in named.items()
        for name in names
        if name not in view.features
    ]
    units, unit = ["day", *view.key, *sorted(view.features)], model.evaluation.comparison.unit
    if unit not in units:
        faults.append(f"evaluation.comparison.unit: unknown {unit!r}; {view.view} has {', '.join(units)}")
    return faults


def target_faults(model: ModelSpec, view: FeatureView, dataset: DatasetSpec) -> list[str]:
    """A fault if the target is not a numeric column of the view's entities."""
    column = dataset.sources[view.entity_source].stored_columns().get(model.target.column)
    if column is None:
        return [f"target.column: {model.target.column!r} is not a column of {view.entity_source}"]
    if column.type not in ("integer", "number"):
        return [f"target.column: {model.target.column!r} is {column.type}; a target must be a number"]
    return []
