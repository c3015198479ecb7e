"""Audits one partition's raw rows: each is accepted or quarantined, and both parts are staged for publishing."""

from __future__ import annotations

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.validation import AuditResult, SourceAudit, ValidateRequest
from pipelines.ports import Ports
from pipelines.spec.catalog import read_declaration
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.partitions import partition_name
from pipelines.spec.suite import DeclaredSuite
from pipelines.steps.auditing.lineage import delivery_of
from pipelines.steps.auditing.report import render_report
from pipelines.steps.auditing.staged_rows import stage_rows
from pipelines.steps.auditing.suite import read_suite
from pipelines.steps.auditing.validation import split_by_suite
from pipelines.tables.partition import partition_column, with_partition
from pipelines.tables.quarantined_rows import describe_rows


def run(request: ValidateRequest, ports: Ports) -> AuditResult:
    """Judge the raw rows of one partition and stage what is to be published.

    Each source is judged on the partition itself, a reference source on the newest copy landed by then, and only if
    that copy is the partition's own or is not published yet. Raises ``Refused`` listing every source without a raw
    partition, or the faults of a suite.
    """
    spec = ports.catalog.dataset(request.dataset)
    due = _partitions_due(spec, request.partition, ports)
    files = {
        name: ports.settings.include / "expectations" / f"{suite}.yaml"
        for name in due
        if (suite := spec.sources[name].suite)
    }
    suites = {name: read_suite(path) for name, path in files.items()}
    folder = store_paths.staged(spec.dataset, request.partition)
    audits, results, quarantined = [], {}, {}
    for name, landed in due.items():
        table, own = store_paths.raw(spec.dataset, name), partition_column(landed)
        version = ports.store.version(table)
        rows = ports.store.read(table, partitions=[landed], version=version).drop(own)
        findings = split_by_suite(rows, suites.get(name), spec.sources[name].stored_personal)
        delivery = delivery_of(ports.store, spec.dataset, name, landed, version or 0)
        audits.append(
            SourceAudit(
                source=name,
                landed=landed,
                received=rows.height,
                accepted=findings.accepted.height,
                quarantined=findings.quarantined.height,
                reasons=findings.reasons,
                failures=findings.failures,
                raw_version=version or 0,
                sha256=delivery.sha256 if delivery else {},
                staged=stage_rows(
                    ports.store,
                    f"{folder}/{name}",
                    version or 0,
                    landed,
                    {"accepted": findings.accepted, "quarantined": findings.quarantined},
                ),
            )
        )
        if findings.result is not None:
            results[name] = findings.result
            columns = read_declaration(files[name], DeclaredSuite).columns_by_reason()
            quarantined[name] = describe_rows(with_partition(findings.quarantined, landed), spec.sources[name], columns)
    audit = AuditResult(dataset=spec.dataset, partition=request.partition, sources=audits, staged=folder)
    page = render_report(audit, spec, results, quarantined)
    report = ports.store.put(store_paths.data_docs(spec.dataset, request.partition), page.encode())
    return audit.model_copy(update={"report": report})


def _partitions_due(spec: DatasetSpec, key: str, ports: Ports) -> dict[str, str]:
    """Source to the raw partition to judge. Raises ``Refused`` naming every source that was not ingested."""
    due: dict[str, str] = {}
    missing = []
    for name, source in spec.sources.items():
        raw = store_paths.raw(spec.dataset, name)
        landed = [other for other in ports.store.partitions(raw) if other <= key]
        is_copy = source.cadence == "reference"
        if not is_copy and source.empty == "allowed" and ports.store.version(raw) is not None:
            due[name] = key  # one without rows is not among the table's partitions
        elif not landed or (not is_copy and landed[-1] != key):
            missing.append(f"{name}: {raw} has no {partition_name(key)}")
        elif landed[-1] == key or landed[-1] not in ports.store.partitions(store_paths.validated(spec.dataset, name)):
            due[name] = landed[-1]
    if missing:
        raise Refused(f"{spec.dataset} {partition_name(key)} cannot be audited; ingest it first", missing)
    return due
