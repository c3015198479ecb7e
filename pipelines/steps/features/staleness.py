"""From which versions of its inputs each partition of a feature table was made, and whether they were replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from pipelines import store_paths
from pipelines.messages.features import FeatureRecord
from pipelines.ports import Store
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import FeatureView
from pipelines.steps.features.inputs import Versions
from pipelines.steps.features.source_days import days_read, sources_of
from pipelines.steps.features.validated_table import ValidatedTable
from pipelines.steps.labels.read_labels import held_days

NOT_BUILT = "its features were not built"
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


def unbuilt_days(store: Store, view: FeatureView) -> dict[date, list[str]]:
    """Days with rows of the view's source that have no features, or periods of a panel whose last day is held; why.

    A day that was built and had nobody to build a row of is none.
    """
    table, entities = store_paths.features(view.view), ValidatedTable(store, view, view.entity_source)
    records, days = feature_records(store, table), entities.days()
    if view.panel is not None and days:
        held = held_days(store, entities.name)
        panel, periods = view.panel, view.panel.periods(days[0], days[-1] + view.panel.longest)
        days = [period for period in periods if f"{panel.last_day(period)}" in held]
    refused = {day: record.refused for day, record in records.items() if record.refused}
    empty = {day for day, record in records.items() if not record.rows and not record.refused}
    missing = sorted({*days, *refused} - {*store.days(table), *empty})
    return {day: refused.get(day, [NOT_BUILT]) for day in missing}


def stale_days(store: Store, view: FeatureView, dataset: DatasetSpec) -> dict[date, list[str]]:
    """Days built from what was replaced since, or by a former definition, each with what differs now, ascending.

    That is a validated table, or a feature with its declared version. Rows of before 0.2.0 name neither: they hold
    version 1 of each feature, and their inputs are not known to be replaced.
    """
    table = store_paths.features(view.view)
    records = sorted(feature_records(store, table).items())
    stale = _days_of_former_definitions(view, dict(records), store.days(table))
    for source in sources_of(view):
        table_of_source = ValidatedTable(store, view, source)
        entities, written = table_of_source.name, table_of_source.written()
        newest, present = table_of_source.version() or 0, set(table_of_source.days())
        for day, record in records:
            read = record.inputs.get(entities)
            if read is not None and read > newest:
                read = None  # the table was made anew since
            replaced = {other for other, version in written.items() if read is None or version > read}
            if replaced and replaced.intersection(
                [*days_read(view, source, day, present, dataset), *days_read(view, source, day, written, dataset)]
            ):
                stale.setdefault(day, []).append(entities)
    return dict(sorted(stale.items()))


def _days_of_former_definitions(
    view: FeatureView, records: Mapping[date, FeatureRecord], stored: Sequence[date]
) -> dict[date, list[str]]:
    digests = view.definition_digests()
    first = {name for name, feature in view.features.items() if feature.version == 1}
    stale = {}
    for day in {*records, *stored}:
        built = records[day].definition_digests if day in records else {name: digests[name] for name in first}
        names = [
            name
            for name, digest in digests.items()
            if built.get(name) not in (digest, view.former_digests.get(name, digest))
        ]
        if names:
            stale[day] = [f"{name}@{view.features[name].version}" for name in names]
    return stale
