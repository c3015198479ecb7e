"""Metrics and plans of an analysis that the tests of plans and of verdicts share."""

from __future__ import annotations

from typing import Any

from pipelines.rollout.analysis import AnalysisPlan, make_analysis_plan

ERRORS: dict[str, Any] = {"name": "errors", "event": "error", "max_ratio": 1.5}
BOUNDED: dict[str, Any] = {"name": "error_rate", "event": "error", "max_rate": 0.02}
CLICKS: dict[str, Any] = {"name": "clicks", "event": "click", "role": "success", "better": "higher"}
SLOW: dict[str, Any] = {"name": "slow", "event": "slow", "role": "deterioration"}
COUNTED = ("error", "click", "slow")


def plan(*metrics: dict[str, Any], **limits: Any) -> AnalysisPlan:
    """A plan with these metrics, where all three events are counted."""
    return make_analysis_plan({"metrics": list(metrics), **limits}, measured=COUNTED)
