"""Builds the features of one day and rebuilds those of later days that read it, in any order of arrival.

Several builds may run at once. Each reads the versions of its inputs, writes, and then checks whether an input of a
day that it wrote was replaced meanwhile; if so, it builds that day again. So the last writer of a day has read its
newest inputs. A day whose content did not change is not written.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl

from pipelines import store_paths
from pipelines.errors import Refused, Unavailable
from pipelines.messages.features import FeatureDefinitions, FeatureFacts, FeaturesRequest, FeaturesResult
from pipelines.ports import Ports, Store
from pipelines.spec.features import FeatureView
from pipelines.steps.features.compute import compute_features
from pipelines.steps.features.inputs import ViewInputs
from pipelines.tables.profile import profile_frame

MAX_REBUILDS = 25
"""How often a build is repeated because its inputs changed, before it raises ``Unavailable``."""


def run(request: FeaturesRequest, ports: Ports) -> FeaturesResult:
    """Build the features of one day, and those of later days that read it again.

    Raises ``Refused`` if the day is not validated or a feature's definition changed without a new version (nothing is
    written then), ``Unavailable`` if the inputs keep changing.
    """
    view = ports.catalog.view(request.view)
    dataset = ports.catalog.dataset(view.dataset)
    store, table, entities = (
        ports.store,
        store_paths.features(view.view),
        store_paths.validated(view.dataset, view.entity_source),
    )
    _check_definitions(store, view)
    present = store.days(entities)
    without_rows = request.day not in present
    if without_rows and not store.exists(store_paths.profile(entities, request.day)):
        raise Refused(f"{entities} has no day {request.day}; ingest and validate it first")
    inputs = ViewInputs(store, view, dataset)
    later = inputs.days_affected_by(request.day, set(store.days(table)) & set(present))
    built: dict[date, pl.DataFrame] = {}
    pending, versions = [request.day, *later], inputs.versions()
    for _ in range(MAX_REBUILDS):
        stored = _stored_rows(store, table, pending)
        for day, frames in inputs.frames(pending):
            built[day] = compute_features(view, frames, [day], dataset)
            _write(store, view, day, built[day], stored.get(day))
        newest = inputs.versions()
        pending, versions = inputs.days_changed_since(versions, built), newest
        if not pending:
            return _result(store, view, request.day, built, without_rows=without_rows)
    raise Unavailable(f"inputs of {table} kept changing while {request.day} was built {MAX_REBUILDS} times; try later")


def _check_definitions(store: Store, view: FeatureView) -> None:
    path = store_paths.definitions(view.view)
    known: dict[str, tuple[int, str]] = {}
    if store.exists(path):
        known = FeatureDefinitions.model_validate_json(store.get(path)).features
    if faults := view.definition_faults(known):
        raise Refused(f"features of {view.view} changed without a new version; nothing was built", faults)
    versions = {name: feature.version for name, feature in view.features.items()}
    named = known | {name: (versions[name], digest) for name, digest in view.definition_digests().items()}
    if named != known:
        store.put(path, FeatureDefinitions(view=view.view, features=named).model_dump_json(by_alias=True).encode())


def _stored_rows(store: Store, table: str, days: Sequence[date]) -> dict[date, pl.DataFrame]:
    """The stored rows of each of these days."""
    stored_days = sorted(set(days) & set(store.days(table)))
    if not stored_days:
        return {}
    rows = store.read(table, days=stored_days)
    return {day: rows.filter(day=day) for day in stored_days}


def _write(store: Store, view: FeatureView, day: date, frame: pl.DataFrame, stored: pl.DataFrame | None) -> None:
    """Write the day's rows, if they differ from the stored ones, and the profile of its features."""
    table = store_paths.features(view.view)
    if stored is None or not _is_same(stored, frame, view.key):
        store.replace_partition(table, day, frame.drop("day"))
    kinds = {name: feature.type for name, feature in view.features.items()}
    profile = profile_frame(
        frame,
        categorical=[name for name, kind in kinds.items() if kind == "categorical"],
        numeric=[name for name, kind in kinds.items() if kind == "numeric"],
    )
    store.put(store_paths.profile(table, day), profile.model_dump_json(by_alias=True).encode())


def _is_same(stored: pl.DataFrame, frame: pl.DataFrame, key: list[str]) -> bool:
    """Columns of features since removed stay in the table as nulls: they do not count as a difference."""
    removed = [name for name in stored.columns if name not in frame.columns]
    if any(stored[name].null_count() < stored.height for name in removed) or set(frame.columns) - set(stored.columns):
        return False
    ordered = stored.select(frame.columns).sort("day", *key)
    return ordered.schema == frame.schema and ordered.equals(frame)


def _result(
    store: Store, view: FeatureView, day: date, built: dict[date, pl.DataFrame], *, without_rows: bool
) -> FeaturesResult:
    table = store_paths.features(view.view)
    version = store.version(table)
    assert version is not None
    return FeaturesResult(
        view=view.view,
        day=day,
        days=sorted(built),
        rows=built[day].height,
        without_entities=without_rows,
        table=table,
        version=version,
        features=[_feature_facts(built[day][name]) for name in view.features],
        profile=store_paths.profile(table, day),
        definition_digests=view.definition_digests(),
    )


def _feature_facts(values: pl.Series) -> FeatureFacts:
    lowest = values.min() if values.dtype.is_numeric() else None
    highest = values.max() if values.dtype.is_numeric() else None
    return FeatureFacts(
        name=values.name,
        rows=values.len(),
        nulls=values.null_count(),
        minimum=lowest if isinstance(lowest, float) else None,
        maximum=highest if isinstance(highest, float) else None,
    )
