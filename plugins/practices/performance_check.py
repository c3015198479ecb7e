"""The live model is held against its own test metric as soon as labels arrive, late labels included."""

from __future__ import annotations

from pipelines.messages.monitoring import PerformanceResult
from pipelines.rules.performance_check import judge_performance
from practices._operators.monitored import MonitoringCheck


class PerformanceCheck(MonitoringCheck):
    """Join answers with the labels known by now and hold the trailing window against the live version's test metric.

    The metric and the loss allowed are declared in ``monitoring.performance``. A detection is on the ledger before
    the task turns red; too few labels are no evidence and turn it red as well. Returns the ``PerformanceResult``.
    """

    step, result, subject = "measure_performance", PerformanceResult, "performance"
    rule = staticmethod(judge_performance)
