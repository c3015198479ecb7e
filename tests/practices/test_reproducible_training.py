from __future__ import annotations

from typing import Any

import pytest

from pipelines.errors import Refused, Unavailable
from pipelines.messages.training import HistoryChoice, RefitCheck, SnapshotRequest, TrainRequest, TrainResult
from practices.reproducible_training import ReproducibleTraining
from tests.practices.practice_harness import MODEL, NOW, PracticeHarness, emitted
from tests.practices.test_training_snapshot import snapshot


def trained(request: TrainRequest) -> TrainResult:
    return TrainResult(
        model=MODEL,
        run_id="run",
        version="4",
        model_uri="models:/flight_delay/4",
        model_digest="d" * 64,
        snapshot=request.snapshot,
        request_digest="c" * 64,
        environment_digest="e" * 64,
        rounds=120,
        best_round=90,
        metrics={"validation_roc_auc": 0.7},
        seconds=3.0,
        judged_digest="b" * 64,
        refit=RefitCheck(
            rows=900,
            metric="roc_auc",
            judged=0.7,
            refitted=0.72,
            not_finite=0,
            target_mean=0.2,
            target_spread=0.4,
            judged_mean=0.2,
            judged_spread=0.1,
            refitted_mean=0.2,
        ),
    )


def train(harness: PracticeHarness, *, history: HistoryChoice | None = None, **context: Any) -> Any:
    made = harness.context("train", "train_model", **context)
    table = snapshot(SnapshotRequest(model=MODEL, as_of=NOW)).model_copy(update={"history": history})
    frozen = harness.record_snapshot(table, run=context.get("run", "manual__1"))
    ReproducibleTraining(task_id="train_model", model=MODEL, snapshot=frozen).execute(made)
    return made


@pytest.fixture(autouse=True)
def revision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRWORTHY_GIT_REVISION", "abc123")


def test_the_form_of_the_run_reaches_the_training(harness: PracticeHarness) -> None:
    harness.answers["train_model"] = trained
    train(harness, hypothesis="gusts matter", seed=7, triggering_user_name="ml_lead")
    [request] = harness.asked
    assert isinstance(request, TrainRequest)
    assert (request.hypothesis, request.seed, request.requested_by) == ("gusts matter", 7, "ml_lead")
    assert (request.snapshot, request.git_revision, request.trigger) == ("5" * 64, "abc123", "manual")


def test_one_line_of_the_ledger_ties_the_refitted_model_to_the_judged_one(harness: PracticeHarness) -> None:
    harness.answers["train_model"] = trained
    train(harness)
    [(_, details)] = harness.lines("training")
    assert (details["model_digest"], details["judged_digest"]) == ("d" * 64, "b" * 64)
    assert (details["refit"]["judged"], details["refit"]["refitted"]) == (0.7, 0.72)


def test_the_ledger_names_the_seed_that_was_used_where_the_form_left_it_to_the_declaration(
    harness: PracticeHarness,
) -> None:
    harness.answers["train_model"] = lambda request: trained(request).model_copy(update={"seed": 2013})
    train(harness)
    [(_, details)] = harness.lines("training")
    assert details["seed"] == 2013


RECENT = HistoryChoice(
    recent_days=56, chosen="recent", snapshots={"declared": "4" * 64, "recent": "5" * 64}, reasons=["gain +0.02"]
)


def test_a_training_of_the_newest_rows_alone_has_their_days_as_its_history_and_the_ledger_says_why(
    harness: PracticeHarness,
) -> None:
    harness.answers["train_model"] = trained
    train(harness, history=RECENT)
    assert harness.asked[0].history_days == 56  # type: ignore[attr-defined]
    [(_, details)] = harness.lines("training")
    assert details["history"] == RECENT.model_dump(mode="json")


def test_all_rows_chosen_over_the_newest_alone_have_the_declared_history(harness: PracticeHarness) -> None:
    harness.answers["train_model"] = trained
    train(harness, history=RECENT.model_copy(update={"chosen": "declared"}))
    assert harness.asked[0].history_days is None  # type: ignore[attr-defined]


def test_an_edited_choice_of_history_trains_nothing(harness: PracticeHarness) -> None:
    harness.answers["train_model"] = trained
    frozen = harness.record_snapshot(snapshot(SnapshotRequest(model=MODEL, as_of=NOW)))
    edited = frozen | {"history": RECENT.model_dump(mode="json")}
    with pytest.raises(Refused, match="not the one that was chosen"):
        ReproducibleTraining(task_id="train_model", model=MODEL, snapshot=edited).execute(
            harness.context("train", "train_model")
        )
    assert harness.asked == []


def test_every_try_of_a_run_has_the_same_run_key(harness: PracticeHarness) -> None:
    harness.answers["train_model"] = trained
    train(harness, run="scheduled__x")
    train(harness, run="scheduled__x")
    assert [request.run_key for request in harness.asked] == [f"{MODEL}__train/scheduled__x"] * 2  # type: ignore[attr-defined]
    assert len(harness.lines("training")) == 1


def test_a_requested_retraining_says_so(harness: PracticeHarness) -> None:
    harness.answers["train_model"] = trained
    train(harness, run="retrain_request__2013-03-09")
    assert harness.asked[0].trigger == "retrain_request"  # type: ignore[attr-defined]


def test_the_candidate_event_names_version_and_model_file(harness: PracticeHarness) -> None:
    harness.answers["train_model"] = trained
    assert emitted(train(harness), "candidate") == {"version": "4", "run_id": "run", "model_digest": "d" * 64}


def test_the_ledger_keeps_what_repeats_a_training(harness: PracticeHarness) -> None:
    harness.answers["train_model"] = trained
    train(harness, seed=7)
    [(version, details)] = harness.lines("training")
    assert version == "4"
    kept = {name: details[name] for name in ("snapshot", "model_digest", "environment_digest", "git_revision", "seed")}
    assert kept == {
        "snapshot": "5" * 64,
        "model_digest": "d" * 64,
        "environment_digest": "e" * 64,
        "git_revision": "abc123",
        "seed": 7,
    }
    assert "carrier" in details["declared"]["inputs"]


def test_a_registry_that_does_not_answer_leaves_no_trace(harness: PracticeHarness) -> None:
    def away(request: TrainRequest) -> TrainResult:
        raise Unavailable("MLflow did not answer")

    harness.answers["train_model"] = away
    with pytest.raises(Unavailable):
        train(harness)
    assert harness.lines("training") == []
