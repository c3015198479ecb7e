"""The live model is held against its own test metric as soon as labels arrive, late labels included."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from pipelines.messages.monitoring import MonitorRequest, PerformanceResult
from pipelines.rules.performance_check import judge_performance
from practices._connections import installation
from practices._operators import monitored, run_context, step_runner
from practices._operators.model import ModelPractice
from practices._operators.record_verdict import settle


class PerformanceCheck(ModelPractice):
    """Join answers with the labels known by now and hold the trailing window against the live version's test metric.

    The metric and the loss allowed are declared in ``monitoring.performance``. A detection is on the ledger before
    the task turns red; too few labels are no evidence and turn it red as well. Returns the ``PerformanceResult``.
    """

    ui_color = "#f4cccc"

    def execute(self, context: Context) -> dict[str, Any]:
        ports = installation.open_ports()
        spec, day = ports.catalog.model(self.model), run_context.day(context)
        monitored.skip_unless_watched(ports, spec, day)
        request = MonitorRequest(model=self.model, day=day)
        result = step_runner.run_step("measure_performance", request, PerformanceResult, runner=spec.runs("monitor"))
        verdict = judge_performance(result, spec)
        context["ti"].xcom_push(key="reasons", value=list(verdict.reasons))
        settle(
            verdict,
            subject=f"the performance of {self.model} on {day}",
            ledger_kind="monitoring_verdict",
            model=self.model,
            version=result.version,
            ports=ports,
            context=context,
            on_fail="fail",
            details={"check": "performance_check", "day": day.isoformat()},
        )
        return result.model_dump(mode="json", by_alias=True)
