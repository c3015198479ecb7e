"""Audits a raw partition, writes bad rows to quarantine with reasons, and publishes the others if few are bad."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from pipelines import store_paths
from pipelines.messages.validation import AuditResult, PublishRequest, PublishResult, ValidateRequest
from pipelines.rules.quarantine import judge_audit
from practices._connections import installation
from practices._operators import links, step_runner
from practices._operators.defaults import asset
from practices._operators.partition import DatasetPractice, add_partition_key, partition_of, record_partition


class Quarantine(DatasetPractice):
    """Audit one raw partition by its expectation suites, then publish its good rows.

    Rows that fail are written to the quarantine table with every reason, the others to the validated table. If the
    share of bad rows is too large or an expectation on the whole table fails, it is refused: its quarantine is
    written, its published tables stay unchanged. The ledger gets the verdict last. Returns the ``PublishResult``.
    """

    ui_color = "#fce5cd"
    operator_extra_links = (links.VALIDATION_REPORT,)

    def execute(self, context: Context) -> dict[str, Any]:
        spec = installation.open_ports().catalog.dataset(self.dataset)
        partition = partition_of(self.partition, spec, context)
        key, audit_request = partition.key, ValidateRequest(dataset=self.dataset, partition=partition.key)
        audit = step_runner.run_step("audit_partition", audit_request, AuditResult, runner=spec.runner)
        if audit.report:
            links.VALIDATION_REPORT.show(self, links.stored_page(store_paths.data_docs(self.dataset, key)))
        verdict = judge_audit(audit, spec.max_quarantined_share)
        publish_request = PublishRequest(audit=audit, accept=verdict.passed)
        published = step_runner.run_step("publish_partition", publish_request, PublishResult, runner=spec.runner)
        sources = {
            source.source: {"partition": source.landed, "raw_version": source.raw_version, "sha256": source.sha256}
            for source in audit.sources
        }
        subject = f"the audit of {self.dataset} for {partition}"
        record_partition(
            verdict, key, context, subject=subject, name=self.dataset, report=audit.report, sources=sources
        )
        add_partition_key(context, asset(self.dataset, "validated"), key)
        return published.model_dump(mode="json", by_alias=True)
