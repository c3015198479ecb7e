"""Audits a raw day, puts bad rows into quarantine with every reason, and publishes the others if few enough are bad."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from pipelines.messages.validation import AuditResult, PublishRequest, PublishResult, ValidateRequest
from pipelines.rules.quarantine import judge_audit
from practices._connections import installation
from practices._operators import step_runner
from practices._operators.defaults import asset
from practices._operators.partition import day_of, hand_on
from practices._operators.record_verdict import settle
from practices._operators.step import StepPractice


class Quarantine(StepPractice):
    """Audit one raw day by its suites, then publish: write, audit, publish.

    Rows that fail go to the quarantine table with every reason, the others to the validated table. Too large a share,
    or a broken promise about the whole table, refuses the day: its quarantine is written, its published tables stay as
    they were. Either is written before the verdict is on the ledger. Returns the ``PublishResult``.
    """

    template_fields = ("dataset", "day")
    ui_color = "#fce5cd"

    def __init__(self, *, dataset: str, day: str | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.dataset, self.day = dataset, day

    def execute(self, context: Context) -> dict[str, Any]:
        ports, day = installation.open_ports(), day_of(self.day, context)
        spec, asked = ports.catalog.dataset(self.dataset), ValidateRequest(dataset=self.dataset, day=day)
        audit = step_runner.run_step("audit_partition", asked, AuditResult, runner=spec.runner)
        verdict = judge_audit(audit, spec.max_quarantined_share)
        request = PublishRequest(audit=audit, accept=verdict.passed)
        published = step_runner.run_step("publish_partition", request, PublishResult, runner=spec.runner)
        settle(
            verdict,
            subject=f"the audit of {self.dataset} for {day}",
            ledger_kind="data_verdict",
            model=self.dataset,
            version=None,
            ports=ports,
            context=context,
            on_fail="fail",
            details={"check": "quarantine", "day": day.isoformat(), "report": audit.report},
        )
        hand_on(context, asset(self.dataset, "validated"), day)
        return published.model_dump(mode="json", by_alias=True)
