"""Reads all declarations of datasets, suites, views and models; refuses faulty files and what uses them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from pipelines.errors import Refused, unknown_name
from pipelines.spec.alerts import AlertsSpec, alert_faults
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.dataset_schema_1 import SCHEMA_1, schema_1_faults
from pipelines.spec.declaration_faults import declaration_faults
from pipelines.spec.deployment_faults import deployment_faults
from pipelines.spec.experiment import experiment_faults
from pipelines.spec.features import FeatureView
from pipelines.spec.model import ModelSpec
from pipelines.spec.model_declaration import ModelDeclaration, resolved_model
from pipelines.spec.model_schema_1 import model_schema_1_faults
from pipelines.spec.plain_yaml import load, with_lines
from pipelines.spec.python_function import FOLDER as FUNCTIONS
from pipelines.spec.suite import DeclaredSuite
from pipelines.spec.view import ViewDeclaration, resolved
from pipelines.spec.view_schema_1 import view_schema_1_faults
from pipelines.spec.yaml_fault import yaml_fault

Spec = TypeVar("Spec", bound=BaseModel)

FOLDERS = {"datasets": "datasets", "suites": "expectations", "views": "features", "models": "models"}
"""Folder of each kind of declaration, below ``include``."""
ALERTS_FILE = "alerts.yaml"
SCHEMA_1_FAULTS: Mapping[type[BaseModel], Callable[[Mapping[str, Any]], list[str]]] = {
    DatasetSpec: schema_1_faults,
    ViewDeclaration: view_schema_1_faults,
    ModelDeclaration: model_schema_1_faults,
}
"""What says of a file of ``schema: 1`` line by line what to write."""


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
        schema = 2 if kind in SCHEMA_1_FAULTS else 1
        raise Refused(f"{path.name} contains {type(content).__name__}, not fields; start it with `schema: {schema}`")
    if kind in SCHEMA_1_FAULTS and content.get("schema") == SCHEMA_1:
        reasons = with_lines(text, SCHEMA_1_FAULTS[kind](content))
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
    questions: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """File to what is not declared in it and people will ask for: the field, and what to write."""

    @classmethod
    def read(cls, include: Path) -> Catalog:
        """Read all declarations; ``refused`` has the faulty ones and those that use them."""
        refused: dict[str, Refused] = {}
        questions: dict[str, list[tuple[str, str]]] = {}
        datasets = _read_folder(include / FOLDERS["datasets"], DatasetSpec, "dataset", refused)
        suites = _read_folder(include / FOLDERS["suites"], DeclaredSuite, "suite", refused)
        declared_views = _read_folder(include / FOLDERS["views"], ViewDeclaration, "view", refused)
        declared_models = _read_folder(include / FOLDERS["models"], ModelDeclaration, "model", refused)
        alerts = _read_alerts(include / ALERTS_FILE, refused)
        for name, dataset in list(datasets.items()):
            file = f"{FOLDERS['datasets']}/{name}.yaml"
            questions[file] = dataset.questions()
            faults = [*dataset_faults(dataset, suites), *alert_faults(dataset.alerts, alerts, "dataset")]
            if _refuse(include / file, faults, refused):
                del datasets[name]
        views: dict[str, FeatureView] = {}
        for name, declared_view in declared_views.items():
            file = f"{FOLDERS['views']}/{name}.yaml"
            view, faults = _resolved_view(declared_view, datasets, include / FUNCTIONS)
            if not _refuse(include / file, faults, refused) and view is not None:
                views[name], questions[file] = view, declared_view.questions(view)
        models: dict[str, ModelSpec] = {}
        for name, declared_model in declared_models.items():
            file = f"{FOLDERS['models']}/{name}.yaml"
            model, faults = _resolved_model(declared_model, views, datasets)
            faults += alert_faults(declared_model.alerts, alerts, "model")
            if not _refuse(include / file, faults, refused) and model is not None:
                models[name], questions[file] = model, declared_model.questions()
        return cls(datasets, views, models, refused, suites, alerts, questions)

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

    def of_tables(self) -> dict[str, ModelSpec]:
        """The models of tables without dates."""
        return {name: spec for name, spec in self.models.items() if self.views[spec.view].is_table}

    def of_days(self) -> dict[str, ModelSpec]:
        """The other models, whose rows are of days or periods."""
        return {name: spec for name, spec in self.models.items() if not self.views[spec.view].is_table}

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


def _resolved_view(
    declared: ViewDeclaration, datasets: Mapping[str, DatasetSpec], functions: Path
) -> tuple[FeatureView | None, list[str]]:
    """Of a view that names no dataset it is the only one that has the source of its rows."""
    source, place = declared.rows.source, f"rows.{declared.place}"
    named = [declared.dataset] if declared.dataset else [name for name in datasets if source in datasets[name].sources]
    if len(named) > 1:
        return None, [f"{place}: {' and '.join(named)} have a source {source!r}; declare the view's dataset"]
    if not named:
        return None, [f"{place}: no dataset has a source {source!r}, or it was refused"]
    if named[0] not in datasets:
        return None, [f"dataset: {named[0]!r} is not declared, or was refused"]
    return resolved(declared, datasets[named[0]], functions)


def _resolved_model(
    declared: ModelDeclaration, views: Mapping[str, FeatureView], datasets: Mapping[str, DatasetSpec]
) -> tuple[ModelSpec | None, list[str]]:
    view = views.get(declared.view)
    if view is None:
        faults = [f"view: {declared.view!r} is not declared, or was refused"]
        return None, faults + deployment_faults(declared.deployment)
    dataset = datasets[view.dataset]
    model, faults = resolved_model(declared, view, dataset)
    faults = [*model_faults(declared, view), *deployment_faults(declared.deployment), *faults]
    if declared.deployment.ab is not None and model is not None:
        own = dataset.sources[view.entity_source].stored_columns()
        outcomes = {name: column.type for name, column in own.items()} if view.panel is None else {}
        ab_faults = experiment_faults(declared.deployment.ab, model.problem, outcomes)
        faults += [f"deployment.ab.{fault}" for fault in ab_faults]
    return model, faults


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


def _refuse(path: Path, faults: list[str], refused: dict[str, Refused]) -> bool:
    """Whether there are any faults; the file is refused then, with the line of each."""
    if faults:
        reasons = with_lines(path.read_text(encoding="utf-8"), faults)
        text = f"{path.name} has {len(faults)} fault(s); correct them"
        refused[f"{path.parent.name}/{path.name}"] = Refused(text, reasons)
    return bool(faults)


def dataset_faults(dataset: DatasetSpec, suites: Mapping[str, DeclaredSuite]) -> list[str]:
    """Suites that are missing, judge columns of no source, or compare them with values of another type."""
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
        faults += [
            f"sources.{name}.suite: expectation {number} of {source.suite}: {fault}"
            for number, expectation in enumerate(suites[source.suite].expectations, start=1)
            if (column := expectation.kwargs.get("column")) in columns
            for fault in expectation.type_faults(columns[column])
        ]
    return faults


def model_faults(model: ModelDeclaration, view: FeatureView) -> list[str]:
    """Feature and key names in the model that its view does not have."""
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
    if (group := model.training.split.group) is not None and group not in view.key:
        faults.append(f"training.split.group: {group!r} is no column of the entity; it has {', '.join(view.key)}")
    comparison = model.evaluation.comparison
    units, unit = ["day", "entity_id", *view.key, *sorted(view.features)], comparison.unit if comparison else "day"
    if unit not in units:
        faults.append(f"evaluation.comparison.unit: unknown {unit!r}; {view.view} has {', '.join(units)}")
    return faults
