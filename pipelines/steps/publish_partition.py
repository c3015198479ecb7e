"""Publishes what an audit staged: the quarantine first, then each source's accepted partition with its profile."""

from __future__ import annotations

import io

import polars as pl

from pipelines import store_paths
from pipelines.messages.validation import PublishRequest, PublishResult, SourceAudit
from pipelines.ports import Ports
from pipelines.spec.dataset import SourceSpec
from pipelines.tables.profile import profile_frame


def run(request: PublishRequest, ports: Ports) -> PublishResult:
    """Write what the audit staged; doing it again changes no content.

    Quarantine first, so that no row is ever neither published nor quarantined. With ``accept=False`` only the
    quarantine is written. Each published partition gets its profile.
    """
    audit = request.audit
    spec = ports.catalog.dataset(audit.dataset)
    versions: dict[str, int] = {}
    profiles: dict[str, str] = {}
    for source in audit.sources:
        table = store_paths.quarantine(source.source)
        versions[table] = ports.store.replace_partition(
            table, source.landed_day, _read_staged(request, source, "quarantined", ports)
        )
    for source in audit.sources if request.accept else []:
        table, rows = store_paths.validated(source.source), _read_staged(request, source, "accepted", ports)
        versions[table] = ports.store.replace_partition(table, source.landed_day, rows)
        labelled = rows.with_columns(**_label_expressions(source.source, audit.dataset, ports))
        profile = profile_frame(labelled, **_profiled_columns(spec.sources[source.source], labelled))
        path = store_paths.profile(table, source.landed_day)
        profiles[table] = ports.store.put(path, profile.model_dump_json().encode())
    return PublishResult(dataset=audit.dataset, day=audit.day, versions=versions, profiles=profiles)


def _read_staged(request: PublishRequest, source: SourceAudit, part: str, ports: Ports) -> pl.DataFrame:
    content = ports.store.get(f"{request.audit.staged}/{source.source}.{part}.parquet")
    return pl.read_parquet(io.BytesIO(content)).drop("day")


def _label_expressions(source: str, dataset: str, ports: Ports) -> dict[str, pl.Expr]:
    """The label of each feature view whose entities are this source's rows: the profile then holds class balance."""
    views = [view for view in ports.catalog.views_of(dataset) if view.entity_source == source]
    return {view.label.name: pl.col(view.label.column) >= view.label.at_least for view in views}


def _profiled_columns(source: SourceSpec, rows: pl.DataFrame) -> dict[str, list[str]]:
    """What is profiled: numbers, strings and labels; personal data left out."""
    names = [name for name in rows.columns if name not in source.columns or not source.columns[name].pii]
    return {
        "numeric": [name for name in names if rows.schema[name].is_numeric()],
        "categorical": [name for name in names if rows.schema[name] in (pl.String, pl.Boolean)],
    }
