"""Base class of the checks of a live version: all are skipped together, and each verdict is on the ledger."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, ClassVar

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from pipelines import store_paths
from pipelines.errors import AirworthyError
from pipelines.ledger.anchor_version import anchor_versions
from pipelines.ledger.recorded_facts import test_metrics
from pipelines.messages.estimated_performance import EstimatedPerformanceResult
from pipelines.messages.live_inputs import LiveInputsResult
from pipelines.messages.monitoring import DriftResult, MonitorRequest, PerformanceResult
from pipelines.ports import Ports
from pipelines.rules.monitoring_gap import judge_gap
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Verdict
from pipelines.versions.reading import find_live_version, read_standing
from pipelines.versions.standing import Standing
from practices._connections import installation
from practices._operators import run_context, step_runner
from practices._operators.model import ModelPractice
from practices._operators.record_verdict import record_verdict

CheckResult = DriftResult | PerformanceResult | LiveInputsResult | EstimatedPerformanceResult


class MonitoringCheck(ModelPractice):
    """Judge the live version for one day.

    ``step`` measures the trailing window, ``rule`` judges its ``result``; ``subject`` names the check in messages. The
    verdict is a ledger line ``monitoring_verdict``. FAIL (a detection) fails the task. UNKNOWN skips it where only more
    rows or labels are missing, and fails it otherwise or after ``monitoring.max_unmeasured_days``; one that
    ``needs_labels`` may wait as much longer as a label over a future window takes. Returns the result.
    """

    ui_color = "#f4cccc"
    step: ClassVar[str]
    result: ClassVar[type[CheckResult]]
    rule: ClassVar[staticmethod[[Any, ModelSpec], Verdict]]
    subject: ClassVar[str]
    needs_labels: ClassVar[bool] = False

    def execute(self, context: Context) -> dict[str, Any]:
        ports, day = installation.open_ports(), run_context.day(context)
        spec = ports.catalog.model(self.model)
        standing = self._live_standing(ports)
        self._skip_unless_asked(ports, spec, day)
        request = self.make_request(self._common_request(ports, spec, day, standing, context), ports)
        result = step_runner.run_step(self.step, request, self.result, runner=spec.stage_runner("monitor"))
        self.show_links(result)
        verdict = self.rule(result, spec)
        lines = ports.ledger.entries(self.model, result.version, "monitoring_verdict")
        view = ports.catalog.view(spec.view)
        label_lag = view.label_lag if self.needs_labels else 0
        details = (line.details for line in lines)
        gap = judge_gap(verdict, details, day, spec, days_apart=view.days_apart, label_lag=label_lag)
        record_verdict(
            gap.verdict,
            subject=f"the {self.subject} of {self.model} on {day}",
            ledger_kind="monitoring_verdict",
            model=self.model,
            version=result.version,
            ports=ports,
            context=context,
            on_unknown="skip" if gap.action == "skip" else "fail",
            details={
                "check": verdict.rule,
                "day": day.isoformat(),
                "live": standing.live,
                "window": [f"{result.window[0]}", f"{result.window[-1]}"] if result.window else [],
                "disagreements": standing.disagreements,
            },
        )
        return result.model_dump(mode="json", by_alias=True)

    def _common_request(
        self, ports: Ports, spec: ModelSpec, day: date, standing: Standing, context: Context
    ) -> MonitorRequest:
        lines = ports.ledger.entries(self.model)
        return MonitorRequest(
            model=self.model,
            day=day,
            version=standing.live,
            test_metrics=test_metrics(line for line in lines if line.kind == "gate"),
            anchors=anchor_versions(lines, standing.live, spec.evaluation.comparison, ports.clock()),
            shapes=bool(context["params"].get("shapes")),
        )

    def make_request(self, request: MonitorRequest, ports: Ports) -> MonitorRequest:  # noqa: ARG002 - for subclasses
        """The request of the step, from what every check asks."""
        return request

    def show_links(self, result: CheckResult) -> None:
        """Show buttons that lead to what was measured."""

    def _live_standing(self, ports: Ports) -> Standing:
        """The versions of the model, with a warning of what disagrees; skips the task if the target serves none.

        Where the target does not answer, the live version by the ledger is measured on what is logged.
        """
        nothing = f"no version of {self.model} is live; there is nothing to monitor"
        if find_live_version(ports, self.model) is None:  # first, as the registry's client imports slowly
            raise AirflowSkipException(nothing)
        standing = read_standing(ports, self.model)
        for text in (*standing.unreachable, *standing.disagreements):
            self.log.warning("%s", text)
        if standing.live is None:
            raise AirflowSkipException("; ".join([nothing, *standing.disagreements]))
        return standing

    def _skip_unless_asked(self, ports: Ports, spec: ModelSpec, day: date) -> None:
        """Skip the task if the prediction log is empty around the trailing windows.

        The condition is the same for all checks of a day, so that all are skipped or none.
        """
        try:
            ports.endpoint.flush_log(self.model)
        except AirworthyError as error:
            self.log.warning(
                "the endpoint did not flush its prediction log, the newest answers may be missing: %s", error
            )
        longest = max(spec.monitoring.performance.window_days, spec.monitoring.drift.window_days)
        longest += ports.catalog.view(spec.view).label_lag
        dates = [day + timedelta(days=number) for number in range(-longest - 1, 2)]
        root = store_paths.predictions(self.model)
        if not any(ports.store.list(f"{root}date={on:%Y-%m-%d}/") for on in dates):
            period = f"{dates[0]} and {dates[-1]} (UTC)"
            raise AirflowSkipException(f"{self.model} predicted nothing between {period}; there is nothing to monitor")
