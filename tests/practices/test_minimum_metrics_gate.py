from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Refused
from pipelines.messages.evaluation import EvaluateRequest
from practices.minimum_metrics_gate import MinimumMetricsGate
from tests.practices.practice_harness import MODEL, PracticeHarness
from tests.practices.test_candidate_evaluation import evaluated


def check(harness: PracticeHarness, **metrics: float | None) -> dict[str, object]:
    harness.registry.add("4", status="candidate", model_digest="d4")
    result = evaluated(EvaluateRequest(model=MODEL, version="4"), metrics=metrics)
    gate = MinimumMetricsGate(
        task_id="check_minimum_metrics", model=MODEL, evaluation=harness.record_evaluation(result)
    )
    return gate.execute(harness.context("evaluate", "check_minimum_metrics"))


def test_metrics_within_their_bounds_pass_and_are_on_record_for_this_model_file(harness: PracticeHarness) -> None:
    assert check(harness, roc_auc=0.7, pr_auc=0.4, log_loss=0.5)["outcome"] == "pass"
    assert harness.registry.tags["4"]["airworthy.gate.minimum_metrics_gate"] == "pass"
    assert harness.registry.tags["4"]["airworthy.status"] == "candidate"
    [(version, details)] = harness.lines("gate")[1:]
    assert (version, details["outcome"], details["model_digest"]) == ("4", "pass", "d4")


def test_a_no_is_a_skip_with_every_reason_and_the_version_is_rejected(harness: PracticeHarness) -> None:
    with pytest.raises(AirflowSkipException, match=r"(?s)roc_auc.*log_loss"):
        check(harness, roc_auc=0.5, pr_auc=0.4, log_loss=0.9)
    assert harness.registry.tags["4"]["airworthy.gate.minimum_metrics_gate"] == "fail"
    assert harness.registry.tags["4"]["airworthy.status"] == "rejected"
    [(_, details)] = harness.lines("gate")[1:]
    assert len(details["reasons"]) == 2


def test_a_number_that_was_not_measured_fails_the_task(harness: PracticeHarness) -> None:
    with pytest.raises(Refused, match="pr_auc"):
        check(harness, roc_auc=0.7, pr_auc=None, log_loss=0.5)
    assert harness.registry.tags["4"]["airworthy.gate.minimum_metrics_gate"] == "unknown"
    assert harness.registry.tags["4"]["airworthy.status"] == "candidate"


def test_a_repeated_task_leaves_one_line(harness: PracticeHarness) -> None:
    for _ in range(2):
        check(harness, roc_auc=0.7, pr_auc=0.4, log_loss=0.5)
    assert len(harness.lines("gate")[1:]) == 1
