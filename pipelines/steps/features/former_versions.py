"""A feature's former version is built beside the newer one: a model that was trained on it goes on reading its meaning.

The version before the newest is computed by its whole definition, which is kept when the newer one is built. It stands
in the column ``name@version``. What cannot be computed any more, as a column that it reads is gone, is not built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import polars as pl

from pipelines.messages.features import FeatureDefinitions, FormerFeature
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import Feature, FeatureView, RowExpression
from pipelines.steps.features.compute import Frames, compute_features

VERSION_SIGN = "@"


def former_column(name: str, version: int) -> str:
    """The column in which a former version of a feature stands."""
    return f"{name}{VERSION_SIGN}{version}"


def is_former_column(name: str) -> bool:
    """Whether a column of a feature table is that of a former version: no feature's own name has the sign."""
    return VERSION_SIGN in name


@dataclass(frozen=True)
class FormerVersion:
    """One former version with the features that it reads, by the names that they had."""

    name: str
    version: int
    digest: str
    features: Mapping[str, Feature]

    @property
    def column(self) -> str:
        return former_column(self.name, self.version)


def next_definitions(view: FeatureView, known: FeatureDefinitions) -> FeatureDefinitions:
    """What is recorded once these features are built: their definitions, and those before of what has a new version."""
    digests = view.definition_digests()
    former = dict(known.former)
    for name, (version, digest) in known.features.items():
        if name in view.features and view.features[name].version > version and name in known.declared:
            features = {other: known.declared[other] for other in _reads(name, known)}
            former[name] = FormerFeature(version=version, digest=digest, features=features)
    return FeatureDefinitions(
        view=view.view,
        features=known.features | {name: (view.features[name].version, digest) for name, digest in digests.items()},
        declared=known.declared
        | {name: feature.model_dump(mode="json", by_alias=True) for name, feature in view.features.items()},
        former=former,
    )


def former_versions(view: FeatureView, known: FeatureDefinitions, dataset: DatasetSpec) -> list[FormerVersion]:
    """Those that can be computed from what the dataset has now."""
    versions = []
    for name, former in known.former.items():
        features = {other: Feature.model_validate(fields) for other, fields in former.features.items()}
        columns = [column for feature in features.values() for column in feature.source_columns]
        if name in view.features and all(_exists(column, dataset) for column in columns):
            versions.append(FormerVersion(name, former.version, former.digest, features))
    return versions


def with_former(view: FeatureView, versions: list[FormerVersion]) -> FeatureView:
    """The view as far as it says what is read: with all that the former versions read, too."""
    former = {f"{version.column} {name}": feature for version in versions for name, feature in version.features.items()}
    return view.model_copy(update={"features": {**view.features, **former}})


def former_values(
    view: FeatureView, versions: list[FormerVersion], frames: Frames, day: date, dataset: DatasetSpec
) -> list[pl.Series]:
    """The column of each former version for the rows of the day, in the order of ``compute_features``."""
    columns = []
    for version in versions:
        alone = view.model_copy(update={"features": dict(version.features)})
        columns.append(compute_features(alone, frames, [day], dataset)[version.name].alias(version.column))
    return columns


def _reads(name: str, known: FeatureDefinitions) -> list[str]:
    """The feature and those that its expression rests on."""
    names = [name]
    for other in names:
        how = Feature.model_validate(known.declared[other]).transformation
        if isinstance(how, RowExpression):
            names += [read for read in how.names() if read in known.declared and read not in names]
    return names


def _exists(column: str, dataset: DatasetSpec) -> bool:
    source, _, name = column.partition(".")
    return source in dataset.sources and name in dataset.sources[source].stored_columns()
