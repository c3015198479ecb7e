"""One word says what to do about a live version; what was not measured makes it neither fine nor bad."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.rules.live_state import judge_live_state

BROKEN = {"faults": ["temp", "dewp"], "act": ["temp"]}


@pytest.mark.parametrize(
    ("verdicts", "name", "reasons"),
    [
        ({}, "not measured", []),
        ({"drift_check": ("unknown", {})}, "not measured", []),
        ({"drift_check": ("pass", {}), "performance_check": ("unknown", {})}, "fine", []),
        ({"drift_check": ("pass", {"data_drift": "fail", "drifting": ["temp"]})}, "fine", []),
        (
            {"drift_check": ("pass", {"watched": list("abcde")})},
            "watch",
            ["the data have columns that moved: a, b, c and 2 more"],
        ),
        ({"live_input_check": ("fail", {"faults": ["temp"]})}, "watch", ["callers send broken columns: temp"]),
        (
            {"drift_check": ("fail", BROKEN)},
            "act",
            ["the data have broken columns that move the answers: temp", "the data have broken columns: dewp"],
        ),
        (
            {"estimated_performance": ("pass", {"state": "watch", "metric": "roc_auc"})},
            "watch",
            ["roc_auc is estimated below the certificate's, before its labels"],
        ),
        ({"estimated_performance": ("unknown", {"state": "cannot estimate"})}, "not measured", []),
        (
            {"drift_check": ("pass", {"watched": ["a"]}), "performance_check": ("fail", {"metric": "roc_auc"})},
            "act",
            ["roc_auc is worse than the certificate's", "the data have columns that moved: a"],
        ),
    ],
)  # fmt: skip
def test_the_worst_of_what_was_measured_counts(
    verdicts: dict[str, tuple[str, dict[str, Any]]], name: str, reasons: list[str]
) -> None:
    assert tuple(judge_live_state(verdicts)) == (name, reasons)
