"""A delivery that breaks its contract in any point is refused as a whole, with every fault listed."""

from __future__ import annotations

from pipelines.messages.ingestion import IngestResult
from pipelines.spec.partitions import partition_name
from pipelines.verdict import Verdict


def judge_contract(result: IngestResult) -> Verdict:
    """FAIL with every failure of every source; UNKNOWN without sources, or if one was neither refused nor written."""
    failures = [f"{source.source}: {failure}" for source in result.sources for failure in source.failures]
    unkept = [
        f"{source.source}: was neither refused nor written to a table"
        for source in result.sources
        if not failures and source.version is None
    ]
    unknowns = unkept or (
        [] if result.sources else [f"{result.dataset} {partition_name(result.partition)}: no source was read"]
    )
    rows = {source.source: source.rows for source in result.sources}
    findings = [
        f"{source.source}: {source.rows} rows of {source.landed}{', ingested before' if source.unchanged else ''}"
        for source in result.sources
    ]
    return Verdict.of("contract_check", failures=failures, unknowns=unknowns, findings=findings, facts={"rows": rows})
