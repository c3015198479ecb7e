"""From which versions of its inputs each partition of a feature table was made, and whether they were replaced."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from pipelines import store_paths
from pipelines.messages.features import FeatureRecord
from pipelines.ports import Store
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import FeatureView
from pipelines.steps.features.inputs import Versions
from pipelines.steps.features.source_days import days_read, sources_of

TableVersions = Mapping[str, int | None]
"""Validated table to its version; None: there was no such table."""


def table_versions(view: FeatureView, versions: Versions) -> dict[str, int | None]:
    """The versions of sources by the names of their tables."""
    return {store_paths.validated(view.dataset, source): version for source, version in versions.items()}


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


def stale_days(store: Store, view: FeatureView, dataset: DatasetSpec) -> dict[date, list[str]]:
    """Days built from what was replaced since, each with the validated tables that were, ascending.

    Rows of before 0.2.0 name no inputs, and are not known to be stale.
    """
    zone = dataset.partition.timezone
    stale: dict[date, list[str]] = {}
    records = sorted(feature_records(store, store_paths.features(view.view)).items())
    for source in sources_of(view):
        table = store_paths.validated(view.dataset, source)
        written = {date.fromisoformat(key): commit.version for key, commit in store.partition_records(table).items()}
        newest, present = store.version(table) or 0, set(store.days(table))
        for day, record in records:
            read = record.inputs.get(table)
            if read is not None and read > newest:
                read = None  # the table was made anew since
            replaced = {other for other, version in written.items() if read is None or version > read}
            if replaced and replaced.intersection(
                [*days_read(view, source, day, present, zone), *days_read(view, source, day, written, zone)]
            ):
                stale.setdefault(day, []).append(table)
    return dict(sorted(stale.items()))
