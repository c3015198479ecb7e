"""Freezes a model's training table in the store under the digest of its content."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl

from pipelines import store_paths
from pipelines.errors import Refused, Unavailable
from pipelines.messages.training import SnapshotRequest, SnapshotResult, SplitPart
from pipelines.ports import Ports, Store
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import FeatureView
from pipelines.spec.model import ModelSpec
from pipelines.spec.split import SplitSpec
from pipelines.steps.features.incomplete_days import incomplete_days
from pipelines.steps.features.staleness import feature_records, stale_days, unbuilt_days
from pipelines.steps.labels.read_labels import label_tables, read_labels
from pipelines.steps.snapshot.files import FILE_LIST_NAME, open_files
from pipelines.steps.snapshot.split import PARTS, assign_parts
from pipelines.steps.snapshot.spool import spool, temporary_folder
from pipelines.steps.snapshot.table_digest import table_digest
from pipelines.tables.entity_id import entity_id
from pipelines.tables.parquet_bytes import parquet_bytes

DATA_FILE, RECORD_FILE = "data.parquet", "snapshot.json"


def run(request: SnapshotRequest, ports: Ports) -> SnapshotResult:
    """Freeze what was known by ``request.as_of`` as the model's training table, or of its last days alone.

    One row per entity whose label was known by then: key, ``prediction_time``, ``label_time``, features, ``target``
    (Float64; 0 or 1 for a classification) and ``part``, ordered by prediction time and key. Rows whose windows reach a
    partition that is not held are left out, unless the view declares ``allow_missing``. An existing
    snapshot is not written again; its ``snapshot.json`` names the request and table versions that first made it.

    With ``training.out_of_core`` the same rows are read day by day and written as files of ``batch_rows`` rows, one
    part each and in order of day; the table is never in memory as a whole.
    """
    if request.as_of.tzinfo is None:
        raise Refused(f"as_of {request.as_of} has no time zone; write it as in 2013-03-01T05:00:00Z")
    as_of = request.as_of.astimezone(UTC)
    spec, view = ports.catalog.model(request.model), ports.catalog.view_of(request.model)
    if request.recent_days is not None:
        history_days = min(request.recent_days, spec.training.history_days or request.recent_days)
        training = spec.training.model_copy(update={"history_days": history_days})
        spec = spec.model_copy(update={"training": training})
    dataset = ports.catalog.dataset(view.dataset)
    features = [name for name in view.features if name in (spec.training.features or view.features)]
    tables = list(dict.fromkeys([store_paths.features(view.view), *label_tables(view)]))
    versions = {table: _table_version(ports.store, table) for table in tables}
    incomplete = _incomplete_days(ports.store, spec, view, dataset, as_of, versions)
    left_out = set[date]() if view.allow_missing else {*incomplete}
    facts = {
        "model": spec.model,
        "as_of": as_of,
        "features": features,
        "table_versions": versions,
        "definitions": _definitions(view, features),
        "rests_on": _rests_on(ports.store, spec, as_of, versions),
        "missing_days": _missing_days(ports.store, spec, view, as_of),
        "incomplete_days": incomplete,
    }
    _check_fresh(ports, spec, view, as_of)
    if spec.training.out_of_core:
        days = [day for day in _history_days(ports.store, spec, as_of, versions) if day not in left_out]
        frames = (_labelled_rows(ports.store, spec, view, dataset, features, as_of, versions, [day]) for day in days)
        batch_rows = spec.training.out_of_core.batch_rows
        return _store_snapshot_in_batches(ports.store, spec, _split(spec, view), frames, batch_rows, facts)
    history = _history_days(ports.store, spec, as_of, versions) if spec.training.history_days or left_out else None
    if history is not None:
        history = [day for day in history if day not in left_out]
    frame = _labelled_rows(ports.store, spec, view, dataset, features, as_of, versions, history)
    part = assign_parts(
        frame.with_columns(entity_id(view)),
        _split(spec, view),
        seed=spec.training.seed,
        classification=spec.problem == "classification",
    )
    frame = frame.with_columns(part).drop_nulls("part")
    digest = table_digest(frame)
    result = SnapshotResult(
        **facts,
        digest=digest,
        uri=ports.store.uri(store_paths.snapshot(spec.model, digest, DATA_FILE)),
        rows=frame.height,
        parts={part: _summarize_part(frame.filter(part=part), spec) for part in PARTS},
        latest_label_time=frame.select(pl.col("label_time").max()).item(),
    )
    _store_snapshot(ports.store, result, frame)
    return result


def read_snapshot(store: Store, model: str, digest: str) -> pl.DataFrame:
    """The frozen table, whole. ``Refused`` if there is none, or if its content has another digest."""
    if files := open_files(store, model, digest):
        return files.frame(*PARTS)
    path = store_paths.snapshot(model, digest, DATA_FILE)
    if not store.exists(path):
        raise Refused(f"model {model} has no snapshot {digest}; take one, or correct the digest")
    frame = pl.read_parquet(BytesIO(store.get(path)))
    if (actual := table_digest(frame)) != digest:
        raise Refused(f"{path} was altered: its content has digest {actual}; restore the file or take a new snapshot")
    return frame


def count_verified_rows(store: Store, model: str, digest: str) -> int:
    """The number of rows, after verifying all of them by the digest; one file in memory at a time."""
    if files := open_files(store, model, digest):
        return sum(files.read(file).height for file in files.list.files)
    return read_snapshot(store, model, digest).height


def _table_version(store: Store, table: str) -> int:
    version = store.version(table)
    if version is None:
        raise Refused(f"there is no table {table} yet; ingest, validate and build features first")
    return version


def _history_start(spec: ModelSpec, as_of: datetime) -> datetime | None:
    return as_of - timedelta(days=spec.training.history_days) if spec.training.history_days else None


def _history_days(store: Store, spec: ModelSpec, as_of: datetime, versions: dict[str, int]) -> list[date]:
    """Days of the feature table within the declared history, and one before: a day is local, a moment is UTC."""
    earliest = _history_start(spec, as_of)
    days = store.days(next(iter(versions)))
    return days if earliest is None else [day for day in days if day >= earliest.date() - timedelta(1)]


def _definitions(view: FeatureView, features: list[str]) -> dict[str, tuple[int, str]]:
    digests = view.definition_digests()
    return {name: (view.features[name].version, digests[name]) for name in features}


def _rests_on(store: Store, spec: ModelSpec, as_of: datetime, versions: dict[str, int]) -> dict[str, list[int]]:
    table = next(iter(versions))
    earliest = _history_start(spec, as_of)
    first = None if earliest is None else earliest.date() - timedelta(1)
    tables: dict[str, set[int]] = {}
    for day, record in feature_records(store, table, versions[table]).items():
        if day <= as_of.date() and (first is None or day >= first) and not record.refused:
            for name, version in record.inputs.items():
                tables.setdefault(name, set()).update([] if version is None else [version])
    return {name: sorted(found) for name, found in sorted(tables.items()) if found}


def _check_fresh(ports: Ports, spec: ModelSpec, view: FeatureView, as_of: datetime) -> None:
    """``Unavailable`` if days of the history are stale: a build takes them up."""
    stale = _within_history(stale_days(ports.store, view, ports.catalog.dataset(view.dataset)), spec, as_of)
    if stale:
        days = f"{len(stale)} days of {store_paths.features(view.view)}, {min(stale)} to {max(stale)}, were"
        if view.is_table:
            days = f"{store_paths.features(view.view)} was"
        way_on = f"clear the last build_features_{view.view}, which builds them again"
        changed = ", ".join(sorted({name for names in stale.values() for name in names}))
        raise Unavailable(f"{days} built before {changed} changed; {way_on}")


def _missing_days(store: Store, spec: ModelSpec, view: FeatureView, as_of: datetime) -> dict[date, list[str]]:
    """Days of the history, until ``as_of``, of which there are rows and no features, with every reason."""
    return _within_history(unbuilt_days(store, view), spec, as_of)


def _incomplete_days(
    store: Store, spec: ModelSpec, view: FeatureView, dataset: DatasetSpec, as_of: datetime, versions: dict[str, int]
) -> dict[date, str]:
    """Days of the history whose windows reach a partition that is not held, each with what is not."""
    days = [day for day in _history_days(store, spec, as_of, versions) if day <= as_of.date()]
    return incomplete_days(store, view, dataset, days)


def _within_history(days: dict[date, list[str]], spec: ModelSpec, as_of: datetime) -> dict[date, list[str]]:
    earliest = _history_start(spec, as_of)
    return {
        day: texts
        for day, texts in days.items()
        if day <= as_of.date() and (earliest is None or day >= earliest.date())
    }


def _labelled_rows(
    store: Store,
    spec: ModelSpec,
    view: FeatureView,
    dataset: DatasetSpec,
    features: list[str],
    as_of: datetime,
    versions: dict[str, int],
    days: list[date] | None,
) -> pl.DataFrame:
    """Rows of the days (None: all) whose label was known by ``as_of``, within the history, by prediction time."""
    table = store_paths.features(view.view)
    read_columns = list(dict.fromkeys([*view.key, "prediction_time", *features]))
    known = store.read(table, days=days, columns=[*read_columns, "day"], version=versions[table])
    labels = read_labels(store, view, dataset, spec.target.expression, days, versions).rename({"label": "target"})
    labels = labels.drop_nulls(["label_time", "target"]).filter(pl.col("label_time") <= as_of)
    frame = known.join(labels, on=["day", *view.key], how="inner", validate="1:1")
    if (earliest := _history_start(spec, as_of)) is not None:
        frame = frame.filter(pl.col("prediction_time") >= earliest)
    columns = dict.fromkeys([*view.key, "prediction_time", "label_time", *features, "target"])
    return frame.sort("prediction_time", *view.key).select(*columns)


def _split(spec: ModelSpec, view: FeatureView) -> SplitSpec:
    """With a gap as wide as the window of which the labels tell."""
    return spec.training.split.with_gap(view.label_horizon)


def _summarize_part(part: pl.DataFrame, spec: ModelSpec) -> SplitPart:
    first, last = part.select(pl.col("prediction_time").min().alias("first"), pl.col("prediction_time").max()).row(0)
    positives = int(part["target"].sum()) if spec.problem == "classification" else None
    return SplitPart(rows=part.height, first=first, last=last, positives=positives)


def _store_snapshot(store: Store, result: SnapshotResult, frame: pl.DataFrame) -> None:
    """The record is written last: where it exists, the data are complete."""
    record = store_paths.snapshot(result.model, result.digest, RECORD_FILE)
    if store.exists(record):
        return
    store.put(store_paths.snapshot(result.model, result.digest, DATA_FILE), parquet_bytes(frame))
    store.put(record, result.model_dump_json(by_alias=True, indent=2).encode())


def _store_snapshot_in_batches(
    store: Store,
    spec: ModelSpec,
    split: SplitSpec,
    days: Iterable[pl.DataFrame],
    batch_rows: int,
    facts: dict[str, Any],
) -> SnapshotResult:
    """The same, file by file: then the list of them, then the record."""
    is_class = spec.problem == "classification"
    with temporary_folder() as name:
        table = spool(days, split, batch_rows=batch_rows, classification=is_class, folder=Path(name))
        digest = table.list.digest()
        result = SnapshotResult(
            **facts,
            digest=digest,
            uri=store.uri(store_paths.snapshot(spec.model, digest, FILE_LIST_NAME)),
            rows=table.rows,
            parts=table.parts,
            latest_label_time=table.latest_label_time,
            batch_rows=batch_rows,
        )
        record = store_paths.snapshot(spec.model, digest, RECORD_FILE)
        if not store.exists(record):
            for file in table.list.files:
                store.put(store_paths.snapshot(spec.model, digest, file.name), (table.folder / file.name).read_bytes())
            store.put(
                store_paths.snapshot(spec.model, digest, FILE_LIST_NAME), table.list.model_dump_json(indent=1).encode()
            )
            store.put(record, result.model_dump_json(by_alias=True, indent=2).encode())
    return result
