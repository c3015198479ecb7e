"""Base class of gates: each verdict is written to registry and ledger, and FAIL skips the downstream tasks."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from airflow.sdk import Context

from pipelines.messages.evaluation import EvaluateResult
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Verdict
from pipelines.versions.recorded_digests import judged_model, recorded_digests
from pipelines.versions.records import update_status
from practices._connections import installation
from practices._operators.model import CandidatePractice
from practices._operators.record_verdict import record_verdict


class Gate(CandidatePractice):
    """Judge a measured candidate by one rule.

    PASS lets the downstream tasks run; FAIL skips them and marks the version rejected; UNKNOWN (something was not
    measured) fails the task. Each verdict is written to the version's tag ``airworthy.gate.<stem>`` and, with every
    reason, to the ledger. Returns the verdict.
    """

    ui_color = "#fff2cc"
    stem: ClassVar[str]
    rule: ClassVar[staticmethod[[EvaluateResult, ModelSpec], Verdict]]

    def execute(self, context: Context) -> dict[str, Any]:
        ports = installation.open_ports()
        result = self.measured(ports, context)
        verdict = self.rule(result, ports.catalog.model(self.model))
        digests = recorded_digests(self.model, result.version, ports)
        ports.registry.set_tags(self.model, result.version, {f"airworthy.gate.{self.stem}": verdict.outcome.value})
        record_verdict(
            verdict,
            subject=f"{self.model} version {result.version} at the {self.stem.replace('_', ' ')}",
            ledger_kind="gate",
            model=self.model,
            version=result.version,
            ports=ports,
            context=context,
            on_fail="skip",
            details={"gate": self.stem, **judged_model(digests), "champion": result.champion},
            on_recorded=partial(update_status, ports),
        )
        return verdict.model_dump(mode="json")
