"""A day is published only if no row was lost and no source has more than the allowed share in quarantine."""

from __future__ import annotations

from pipelines.messages.validation import AuditResult, SourceAudit
from pipelines.verdict import Verdict


def judge_audit(audit: AuditResult, max_quarantined_share: float) -> Verdict:
    """FAIL with every broken condition of every source; a share equal to the limit passes.

    ``max_quarantined_share`` lies between 0 and 1 and applies to each source separately.
    """
    failures = [reason for source in audit.sources for reason in _failures(source, max_quarantined_share)]
    facts = {
        source.source: {"received": source.received, "accepted": source.accepted, "quarantined": source.quarantined}
        for source in audit.sources
    }
    unknowns = [] if audit.sources else [f"{audit.dataset} {audit.day}: no source was audited"]
    return Verdict.of("quarantine", failures=failures, unknowns=unknowns, facts=dict(facts))


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
        reasons = "; ".join(f"{reason} ({rows} rows)" for reason, rows in common)
        failures.append(
            f"{source.source}: {source.quarantined} of {source.received} rows quarantined, "
            f"{share:.4f} > {limit:.4f}: {reasons}"
        )
    return failures
