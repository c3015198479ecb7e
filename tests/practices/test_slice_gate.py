from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Refused
from pipelines.messages.evaluation import EvaluateRequest, SliceMetric
from practices.slice_gate import SliceGate
from tests.practices.practice_harness import MODEL, PracticeHarness
from tests.practices.test_candidate_evaluation import evaluated


def check(harness: PracticeHarness, **gains: float | None) -> dict[str, Any]:
    """Ask the gate about the gain of each carrier; every origin gains a little."""
    harness.registry.add("4", status="candidate")
    found = [("carrier", name, gain) for name, gain in gains.items()] + [("origin", "JFK", 0.01)]
    slices = [
        SliceMetric(
            column=column,
            value=value,
            rows=500,
            metric="roc_auc",
            candidate=None if gain is None else 0.7 + gain,
            champion=0.7,
            gain=gain,
            units=30,
            loss_p=None if gain is None else 0.5 if gain > -0.05 else 0.0001,
        )
        for column, value, gain in found
    ]
    result = evaluated(EvaluateRequest(model=MODEL, version="4"), champion="3", slices=slices)
    gate = SliceGate(task_id="check_slices", model=MODEL, evaluation=harness.record_evaluation(result))
    return gate.execute(harness.context("evaluate", "check_slices"))


def test_slices_that_lose_little_pass(harness: PracticeHarness) -> None:
    assert check(harness, UA=-0.01, AA=0.02)["outcome"] == "pass"


def test_every_slice_that_loses_too_much_is_named(harness: PracticeHarness) -> None:
    with pytest.raises(AirflowSkipException, match=r"(?s)carrier=UA.*carrier=AA"):
        check(harness, UA=-0.2, AA=-0.1, B6=0.1)
    assert harness.registry.tags["4"]["airworthy.gate.slice_gate"] == "fail"
    assert harness.registry.tags["4"]["airworthy.status"] == "rejected"


def test_a_slice_that_was_not_measured_is_never_a_yes(harness: PracticeHarness) -> None:
    with pytest.raises(Refused, match="carrier=UA"):
        check(harness, UA=None)
