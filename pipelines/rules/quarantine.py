"""A partition is published only if no row was lost and no source has more than the allowed share in quarantine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.messages.validation import AuditResult, SourceAudit
from pipelines.spec.partitions import partition_name, recorded_partition
from pipelines.verdict import Outcome, Verdict, counted

RULE = "quarantine"


def judge_audit(audit: AuditResult, max_quarantined_share: float) -> Verdict:
    """FAIL with every broken condition of every source; a share equal to the limit passes.

    ``max_quarantined_share`` lies between 0 and 1 and applies to each source separately.
    """
    failures = [reason for source in audit.sources for reason in _failures(source, max_quarantined_share)]
    facts = {
        source.source: {"received": source.received, "accepted": source.accepted, "quarantined": source.quarantined}
        for source in audit.sources
    }
    unknowns = [] if audit.sources else [f"{audit.dataset} {partition_name(audit.partition)}: no source was audited"]
    findings = [_finding(source) for source in audit.sources]
    return Verdict.of(RULE, failures=failures, unknowns=unknowns, findings=findings, facts=dict(facts))


def _finding(source: SourceAudit) -> str:
    """``trips: 893 rows accepted, 1 quarantined: no time of departure (1 row)``"""
    reasons = "; ".join(f"{reason} ({counted(rows, 'row')})" for reason, rows in sorted(source.reasons.items()))
    counts = f"{source.source}: {source.accepted} rows accepted, {source.quarantined} quarantined"
    return f"{counts}: {reasons}" if reasons else counts


def _failures(source: SourceAudit, limit: float) -> list[str]:
    failures = [f"{source.source}: {failure}" for failure in source.failures]
    if source.received != source.accepted + source.quarantined:
        failures.append(
            f"{source.source}: {source.received} rows received, but {source.accepted} accepted "
            f"+ {source.quarantined} quarantined = {source.accepted + source.quarantined}"
        )
    share = source.quarantined / source.received if source.received else 0.0
    if share > limit:
        common = sorted(source.reasons.items(), key=lambda item: (-item[1], item[0]))[:3]
        reasons = "; ".join(f"{reason} ({counted(rows, 'row')})" for reason, rows in common)
        failures.append(
            f"{source.source}: {source.quarantined} of {source.received} rows quarantined, "
            f"{share:.4f} > {limit:.4f}: {reasons}"
        )
    return failures


def publication_faults(records: Iterable[Mapping[str, Any]], key: str) -> list[str]:
    """Why a partition may not be handed on: its newest audit did not pass, or there is none. Empty: it was published.

    ``records`` are the details of the dataset's ledger lines ``data_verdict``, oldest first. The state of the task that
    audits proves nothing, because a person may have marked it as success.
    """
    audits = [record for record in records if (record.get("check"), recorded_partition(record)) == (RULE, key)]
    if not audits:
        return [f"{partition_name(key)} was not audited"]
    newest = audits[-1]
    if newest.get("outcome") == Outcome.PASS.value:
        return []
    return [
        f"the newest audit of {partition_name(key)} said {newest.get('outcome')}",
        *map(str, newest.get("reasons", ())),
    ]
