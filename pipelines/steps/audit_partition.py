"""Audits one day's raw rows: each is accepted or quarantined, and both parts are staged for publishing."""

from __future__ import annotations

import hashlib
import io
from datetime import date

import polars as pl

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.validation import AuditResult, SourceAudit, ValidateRequest
from pipelines.ports import Ports
from pipelines.spec.catalog import read_declaration
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.suite import DeclaredSuite
from pipelines.steps.auditing.report import render_report
from pipelines.steps.auditing.suite import read_suite
from pipelines.steps.auditing.validation import SuiteFindings, split_by_suite
from pipelines.tables.quarantined_rows import describe_rows


def run(request: ValidateRequest, ports: Ports) -> AuditResult:
    """Judge the raw partitions of one day and stage what is to be published.

    Daily sources are judged on their own day, a reference source on the newest copy landed by then, and only if that
    copy is the day's own or is not published yet. Raises ``Refused`` listing every
    source without a raw partition, or the faults of a suite.
    """
    spec = ports.catalog.dataset(request.dataset)
    due = _partitions_due(spec, request.day, ports)
    files = {
        name: ports.settings.include / "expectations" / f"{suite}.yaml"
        for name in due
        if (suite := spec.sources[name].suite)
    }
    suites = {name: read_suite(path) for name, path in files.items()}
    folder = store_paths.staged(spec.dataset, request.day)
    audits, results, quarantined = [], {}, {}
    for name, landed in due.items():
        version = ports.store.version(store_paths.raw(name))
        rows = ports.store.read(store_paths.raw(name), days=[landed], version=version).drop("day")
        findings = split_by_suite(rows, suites.get(name))
        audits.append(
            SourceAudit(
                source=name,
                landed_day=landed,
                received=rows.height,
                accepted=findings.accepted.height,
                quarantined=findings.quarantined.height,
                reasons=findings.reasons,
                failures=findings.failures,
                raw_version=version or 0,
                staged=_stage(ports, f"{folder}/{name}", version or 0, landed, findings),
            )
        )
        if findings.result is not None:
            results[name] = findings.result
            columns = read_declaration(files[name], DeclaredSuite).columns_by_reason()
            staged_rows = findings.quarantined.with_columns(pl.lit(landed, pl.Date).alias("day"))
            quarantined[name] = describe_rows(staged_rows, spec.sources[name], columns)
    audit = AuditResult(dataset=spec.dataset, day=request.day, sources=audits, staged=folder)
    page = render_report(audit, spec, results, quarantined)
    report = ports.store.put(store_paths.data_docs(spec.dataset, request.day), page.encode())
    return audit.model_copy(update={"report": report})


def _partitions_due(spec: DatasetSpec, day: date, ports: Ports) -> dict[str, date]:
    """Source to the day of the raw partition to judge. Raises ``Refused`` naming every source that was not ingested."""
    due: dict[str, date] = {}
    missing = []
    for name, source in spec.sources.items():
        landed = [other for other in ports.store.days(store_paths.raw(name)) if other <= day]
        may_be_empty = source.cadence == "partition" and source.empty == "allowed"
        if may_be_empty and ports.store.version(store_paths.raw(name)) is not None:
            due[name] = day  # a day without rows has no partition
        elif not landed or (source.cadence == "partition" and landed[-1] != day):
            missing.append(f"{name}: {store_paths.raw(name)} has no partition of {day}")
        elif landed[-1] == day or landed[-1] not in ports.store.days(store_paths.validated(name)):
            due[name] = landed[-1]
    if missing:
        raise Refused(f"{spec.dataset} {day} cannot be audited; ingest it first", missing)
    return due


def _stage(ports: Ports, prefix: str, version: int, landed: date, findings: SuiteFindings) -> dict[str, str]:
    """Part (accepted, quarantined) to the path of its rows, which names the version of the raw table and their digest:
    no other audit replaces them, and what a newer one supersedes can be told."""
    paths = {}
    for part, rows in (("accepted", findings.accepted), ("quarantined", findings.quarantined)):
        buffer = io.BytesIO()
        rows.with_columns(pl.lit(landed, pl.Date).alias("day")).write_parquet(buffer)
        content = buffer.getvalue()
        paths[part] = f"{prefix}.{part}.{version}.{hashlib.sha256(content).hexdigest()}.parquet"
        ports.store.put(paths[part], content)
    return paths
