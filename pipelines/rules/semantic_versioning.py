"""The version number names the change: major breaks callers, minor changes the model, patch is a refit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from pipelines.errors import Refused
from pipelines.spec.features import FeatureView
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Outcome

FIRST_VERSION = "1.0.0"
VERSION_PATTERN = re.compile(r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)$")


class VersionFacts(BaseModel):
    """The facts of one model version that decide its number."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    problem: str
    target: dict[str, Any]
    output: str
    inputs: dict[str, str]
    """Feature name to type, as callers send them."""
    feature_versions: dict[str, int]
    estimator: dict[str, Any]
    """Kind, class, rounds and parameters, with the learning rate and the search: how the model is made."""


class VersionChange(BaseModel):
    """One difference between two versions, and the part of the number that it raises."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: Literal["major", "minor"]
    what: str


def missing_gates(gates: Mapping[str, str], required_gates: Sequence[str]) -> list[str]:
    """A reason for each required gate that has no PASS in ``gates``, which maps a gate to its last outcome."""
    outcomes = {gate: gates.get(gate) for gate in required_gates}
    return [
        f"{gate} said {outcome}" if outcome else f"{gate} has no verdict about this model"
        for gate, outcome in outcomes.items()
        if outcome != Outcome.PASS.value
    ]


def version_facts(spec: ModelSpec, view: FeatureView) -> VersionFacts:
    """The facts of a version trained now from these declarations."""
    names = spec.training.features or list(view.features)
    training = spec.training
    return VersionFacts(
        problem=spec.problem,
        target=spec.target.recorded(),
        output="probability" if spec.problem == "classification" else "value",
        inputs={name: view.features[name].type for name in names},
        feature_versions={name: view.features[name].version for name in names},
        estimator={
            **training.estimator.model_dump(),
            "learning_rate": training.learning_rate.model_dump(),
            "search": training.search.model_dump(mode="json") if training.search else None,
        },
    )


def compare_versions(previous: VersionFacts, current: VersionFacts) -> list[VersionChange]:
    """Every change of inputs, output, features or estimator; empty for a refit on other data."""
    changes = [
        VersionChange(level="major", what=f"{name}: {getattr(previous, name)!r} became {getattr(current, name)!r}")
        for name in ("problem", "target", "output")
        if getattr(previous, name) != getattr(current, name)
    ]
    old, new = previous.inputs, current.inputs
    changes += [VersionChange(level="major", what=f"input {name} is gone") for name in old if name not in new]
    changes += [VersionChange(level="major", what=f"input {name} is new") for name in new if name not in old]
    common = [name for name in new if name in old]
    changes += [
        VersionChange(level="major", what=f"input {name}: {old[name]} became {new[name]}")
        for name in common
        if old[name] != new[name]
    ]
    versions = {name: (previous.feature_versions.get(name), current.feature_versions.get(name)) for name in common}
    changes += [
        VersionChange(level="minor", what=f"feature {name}: version {before} became {after}")
        for name, (before, after) in versions.items()
        if before != after
    ]
    parts = dict.fromkeys([*previous.estimator, *current.estimator])
    estimators = {part: (previous.estimator.get(part), current.estimator.get(part)) for part in parts}
    changes += [
        VersionChange(level="minor", what=f"estimator {part}: {before!r} became {after!r}")
        for part, (before, after) in estimators.items()
        if before != after
    ]
    return changes


def next_version(previous: str | None, changes: Sequence[VersionChange] = ()) -> str:
    """The number after ``previous`` (None: the first, 1.0.0); no changes: a refit, a patch. ``Refused`` for no number.

    Source: Semantic Versioning 2.0.0, items 6 to 8.
    """
    if previous is None:
        return FIRST_VERSION
    parts = VERSION_PATTERN.match(previous)
    if parts is None:
        raise Refused(f"{previous!r} is not a semantic version; use MAJOR.MINOR.PATCH, for example 1.0.0")
    major, minor, patch = (int(part) for part in parts.groups())
    levels = {change.level for change in changes}
    if "major" in levels:
        return f"{major + 1}.0.0"
    if "minor" in levels:
        return f"{major}.{minor + 1}.0"
    return f"{major}.{minor}.{patch + 1}"
