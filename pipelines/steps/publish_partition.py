"""Publishes what an audit staged: the quarantine first, then each source's accepted partition with its profile."""

from __future__ import annotations

import hashlib
import io
import re

import polars as pl

from pipelines import store_paths
from pipelines.errors import Conflict, Refused
from pipelines.messages.validation import PublishRequest, PublishResult, SourceAudit
from pipelines.ports import Ports, Store
from pipelines.spec.row_expression import parsed
from pipelines.spec.source import SourceSpec
from pipelines.steps.features.row_expression import row_expression
from pipelines.tables.partition import conform, partition_column
from pipelines.tables.profile import profile_frame
from pipelines.tables.row_identity import ROW_COLUMN

STAGED_NAME = re.compile(
    r"(?P<source>\w+)\.(accepted|quarantined)\.(?P<version>\d{1,18})\.(?P<digest>[0-9a-f]{64})\.parquet"
)
"""A file of staged rows; before 0.2.0 it named no version of the raw table, and such files stay."""


def run(request: PublishRequest, ports: Ports) -> PublishResult:
    """Write what the audit staged; doing it again changes no content.

    Quarantine first, so that no row is ever neither published nor quarantined. With ``accept=False`` only the
    quarantine is written. Each published partition gets its profile. A table in which a newer delivery was published
    meanwhile is left as it is. Once a source is published, what older audits of its partition staged is deleted.
    """
    audit = request.audit
    versions: dict[str, int] = {}
    profiles: dict[str, str] = {}
    superseded: list[str] = []
    parts = {"quarantined": store_paths.quarantine}
    if request.accept:
        parts["accepted"] = store_paths.validated
    for part, table_of in parts.items():
        for source in audit.sources:
            table = table_of(audit.dataset, source.source)
            try:
                rows = _read_staged(request, source, part, ports)
                versions[table] = _write(table, source, rows, audit.dataset, ports.store)
            except Conflict:
                superseded.append(table)
                continue
            if part == "accepted":
                profiles[table] = _write_profile(table, source, rows, audit.dataset, ports)
                _delete_superseded(request, source, ports.store)
    return PublishResult(
        dataset=audit.dataset, partition=audit.partition, versions=versions, profiles=profiles, superseded=superseded
    )


def _write(table: str, source: SourceAudit, rows: pl.DataFrame, dataset: str, store: Store) -> int:
    """Raises ``Conflict`` if the partition was published from a newer version of the raw table.

    Rows that are published already are not written again: what was built from them is not stale.
    """
    published, newest = (
        store.input_version(table, source.landed),
        store.version(store_paths.raw(dataset, source.source)),
    )
    rebuilt = published is not None and (newest is None or newest < published)
    audited = None if rebuilt else source.raw_version  # the versions of a raw table that was made anew begin again
    if not _holds(store, table, source.landed, rows):
        return store.replace_partition(table, source.landed, rows, input_version=audited)
    version = store.version(table)
    if version is not None and published == audited:
        return version
    return store.replace_partition(table, source.landed, None, input_version=audited)


def _holds(store: Store, table: str, key: str, rows: pl.DataFrame) -> bool:
    """Whether the partition has exactly these rows, in this order."""
    if key not in store.partitions(table):
        return False
    stored = store.read(table, partitions=[key])
    try:
        return conform(table, key, rows, dict(stored.schema)).equals(stored)
    except Refused:
        return False


def _write_profile(table: str, source: SourceAudit, rows: pl.DataFrame, dataset: str, ports: Ports) -> str:
    """The profile of the published rows: of the newer ones, if they were replaced while it was made."""
    store, key = ports.store, source.landed
    spec = ports.catalog.dataset(dataset).sources[source.source]
    while True:
        version = store.input_version(table, key)
        labelled = _with_labels(rows, source.source, dataset, ports)
        profile = profile_frame(labelled, **_profiled_columns(spec, labelled))
        uri = store.put(store_paths.profile(table, key), profile.model_dump_json().encode())
        if store.input_version(table, key) == version:
            return uri
        rows = store.read(table, partitions=[key]).drop(partition_column(key))


def _read_staged(request: PublishRequest, source: SourceAudit, part: str, ports: Ports) -> pl.DataFrame:
    """Raises ``Conflict`` if the rows were deleted because a newer delivery was published."""
    path = source.staged.get(part) or f"{request.audit.staged}/{source.source}.{part}.parquet"
    published = ports.store.input_version(store_paths.validated(request.audit.dataset, source.source), source.landed)
    if not ports.store.exists(path) and published is not None and published > source.raw_version:
        raise Conflict(f"{path} was deleted: version {published} of {source.source} {source.landed} is published")
    content = ports.store.get(path)
    name = STAGED_NAME.fullmatch(path.rpartition("/")[2])
    if name and hashlib.sha256(content).hexdigest() != name["digest"]:
        raise Refused(
            f"{path} is not what the audit staged: its digest is another one; clear the audit of the partition"
        )
    return pl.read_parquet(io.BytesIO(content)).drop(partition_column(source.landed))


def _delete_superseded(request: PublishRequest, source: SourceAudit, store: Store) -> None:
    """Delete what audits of older versions of the raw table staged; an audit of a newer one may be under way."""
    for path in store.list(f"{request.audit.staged}/"):
        name = STAGED_NAME.fullmatch(path.rpartition("/")[2])
        if name and name["source"] == source.source and int(name["version"]) < source.raw_version:
            store.delete(path)


def _with_labels(rows: pl.DataFrame, source: str, dataset: str, ports: Ports) -> pl.DataFrame:
    """With the label of each view whose rows are this source's: the profile then holds class balance."""
    zone = ports.catalog.dataset(dataset).partition.timezone
    views = [
        view for view in ports.catalog.views_of(dataset) if view.entity_source == source and not view.label_follows
    ]
    labels = [view.label for view in views if view.label]
    return rows.with_columns(
        row_expression(parsed(label.expression), rows.schema, zone).alias(label.name) for label in labels
    )


def _profiled_columns(source: SourceSpec, rows: pl.DataFrame) -> dict[str, list[str]]:
    """What is profiled: numbers, strings and labels; personal data left out."""
    stored = source.stored_columns()
    names = [name for name in rows.columns if name != ROW_COLUMN and (name not in stored or not stored[name].pii)]
    return {
        "numeric": [name for name in names if rows.schema[name].is_numeric()],
        "categorical": [name for name in names if rows.schema[name] in (pl.String, pl.Boolean)],
    }
