from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Refused
from pipelines.messages.evaluation import EvaluateRequest, EvaluateResult
from pipelines.messages.release import LiveState
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


def reject(harness: PracticeHarness, version: str) -> None:
    harness.ledger.append("gate", MODEL, version, {"gate": "slice_gate", "outcome": "fail"}, actor="test")


def make_live(harness: PracticeHarness, version: str) -> None:
    harness.endpoint.serve(LiveState(model=MODEL, version=version))


@pytest.fixture(autouse=True)
def candidates(harness: PracticeHarness) -> None:
    harness.answers["evaluate_model"] = evaluated
    for version in ("4", "9", "10"):
        harness.registry.add(version, status="candidate")
    harness.registry.add("11")
    reject(harness, "11")


def test_the_first_candidate_has_no_champion_beside_it(harness: PracticeHarness) -> None:
    measure(harness, version="4")
    assert harness.asked == [EvaluateRequest(model=MODEL, version="4", champion=None, digests=trained("4"))]


def test_a_candidate_is_measured_beside_the_champion(harness: PracticeHarness) -> None:
    make_live(harness, "4")
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
        reject(harness, version)
    with pytest.raises(Refused, match="fill in the field version"):
        measure(harness)


def test_the_champion_itself_is_not_judged_again(harness: PracticeHarness) -> None:
    make_live(harness, "10")
    with pytest.raises(AirflowSkipException, match="is the champion; "):
        measure(harness, version="10")


@pytest.mark.parametrize("alias", [{}, {"champion": "9"}])
def test_the_champion_is_what_the_target_serves_and_not_what_an_alias_names(
    harness: PracticeHarness, alias: dict[str, str]
) -> None:
    make_live(harness, "4")
    harness.registry.name(**alias)
    measure(harness, version="10")
    assert harness.asked[0].champion == "4"  # type: ignore[attr-defined]


@pytest.mark.parametrize("silent", [True, False])
def test_a_target_that_lost_its_state_or_does_not_answer_leaves_the_last_release_as_champion(
    harness: PracticeHarness, silent: bool
) -> None:
    harness.ledger.append("release", MODEL, "4", {}, actor="test")
    harness.endpoint.down = silent
    measure(harness, version="10")
    assert harness.asked[0].champion == "4"  # type: ignore[attr-defined]


def test_a_candidate_that_was_deleted_from_the_registry_does_not_wait(harness: PracticeHarness) -> None:
    del harness.registry._versions[MODEL]["10"]
    assert measure(harness)["version"] == "9"


def test_an_evaluation_that_says_no_rejects_the_candidate(harness: PracticeHarness) -> None:
    early = datetime(2013, 2, 1, tzinfo=UTC)
    harness.answers["evaluate_model"] = lambda request: evaluated(request, first=early)
    with pytest.raises(Refused, match="earlier than the last training row"):
        measure(harness, version="4")
    assert harness.registry.tags["4"]["airworthy.status"] == "rejected"
    assert measure_next(harness) == "10"


def measure_next(harness: PracticeHarness) -> str:
    """The version that a run without any word about one takes up."""
    harness.answers["evaluate_model"] = evaluated
    return str(measure(harness)["version"])


def test_a_metric_that_was_not_measured_fails_the_task_and_is_on_record(harness: PracticeHarness) -> None:
    harness.answers["evaluate_model"] = lambda request: evaluated(request, metrics={"roc_auc": 0.7, "log_loss": 0.5})
    with pytest.raises(Refused, match="pr_auc"):
        measure(harness, version="4")
    version, details = harness.lines("gate")[-1]
    assert (version, details["gate"], details["outcome"]) == ("4", "candidate_evaluation", "unknown")


def test_an_anchor_that_nothing_proves_stops_no_candidate(harness: PracticeHarness) -> None:
    for version, previous in (("ghost", None), ("4", "ghost"), ("9", "4")):
        harness.ledger.append("release", MODEL, version, {"previous": previous}, actor="test")
    make_live(harness, "9")
    harness.answers["evaluate_model"] = lambda request: evaluated(request, champion=None)
    measure(harness, version="10")
    assert harness.asked[0].anchors == ["4"]  # type: ignore[attr-defined]


def test_the_anchor_and_earlier_comparisons_on_a_test_part_come_from_the_ledger(harness: PracticeHarness) -> None:
    for version, previous in (("4", None), ("9", "4")):
        harness.ledger.append("release", MODEL, version, {"previous": previous}, actor="test")
    make_live(harness, "9")
    harness.answers["evaluate_model"] = lambda request: evaluated(request, champion=None, test_part="t1")
    measure(harness, version="10")
    assert harness.asked[0].anchors == ["4"]  # type: ignore[attr-defined]
    assert set(harness.asked[0].digests) == {"4", "9", "10"}  # type: ignore[attr-defined]
    compared = {"gate": "candidate_evaluation", "champion": "9", "test_part": "t1", "outcome": "pass"}
    harness.ledger.append("gate", MODEL, "10", compared, actor="test")
    history = {"snapshots": {"declared": "d", "recent": "r"}}
    harness.ledger.append("training", MODEL, "10", {"outcome": "pass", "history": history}, actor="test")
    measure(harness, version="11")
    assert harness.asked[1].attempts == {"t1": ["10"]}  # type: ignore[attr-defined]
    assert harness.asked[1].chosen_of == {"10": 2}  # type: ignore[attr-defined]
    assert harness.lines("gate")[-1][1]["test_part"] == "t1"
