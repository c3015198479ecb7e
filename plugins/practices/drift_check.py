"""Data and predictions are held against what the live model was trained on, day by day, from kept profiles."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from pipelines.messages.monitoring import DriftResult, MonitorRequest
from pipelines.rules.drift_check import judge_drift
from practices._connections import installation
from practices._operators import monitored, run_context, step_runner
from practices._operators.model import ModelPractice
from practices._operators.record_verdict import settle


class DriftCheck(ModelPractice):
    """Compare the trailing window of features and predictions with the training profile of the live version.

    Tests, effect sizes and thresholds are declared in ``monitoring.drift``. A detection is on the ledger before the
    task turns red. Returns the ``DriftResult``.
    """

    ui_color = "#f4cccc"

    def execute(self, context: Context) -> dict[str, Any]:
        ports = installation.open_ports()
        spec, day = ports.catalog.model(self.model), run_context.day(context)
        monitored.skip_unless_watched(ports, spec, day)
        request = MonitorRequest(model=self.model, day=day)
        result = step_runner.run_step("measure_drift", request, DriftResult, runner=spec.runs("monitor"))
        verdict = judge_drift(result, spec)
        context["ti"].xcom_push(key="reasons", value=list(verdict.reasons))
        settle(
            verdict,
            subject=f"the drift check of {self.model} on {day}",
            ledger_kind="monitoring_verdict",
            model=self.model,
            version=result.version,
            ports=ports,
            context=context,
            on_fail="fail",
            details={"check": "drift_check", "day": day.isoformat()},
        )
        return result.model_dump(mode="json", by_alias=True)
