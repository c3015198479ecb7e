"""Compares each column with its own recent past, and the window with the live version's training, by profiles."""

from __future__ import annotations

from pipelines import store_paths
from pipelines.messages.monitoring import DriftResult
from pipelines.rules.drift_check import judge_drift
from practices._operators import links
from practices._operators.monitored import CheckResult, MonitoringCheck


class DriftCheck(MonitoringCheck):
    """Find columns that broke; compare the trailing window with the training profile of the live version.

    A column that left its own past is a detection, and is on the ledger before the task fails. A window that differs
    from training, by the limits of ``monitoring.drift``, is told. Returns the ``DriftResult``.
    """

    step, result, subject = "measure_drift", DriftResult, "drift check"
    rule = staticmethod(judge_drift)
    operator_extra_links = (links.DRIFT_REPORT,)

    def show_links(self, result: CheckResult) -> None:
        if isinstance(result, DriftResult) and result.report:
            links.DRIFT_REPORT.show(self, links.stored_page(store_paths.drift_report(self.model, result.day)))
