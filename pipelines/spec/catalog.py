"""Reads all declarations of datasets, views and models; refuses faulty files and the declarations that use them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from pipelines.errors import Refused, unknown_name
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.deployment_faults import deployment_faults
from pipelines.spec.experiment import experiment_faults
from pipelines.spec.features import FeatureView, LatestObservation, Lookup
from pipelines.spec.model import ModelSpec
from pipelines.spec.plain_yaml import load, with_lines

Spec = TypeVar("Spec", bound=BaseModel)

FOLDERS = {"datasets": "datasets", "views": "features", "models": "models"}
"""Folder of each kind of declaration, below ``include``."""


def read_declaration(path: Path, kind: type[Spec]) -> Spec:
    """Parse one YAML file. Raises ``Refused`` with every fault, its place and its line in the file.

    Checks over several fields run only if each of these fields is valid.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content: Any = load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Refused(f"{path.name} is not valid YAML; correct it and save again", [str(error)]) from error
    except FileNotFoundError as error:
        raise Refused(f"{path} does not exist; create it or correct the name") from error
    if not isinstance(content, dict):
        raise Refused(f"{path.name} contains {type(content).__name__}, not fields; start it with `schema: 1`")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        reasons = with_lines(text, [_fault_text(item) for item in error.errors()])
        raise Refused(f"{path.name} has {len(reasons)} fault(s); correct them and save again", reasons) from error


def _fault_text(item: Any) -> str:
    place = ".".join(str(part) for part in item["loc"]) or "(whole file)"
    if item["type"] == "extra_forbidden":
        return f"{place}: unknown field; remove it or correct the spelling"
    return f"{place}: {item['msg']} (got {item['input']!r:.80})"


@dataclass(frozen=True)
class Catalog:
    """The datasets, views and models declared under one ``include`` folder, by name.

    ``refused`` maps each faulty file to its error; valid files are available all the same.
    """

    datasets: dict[str, DatasetSpec] = field(default_factory=dict)
    views: dict[str, FeatureView] = field(default_factory=dict)
    models: dict[str, ModelSpec] = field(default_factory=dict)
    refused: dict[str, Refused] = field(default_factory=dict)

    @classmethod
    def read(cls, include: Path) -> Catalog:
        """Read all declarations; ``refused`` has the faulty ones and those that use them."""
        refused: dict[str, Refused] = {}
        datasets = _read_folder(include / FOLDERS["datasets"], DatasetSpec, "dataset", refused)
        views = _read_folder(include / FOLDERS["views"], FeatureView, "view", refused)
        models = _read_folder(include / FOLDERS["models"], ModelSpec, "model", refused)
        _check(views, include / FOLDERS["views"], refused, lambda view: view_faults(view, datasets.get(view.dataset)))
        _check(models, include / FOLDERS["models"], refused, lambda model: _model_faults(model, views, datasets))
        return cls(datasets, views, models, refused)

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
        """Names of all ``datasets``, ``views`` or ``models``, also of those whose files have faults."""
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
        outcomes = {name: column.type for name, column in dataset.sources[view.entity_source].columns.items()}
        ab_faults = experiment_faults(model.deployment.ab, model.problem, outcomes)
        faults += [f"deployment.ab.{fault}" for fault in ab_faults]
    return faults + target_faults(model, view, dataset)


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


def view_faults(view: FeatureView, dataset: DatasetSpec | None) -> list[str]:
    """Names that the dataset does not have, features of personal data, and lookups not by the key."""
    if dataset is None:
        return [f"dataset: {view.dataset!r} is not declared, or was refused"]
    if view.entity_source not in dataset.sources:
        return [f"entity_source: {view.entity_source!r} is not a source of {dataset.dataset}"]
    own = dataset.sources[view.entity_source].columns
    required = [*view.key, view.event_hour_column, view.event_minute_column, view.delay_column, view.label.column]
    required = list(dict.fromkeys([*required, *view.label.known_after_columns, *view.outcome_columns]))
    faults = [f"{column!r} is not a column of {view.entity_source}" for column in required if column not in own]
    for name, feature in view.features.items():
        how = feature.transformation
        source = how.source if isinstance(how, Lookup | LatestObservation) else view.entity_source
        if source not in dataset.sources:
            faults.append(f"features.{name}: {source!r} is not a source of {dataset.dataset}")
            continue
        columns = [getattr(how, "column", None), getattr(how, "time_column", None)]
        groups = [*getattr(how, "by", []), *getattr(how, "on", [])]
        theirs = dataset.sources[source].columns
        missing = [(source, column) for column in [*columns, *groups] if column and column not in theirs]
        missing += [(view.entity_source, column) for column in groups if column not in own]
        faults += [f"features.{name}: {column!r} is not in {table}" for table, column in dict.fromkeys(missing)]
        faults += [
            f"features.{name}: {column!r} of {source} is personal data; no feature may use it"
            for column in columns
            if column in theirs and theirs[column].pii
        ]
        if isinstance(how, Lookup) and set(how.on) != set(dataset.sources[source].key):
            faults.append(f"features.{name}: on {how.on} is not the key {dataset.sources[source].key} of {source}")
        for column in feature.source_columns:
            table, _, bare = column.partition(".")
            if table not in dataset.sources or bare not in dataset.sources[table].columns:
                faults.append(
                    f"features.{name}.source_columns: {column!r} is not <source>.<column> of a declared source"
                )
    return faults


def model_faults(model: ModelSpec, view: FeatureView | None) -> list[str]:
    """Feature names in the model that its view does not have."""
    if view is None:
        return [f"view: {model.view!r} is not declared, or was refused"]
    named = {
        "training.features": model.training.features or [],
        "evaluation.slices.columns": model.evaluation.slices.columns if model.evaluation.slices else [],
        "monitoring.drift.exclude": model.monitoring.drift.exclude,
    }
    return [
        f"{where}: unknown feature {name!r}; {view.view} has {', '.join(sorted(view.features))}"
        for where, names in named.items()
        for name in names
        if name not in view.features
    ]


def target_faults(model: ModelSpec, view: FeatureView, dataset: DatasetSpec) -> list[str]:
    """A fault if the target is not a numeric column of the view's entities."""
    column = dataset.sources[view.entity_source].columns.get(model.target.column)
    if column is None:
        return [f"target.column: {model.target.column!r} is not a column of {view.entity_source}"]
    if column.type not in ("integer", "number"):
        return [f"target.column: {model.target.column!r} is {column.type}; a target must be a number"]
    return []
