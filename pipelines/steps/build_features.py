"""Builds the features of days from their newest inputs and stages them, readable by no one, until a rule judges them.

A build reads the versions of its inputs, computes, and then checks whether an input of a day that it computed was
replaced meanwhile; if so, it computes that day again. Days are found in any order of arrival.
"""

from __future__ import annotations

from datetime import date

import polars as pl

from pipelines import store_paths
from pipelines.errors import Refused, Unavailable
from pipelines.messages.features import (
    BuiltPartition,
    FeatureDefinitions,
    FeatureFacts,
    FeaturesRequest,
    FeaturesResult,
)
from pipelines.ports import Ports, Store
from pipelines.spec.features import Feature, FeatureView
from pipelines.spec.partitions import partition_name
from pipelines.steps.features.compute import compute_features
from pipelines.steps.features.former_versions import former_values, former_versions, next_definitions, with_former
from pipelines.steps.features.inputs import ViewInputs
from pipelines.steps.features.limits import SourceAge, other_values, source_ages
from pipelines.steps.features.staleness import table_versions
from pipelines.steps.features.validated_table import ValidatedTable
from pipelines.steps.snapshot.table_digest import table_digest
from pipelines.tables.parquet_bytes import parquet_bytes

MAX_REBUILDS = 25
"""How often a build is repeated because its inputs changed, before it raises ``Unavailable``."""
MAX_EXAMPLES = 10
"""How many of the values that are not allowed are named."""


def run(request: FeaturesRequest, ports: Ports) -> FeaturesResult:
    """Build and stage the requested days, by default one day and those later ones that read it again.

    Of a panel these are its periods: by default the one that is due with the day, and those built before that read it;
    there may be none.

    Raises ``Refused`` if a day is not validated or a feature's definition changed without a new version (nothing is
    written then), ``Unavailable`` if the inputs keep changing.
    """
    view = ports.catalog.view(request.view)
    dataset = ports.catalog.dataset(view.dataset)
    store, table = ports.store, store_paths.features(view.view)
    entities = ValidatedTable(store, view, view.entity_source)
    former = former_versions(view, _check_definitions(store, view), dataset)
    present = set(entities.days())
    days = request.days or [request.day]
    if request.day not in present and not entities.has_been_audited(request.day):
        partition = partition_name(view.partition_key(request.day))
        raise Refused(f"{entities.name} has no {partition}; ingest and validate it first")
    inputs = ViewInputs(store, with_former(view, former), dataset)
    if not request.days:
        recorded = {date.fromisoformat(key) for key in store.partition_records(table)}
        if view.panel is None:
            days = [*days, *inputs.days_affected_by(request.day, recorded & present)]
        else:
            days = sorted({*view.due_with(request.day), *inputs.days_affected_by(request.day, recorded)})
    built: dict[date, pl.DataFrame] = {}
    ages: dict[date, dict[str, SourceAge]] = {}
    pending, versions = days, inputs.versions()
    for _ in range(MAX_REBUILDS):
        for day, frames in inputs.frames(pending):
            rows = compute_features(view, frames, [day], dataset).drop("day")
            built[day] = rows.with_columns(former_values(view, former, frames, day, dataset))
            ages[day] = source_ages(view, built[day]["prediction_time"], frames, dataset)
        newest = inputs.versions()
        pending, versions = inputs.days_changed_since(versions, built), newest
        if not pending:
            break
    else:
        raise Unavailable(f"inputs of {table} kept changing while {days[0]} was built {MAX_REBUILDS} times; try later")
    partitions = []
    for day, rows in sorted(built.items()):
        digest = table_digest(rows)
        partitions.append(
            BuiltPartition(
                day=day,
                rows=rows.height,
                without_entities=day not in present if view.panel is None else rows.is_empty(),
                features=[
                    _feature_facts(rows[name], feature, ages[day].get(name)) for name, feature in view.features.items()
                ],
                digest=digest,
                staged=_stage(store, store_paths.staged_features(view.view, day, digest), rows),
                inputs=table_versions(view, versions),
                partitions={name: [*map(view.partition_key, read)] for name, read in inputs.partitions(day).items()},
                definition_digests=view.definition_digests() | {each.column: each.digest for each in former},
            )
        )
    return FeaturesResult(view=view.view, table=table, partitions=partitions)


def _check_definitions(store: Store, view: FeatureView) -> FeatureDefinitions:
    path, known = store_paths.definitions(view.view), FeatureDefinitions(view=view.view)
    if store.exists(path):
        known = FeatureDefinitions.model_validate_json(store.get(path))
    if faults := view.definition_faults(known.features):
        raise Refused(f"features of {view.view} changed without a new version; nothing was built", faults)
    named = next_definitions(view, known)
    if named != known:
        store.put(path, named.model_dump_json(by_alias=True).encode())
    return named


def _stage(store: Store, path: str, rows: pl.DataFrame) -> str:
    store.put(path, parquet_bytes(rows))
    return path


def _feature_facts(values: pl.Series, feature: Feature, age: SourceAge | None) -> FeatureFacts:
    lowest = values.min() if values.dtype.is_numeric() else None
    highest = values.max() if values.dtype.is_numeric() else None
    others = other_values(values, feature)
    return FeatureFacts(
        name=values.name,
        rows=values.len(),
        nulls=values.null_count(),
        minimum=lowest if isinstance(lowest, float) else None,
        maximum=highest if isinstance(highest, float) else None,
        other_values=None if others is None else dict(list(others.items())[:MAX_EXAMPLES]),
        stale_rows=None if age is None else age.stale_rows,
        oldest=None if age is None else age.oldest,
    )
