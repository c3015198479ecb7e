"""Ingests a partition if each file matches its manifest and its contract; else refuses it and writes nothing."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from pipelines.errors import Refused
from pipelines.messages.ingestion import ExtractRequest, ExtractResult, IngestRequest, IngestResult
from pipelines.rules.contract_check import judge_contract
from pipelines.spec.runner import StageRunner
from pipelines.verdict import Verdict
from practices._arrivals import receipts
from practices._connections import installation
from practices._operators import step_runner
from practices._operators.defaults import asset
from practices._operators.partition import DatasetPractice, add_partition_key, partition_of, record_partition


class ContractCheck(DatasetPractice):
    """Read one delivered partition into the raw tables and check its contract: digests, columns, types, keys.

    A refusal is on the ledger (``data_verdict``) with each fault and does not affect others. A new delivery is
    ingested by ``<dataset>__arrive``; the same one only when the task is cleared. Returns the ``IngestResult``.
    """

    map_index_template = "{{ task.partition or dag_run.partition_key }}"
    ui_color = "#d9d2e9"

    def execute(self, context: Context) -> dict[str, Any]:
        ports = installation.open_ports()
        spec = ports.catalog.dataset(self.dataset)
        partition = partition_of(self.partition, spec, context)
        key, subject = partition.key, f"the delivery of {self.dataset} for {partition}"
        refusal = self.extract(ExtractRequest(dataset=self.dataset, partition=key)) if spec.extracted() else None
        with receipts.write_receipt(ports.store, spec, key):
            request = IngestRequest(dataset=self.dataset, partition=key)
            result, verdict = (None, refusal) if refusal else self.ingest(request, spec.runner)
            sources = {
                source.source: {"partition": source.landed, "version": source.version, "sha256": source.sha256}
                | ({"late": source.late} if source.late else {})
                for source in (result.sources if result else [])
            }
            record_partition(verdict, key, context, subject=subject, name=self.dataset, sources=sources)
        add_partition_key(context, asset(self.dataset, "ingested"), key)
        return result.model_dump(mode="json", by_alias=True) if result else {}

    @staticmethod
    def extract(request: ExtractRequest) -> Verdict | None:
        """Land what the databases hold; None, or the FAIL of tables that cannot be read as declared.

        It runs in the task's own process: a pod of a step has no connection of Airflow.
        """
        try:
            step_runner.run_step("extract_partition", request, ExtractResult, runner=StageRunner(on="process"))
        except Refused as error:
            return Verdict.of("contract_check", failures=error.reasons or [error.subject])
        return None

    @staticmethod
    def ingest(request: IngestRequest, runner: StageRunner) -> tuple[IngestResult | None, Verdict]:
        """Result of the step and verdict of the rule; a delivery that cannot be read is a FAIL without a result."""
        try:
            result = step_runner.run_step("ingest_partition", request, IngestResult, runner=runner)
        except Refused as error:
            return None, Verdict.of("contract_check", failures=[error.subject, *error.reasons])
        return result, judge_contract(result)
