"""Compares features and predictions of each day with the training data of the live version, by stored profiles."""

from __future__ import annotations

from pipelines import store_paths
from pipelines.messages.monitoring import DriftResult, PerformanceResult
from pipelines.rules.drift_check import judge_drift
from practices._operators import links
from practices._operators.monitored import MonitoringCheck


class DriftCheck(MonitoringCheck):
    """Compare the trailing window of features and predictions with the training profile of the live version.

    Tests, effect sizes and thresholds are declared in ``monitoring.drift``. A detection is on the ledger before the
    task fails. Returns the ``DriftResult``.
    """

    step, result, subject = "measure_drift", DriftResult, "drift check"
    rule = staticmethod(judge_drift)
    operator_extra_links = (links.DRIFT_REPORT,)

    def show_links(self, result: DriftResult | PerformanceResult) -> None:
        if isinstance(result, DriftResult) and result.report:
            links.DRIFT_REPORT.show(self, links.stored_page(store_paths.drift_report(self.model, result.day)))
