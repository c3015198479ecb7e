"""From which versions of its inputs each partition of a feature table was made, and whether they were replaced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

from pipelines import store_paths
from pipelines.messages.features import FeatureRecord
from pipelines.ports import Store
from pipelines.spec.features import FeatureView
from pipelines.steps.features.inputs import Versions, ViewInputs
from pipelines.steps.features.source_days import sources_of

TableVersions = Mapping[str, int | None]
"""Validated table to its version; None: there was no such table."""


def table_versions(view: FeatureView, versions: Versions) -> dict[str, int | None]:
    """The versions of sources by the names of their tables."""
    return {store_paths.validated(view.dataset, source): version for source, version in versions.items()}


def source_versions(view: FeatureView, versions: TableVersions) -> Versions:
    """The versions of tables by the sources of the view; a source that was not read then has none."""
    return {source: versions.get(store_paths.validated(view.dataset, source)) for source in sources_of(view)}


def feature_records(store: Store, table: str, version: int | None = None) -> dict[date, FeatureRecord]:
    """What the newest commit of each day records, up to a version of the table; rows of before 0.2.0 have none."""
    records = store.partition_records(table, version=version)
    return {
        date.fromisoformat(key): FeatureRecord.model_validate_json(commit.record)
        for key, commit in records.items()
        if commit.record is not None
    }


def is_older(versions: TableVersions, others: TableVersions, store: Store) -> bool:
    """Whether a table has an older version than among the others; one that was made anew since does not count."""
    for table, other in others.items():
        version = versions.get(table)
        if other is not None and table in versions and (version is None or version < other):
            newest = store.version(table)
            if newest is not None and newest >= other:
                return True
    return False


def outdated_days(view: FeatureView, inputs: ViewInputs, built: Iterable[tuple[date, TableVersions]]) -> list[date]:
    """Those days, built from these versions, that read something which was replaced since, ascending."""
    groups: dict[tuple[tuple[str, int | None], ...], list[date]] = {}
    for day, versions in built:
        groups.setdefault(tuple(sorted(source_versions(view, versions).items())), []).append(day)
    return sorted(day for versions, days in groups.items() for day in inputs.days_changed_since(dict(versions), days))
