"""Compares what callers send with the constraints, the offline features, training and its own past."""

from __future__ import annotations

from pipelines import store_paths
from pipelines.messages.live_inputs import LiveInputsResult
from pipelines.rules.live_input_check import judge_live_inputs
from practices._operators import links
from practices._operators.monitored import CheckResult, MonitoringCheck


class LiveInputCheck(MonitoringCheck):
    """Find columns in which callers send other values than the features that the version was trained on.

    Limits are those of the view's constraints and of ``monitoring.live_inputs``. A detection is on the ledger before
    the task fails; with too few rows yet the task is skipped. Returns the ``LiveInputsResult``.
    """

    step, result, subject = "measure_live_inputs", LiveInputsResult, "live input check"
    rule = staticmethod(judge_live_inputs)
    operator_extra_links = (links.LIVE_INPUT_REPORT,)

    def show_links(self, result: CheckResult) -> None:
        if isinstance(result, LiveInputsResult) and result.report:
            links.LIVE_INPUT_REPORT.show(self, links.stored_page(store_paths.live_input_report(self.model, result.day)))
