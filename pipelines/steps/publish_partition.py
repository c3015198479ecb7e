"""An accepted day becomes readable as a whole, its bad rows beside it; a refused day changes no published table."""

from __future__ import annotations

import io

import polars as pl

from pipelines import layout
from pipelines.messages import PublishRequest, PublishResult, SourceAudit
from pipelines.ports import Ports
from pipelines.profile import profile_frame
from pipelines.spec import SourceSpec


def run(request: PublishRequest, ports: Ports) -> PublishResult:
    """Write what the audit staged; doing it again changes nothing.

    Quarantine first, so that at no moment a row is neither published nor quarantined. With ``accept=False`` only the
    quarantine is written. Each published partition gets its profile.
    """
    audit = request.audit
    spec = ports.catalog.dataset(audit.dataset)
    versions: dict[str, int] = {}
    profiles: dict[str, str] = {}
    for source in audit.sources:
        table = layout.quarantine(source.source)
        versions[table] = ports.store.replace_partition(
            table, source.landed_day, _staged(request, source, "quarantined", ports)
        )
    for source in audit.sources if request.accept else []:
        table, rows = layout.validated(source.source), _staged(request, source, "accepted", ports)
        versions[table] = ports.store.replace_partition(table, source.landed_day, rows)
        profile = profile_frame(rows, **_columns(spec.sources[source.source], rows))
        path = layout.profile(table, source.landed_day)
        profiles[table] = ports.store.put(path, profile.model_dump_json().encode())
    return PublishResult(dataset=audit.dataset, day=audit.day, versions=versions, profiles=profiles)


def _staged(request: PublishRequest, source: SourceAudit, part: str, ports: Ports) -> pl.DataFrame:
    content = ports.store.get(f"{request.audit.staged}/{source.source}.{part}.parquet")
    return pl.read_parquet(io.BytesIO(content)).drop("day")


def _columns(source: SourceSpec, rows: pl.DataFrame) -> dict[str, list[str]]:
    """What is profiled: numbers and strings, personal data left out."""
    names = [name for name in rows.columns if name in source.columns and not source.columns[name].pii]
    return {
        "numeric": [name for name in names if rows.schema[name].is_numeric()],
        "categorical": [name for name in names if rows.schema[name] == pl.String],
    }
