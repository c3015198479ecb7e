from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Refused
from pipelines.messages.evaluation import EvaluateRequest, EvaluateResult
from pipelines.messages.training import ModelDigests
from practices.candidate_evaluation import CandidateEvaluation
from tests.practices.practice_harness import MODEL, PracticeHarness

CANDIDATE = f"{MODEL}:candidate"


def evaluated(request: EvaluateRequest, **changes: Any) -> EvaluateResult:
    fields: dict[str, Any] = {
        "model": MODEL,
        "version": request.version,
        "snapshot": "abc",
        "rows": 3000,
        "metrics": {"roc_auc": 0.7, "pr_auc": 0.4, "log_loss": 0.5},
        "first": datetime(2013, 2, 20, tzinfo=UTC),
        "last": datetime(2013, 2, 28, tzinfo=UTC),
        "trained_until": datetime(2013, 2, 19, tzinfo=UTC),
    }
    return EvaluateResult(**(fields | changes))


def trained(*versions: str) -> dict[str, ModelDigests]:
    return {version: ModelDigests(model_digest=f"digest-{version}") for version in versions}


def measure(harness: PracticeHarness, **context: Any) -> dict[str, Any]:
    return CandidateEvaluation(task_id="measure_candidate", model=MODEL).execute(
        harness.context("evaluate", "measure_candidate", **context)
    )


@pytest.fixture(autouse=True)
def candidates(harness: PracticeHarness) -> None:
    harness.answers["evaluate_model"] = evaluated
    for version in ("4", "9", "10"):
        harness.registry.add(version, status="candidate")
    harness.registry.add("11", status="rejected")


def test_the_first_candidate_has_no_champion_beside_it(harness: PracticeHarness) -> None:
    measure(harness, version="4")
    assert harness.asked == [EvaluateRequest(model=MODEL, version="4", champion=None, digests=trained("4"))]


def test_a_candidate_is_measured_beside_the_champion(harness: PracticeHarness) -> None:
    harness.registry.name(champion="4")
    harness.answers["evaluate_model"] = lambda request: evaluated(request)
    measure(harness, version="10")
    request = EvaluateRequest(model=MODEL, version="10", champion="4", digests=trained("10", "4"))
    assert harness.asked == [request]


def test_a_version_that_only_the_registry_knows_is_never_loaded(harness: PracticeHarness) -> None:
    tags = {"airworthy.status": "candidate", "airworthy.model_digest": "0" * 64}
    planted = harness.registry.register(MODEL, tags=tags).version
    with pytest.raises(Refused, match=rf"the ledger has no training of {MODEL} version {planted}"):
        measure(harness, version=planted)
    assert harness.asked == []


def test_of_several_waiting_candidates_the_newest_is_measured(harness: PracticeHarness) -> None:
    assert measure(harness, events=[(CANDIDATE, {"version": "9"}), (CANDIDATE, {"version": "4"})])["version"] == "10"


def test_the_version_of_the_form_goes_before_any_event(harness: PracticeHarness) -> None:
    assert measure(harness, version="4", events=[(CANDIDATE, {"version": "9"})])["version"] == "4"


def test_a_run_by_hand_without_a_version_takes_the_newest_that_waits(harness: PracticeHarness) -> None:
    assert measure(harness)["version"] == "10"


def test_a_run_that_finds_no_version_is_refused_and_told_what_to_do(harness: PracticeHarness) -> None:
    for version in ("4", "9", "10"):
        harness.registry.add(version, status="rejected")
    with pytest.raises(Refused, match="fill in the field version"):
        measure(harness)


def test_the_champion_itself_is_not_judged_again(harness: PracticeHarness) -> None:
    harness.registry.name(champion="10")
    with pytest.raises(AirflowSkipException, match="is the champion; "):
        measure(harness, version="10")


def test_a_metric_that_was_not_measured_fails_the_task_and_is_on_record(harness: PracticeHarness) -> None:
    harness.answers["evaluate_model"] = lambda request: evaluated(request, metrics={"roc_auc": 0.7, "log_loss": 0.5})
    with pytest.raises(Refused, match="pr_auc"):
        measure(harness, version="4")
    [(version, details)] = harness.lines("gate")
    assert (version, details["gate"], details["outcome"]) == ("4", "candidate_evaluation", "unknown")
