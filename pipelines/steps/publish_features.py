"""Publishes the judged partitions of a feature view: exactly the rows that were staged, or none if they are refused.

The commit of a partition records the digest of its rows, the versions of its inputs and the digests of its definitions.
Of several builds the one with the newest inputs wins. Killed at any point, it leaves the former partition or the new.
"""

from __future__ import annotations

from datetime import date
from io import BytesIO

import polars as pl

from pipelines import store_paths
from pipelines.errors import Conflict, Refused, Unavailable
from pipelines.messages.features import BuiltPartition, FeatureRecord, PublishFeaturesRequest, PublishFeaturesResult
from pipelines.ports import Ports, Store
from pipelines.spec.features import FeatureView
from pipelines.steps.features.former_versions import is_former_column
from pipelines.steps.features.staleness import feature_records, is_older, stale_days
from pipelines.steps.snapshot.table_digest import table_digest
from pipelines.tables.profile import profile_features

MAX_CONFLICTS = 25
"""How often a commit is tried again because another build wrote the partition meanwhile."""


def run(request: PublishFeaturesRequest, ports: Ports) -> PublishFeaturesResult:
    """Commit what was judged; doing it again changes nothing.

    A partition that was published from newer inputs is left as it is. Each published partition gets its profile, a
    refused one loses it. What was staged for a partition is deleted once it is settled. Raises ``Refused`` if staged
    rows are not those that were judged, ``Unavailable`` if other builds keep writing the same partition.
    """
    view, store = ports.catalog.view(request.view), ports.store
    publisher = _Publisher(store, view)
    before = set(store.days(publisher.table))
    changed, settled, superseded = [], [], []
    for partition in request.partitions:
        reasons = request.refused.get(partition.day, [])
        rows = _read_staged(store, partition)
        has_other_rows = None if rows is None else publisher.commit(partition, rows, reasons)
        if rows is None or has_other_rows is None:
            superseded.append(partition.day)
            continue
        settled.append(partition.day)
        changed += [partition.day] if has_other_rows else []
        publisher.write_profile(partition.day, None if reasons else rows)
        for path in store.list(store_paths.staged_features(view.view, partition.day)):
            store.delete(path)
    appeared = set(store.days(publisher.table)) - before
    stale = stale_days(store, view, ports.catalog.dataset(view.dataset))
    return PublishFeaturesResult(
        view=view.view,
        table=publisher.table,
        version=store.version(publisher.table),
        changed=changed,
        appeared=[day for day in settled if day in appeared],
        outdated=sorted({*superseded, *stale}),
    )


def _read_staged(store: Store, partition: BuiltPartition) -> pl.DataFrame | None:
    """None if the rows were deleted, which another build does after it has published the partition."""
    if not store.exists(partition.staged):
        return None
    rows = pl.read_parquet(BytesIO(store.get(partition.staged)))
    if (digest := table_digest(rows)) != partition.digest:
        raise Refused(f"{partition.staged} is not what was judged: its rows have digest {digest}; clear the task")
    return rows


class _Publisher:
    """Commits partitions of one feature table, of which it reads the records once, and again after a conflict."""

    def __init__(self, store: Store, view: FeatureView) -> None:
        self._store, self._view = store, view
        self.table = store_paths.features(view.view)
        self._read_records()

    def _read_records(self) -> None:
        self._version = self._store.version(self.table)  # first: a record may be newer, then the commit is a conflict
        self._records = feature_records(self._store, self.table)

    def commit(self, partition: BuiltPartition, rows: pl.DataFrame, refused: list[str]) -> bool | None:
        """Whether the partition has other rows than before; None if it was published from newer inputs."""
        record = FeatureRecord(
            digest=partition.digest,
            rows=partition.rows,
            inputs=partition.inputs,
            partitions=partition.partitions,
            definition_digests=partition.definition_digests,
            refused=refused,
        )
        for _ in range(MAX_CONFLICTS):
            stored = self._records.get(partition.day)
            if stored is not None and is_older(record.inputs, stored.inputs, self._store):
                return None
            if stored == record:
                return False
            has_same_rows = stored is not None and stored.digest == record.digest and not (stored.refused or refused)
            frame = None if has_same_rows else rows.clear() if refused else rows
            text = record.model_dump_json(by_alias=True)
            try:
                self._store.commit_partition(self.table, partition.day, frame, record=text, since=self._version)
            except Conflict:
                self._read_records()
                continue
            return not has_same_rows
        raise Unavailable(f"{self.table} of {partition.day} was written by {MAX_CONFLICTS} other builds; try later")

    def write_profile(self, day: date, rows: pl.DataFrame | None) -> None:
        """The profile of the published rows, none for a refused day: of newer ones, if they were replaced meanwhile."""
        store, path = self._store, store_paths.profile(self.table, day)
        while True:
            version = store.version(self.table)
            if rows is None:
                store.delete(path)
            else:
                store.put(path, _profile(self._view, rows))
            if day not in store.changed_days(self.table, version):
                return
            record = feature_records(store, self.table).get(day)
            refused = record is not None and record.refused
            rows = None if refused else store.read(self.table, days=[day]).drop("day")


def _profile(view: FeatureView, rows: pl.DataFrame) -> bytes:
    """Of the features, and of the columns of their former versions, which models are still watched by."""
    types: dict[str, str] = {name: feature.type for name, feature in view.features.items()}
    former = [name for name in rows.columns if is_former_column(name) and name not in view.key]
    types |= {name: "categorical" if rows.schema[name] == pl.String else "numeric" for name in former}
    profile = profile_features(rows, types)
    return profile.model_dump_json(by_alias=True).encode()
