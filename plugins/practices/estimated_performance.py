"""Estimates how well the live version answers before its labels arrive, and holds earlier estimates to the truth."""

from __future__ import annotations

from pipelines.ledger.monitoring_lines import newest_facts
from pipelines.messages.estimated_performance import EstimatedPerformanceResult, EstimateRequest
from pipelines.messages.monitoring import MonitorRequest
from pipelines.ports import Ports
from pipelines.rules.estimated_performance import judge_estimate
from practices._operators.monitored import MonitoringCheck


class EstimatedPerformance(MonitoringCheck):
    """Estimate the declared metric of the newest window from the live version's own probabilities.

    An estimate says "fine" or "watch" in the log, on the ledger and in ``airworthy status``. Where it cannot be trusted
    the task is skipped and names every reason, among them a broken column or a loss that the other checks of the day
    have found. Returns the ``EstimatedPerformanceResult``.
    """

    step, result, subject = "estimate_performance", EstimatedPerformanceResult, "estimated performance"
    rule = staticmethod(judge_estimate)

    def make_request(self, request: MonitorRequest, ports: Ports) -> EstimateRequest:
        lines = list(ports.ledger.entries(self.model, request.version, "monitoring_verdict"))
        faulty: set[str] = set()
        for check in ("drift_check", "live_input_check"):
            facts = newest_facts(lines, check, request.day)
            faulty |= {*map(str, facts.get("faults") or ())} & {*map(str, facts.get("act") or ())}
        loses = "cusum" in (newest_facts(lines, "performance_check", request.day).get("alarm") or ())
        return EstimateRequest(**request.model_dump(by_alias=True), faulty_columns=sorted(faulty), loses=loses)
