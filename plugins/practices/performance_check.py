"""Compares the live version's days with those of its certificate as labels arrive, late labels included."""

from __future__ import annotations

from pipelines.messages.monitoring import PerformanceResult
from pipelines.rules.performance_check import judge_performance
from practices._operators.monitored import CheckResult, MonitoringCheck


class PerformanceCheck(MonitoringCheck):
    """Join predictions with the labels known by now and compare the version's days with those of its certificate.

    Metric and allowed loss are declared in ``monitoring.performance``. A detection is on the ledger before the task
    fails; with too few labels yet the task is skipped. Returns the ``PerformanceResult``.
    """

    step, result, subject = "measure_performance", PerformanceResult, "performance"
    needs_labels = True
    rule = staticmethod(judge_performance)

    def show_links(self, result: CheckResult) -> None:
        """Name the answers that are furthest off by the ids under which their requests are logged."""
        for answer in result.furthest_off if isinstance(result, PerformanceResult) else ():
            where = f"correlation id {answer.correlation_id or 'unknown'}"
            self.log.info(
                "far off on %s: version %s answered %.4g, the label is %.4g (%s)",
                answer.day,
                result.version,
                answer.prediction,
                answer.label,
                where,
            )
