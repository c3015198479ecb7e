from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Refused
from pipelines.messages.evaluation import EvaluateRequest, Interval
from practices.champion_comparison_gate import ChampionComparisonGate
from tests.practices.practice_harness import MODEL, PracticeHarness
from tests.practices.test_candidate_evaluation import evaluated


def compare(harness: PracticeHarness, low: float | None) -> dict[str, Any]:
    """Ask the gate about a gain whose interval begins at ``low``; None: the gain was not measured."""
    harness.registry.add("4", status="candidate")
    gain = {"metric": "roc_auc", "candidate": 0.7, "champion": 0.69, "gain": 0.01, "high": 0.05}
    by_day = {"confidence": 0.95, "rows": 3000, "unit": "day", "units": 40}
    result = evaluated(
        EvaluateRequest(model=MODEL, version="4"),
        champion="3",
        comparison=None if low is None else Interval(low=low, **gain, **by_day),
        compared_from=datetime(2013, 2, 20, tzinfo=UTC),
    )
    gate = ChampionComparisonGate(
        task_id="compare_with_champion", model=MODEL, evaluation=harness.record_evaluation(result)
    )
    return gate.execute(harness.context("evaluate", "compare_with_champion"))


def test_a_gain_whose_interval_lies_above_the_margin_passes(harness: PracticeHarness) -> None:
    assert compare(harness, -0.004)["outcome"] == "pass"
    assert harness.registry.tags["4"]["airworthy.gate.champion_comparison_gate"] == "pass"


def test_a_candidate_that_may_be_worse_is_skipped_and_rejected(harness: PracticeHarness) -> None:
    with pytest.raises(AirflowSkipException, match="roc_auc"):
        compare(harness, -0.0201)
    assert harness.registry.tags["4"]["airworthy.status"] == "rejected"
    [(_, details)] = harness.lines("gate")[1:]
    assert (details["gate"], details["outcome"], details["champion"]) == ("champion_comparison_gate", "fail", "3")


def test_a_comparison_that_was_not_made_is_never_a_yes(harness: PracticeHarness) -> None:
    with pytest.raises(Refused, match="not measured"):
        compare(harness, None)
