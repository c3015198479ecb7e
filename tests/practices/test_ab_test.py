from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from pipelines import store_paths
from pipelines.errors import Refused, Unavailable
from pipelines.messages.comparison import ExperimentMeasure, ExperimentRequest, MetricInterval
from pipelines.spec.deployment import Approval, Approver, Deployment, RoutingSpec
from pipelines.spec.strategy import AbTestSpec as Experiment
from practices.ab_test import AbTest
from tests.practices.compared import TICKET, Compared
from tests.practices.practice_harness import MODEL, PracticeHarness

DECLARED = Deployment(
    strategy="ab",
    ab=Experiment(traffic_split=0.2, minimum_sample_size=1000, max_duration=3600),
    routing=RoutingSpec(key="header:x-user-id"),
    lease=60,
)


@pytest.fixture
def experiment(harness: PracticeHarness) -> Compared:
    return Compared(harness, AbTest, DECLARED)


def met(experiment: Compared, *, control: tuple[int, int], variant: tuple[int, int]) -> None:
    """Users of each arm so far, and those who met a bad answer."""
    experiment.target.arms = []
    for version, role, (units, bad) in (("4", "control", control), ("5", "variant", variant)):
        experiment.target.add_counts(MODEL, version, role, requests=3 * units, failed=bad, units=units, bad_units=bad)  # type: ignore[arg-type]


def told(experiment: Compared) -> dict[str, Any]:
    """The result in the store."""
    found: dict[str, Any] = json.loads(experiment.field.store.get(store_paths.rollout(MODEL, "r1", "experiment.json")))
    return found


def test_the_users_are_split_once_as_declared_and_the_task_waits_without_a_worker(experiment: Compared) -> None:
    assert experiment.start() is None
    assert experiment.state.split == {"4": 8000, "5": 2000}
    experiment.start()
    assert [verb for verb, *_ in experiment.target.calls].count("set_traffic") == 1
    assert (experiment.trigger.lease, experiment.kept) == (60, {"blind": 0})


def test_a_variant_that_is_shown_better_goes_on_to_its_promotion_with_its_users(experiment: Compared) -> None:
    experiment.start()
    met(experiment, control=(8000, 800), variant=(2000, 20))
    verdict = experiment.look(after=30)
    assert verdict is not None
    assert (verdict["outcome"], verdict["facts"]["answer"]) == ("pass", "variant wins")
    assert verdict["facts"]["recommendation"].startswith("Promote version 5: error_rate: better")
    assert (experiment.state.phase, experiment.state.split) == ("BAKING", {"4": 8000, "5": 2000})
    assert told(experiment)["facts"]["recommendation"] == verdict["facts"]["recommendation"]
    assert experiment.field.store.get(store_paths.rollout(MODEL, "r1", "experiment.png")).startswith(b"\x89PNG")


def test_a_variant_that_is_shown_worse_is_taken_back_and_what_follows_is_skipped(experiment: Compared) -> None:
    experiment.start()
    met(experiment, control=(8000, 80), variant=(2000, 200))
    with pytest.raises(AirflowSkipException, match=r"(?s)no.*error_rate: shown worse"):
        experiment.look(after=30)
    assert (experiment.state.phase, experiment.state.split) == ("ROLLED_BACK", {"4": 10_000})
    assert "error_rate: shown worse" in experiment.state.reason
    assert experiment.verdicts()[0][0] == "fail"
    assert told(experiment)["facts"]["answer"] == "control stays"


def test_undecided_it_goes_on_to_the_end_of_its_time_and_then_control_stays(experiment: Compared) -> None:
    experiment.start()
    met(experiment, control=(8000, 80), variant=(2000, 20))
    assert experiment.look(after=3599) is None
    with pytest.raises(AirflowSkipException, match=r"(?s)undecided at max_duration, so version 4 stays"):
        experiment.look(after=1)
    assert experiment.state.phase == "ROLLED_BACK"
    assert told(experiment)["facts"]["answer"] == "undecided"


def test_users_that_were_not_split_as_declared_hold_the_rollout_for_a_person(experiment: Compared) -> None:
    experiment.start()
    met(experiment, control=(8000, 800), variant=(1500, 15))
    with pytest.raises(Refused, match=r"1500 of 9500 users are in the variant, 0\.2 declared"):
        experiment.look(after=30)
    assert (experiment.state.phase, experiment.state.split) == ("PAUSED", {"4": 8000, "5": 2000})
    assert told(experiment)["facts"]["answer"] == "invalid"


def test_a_held_experiment_goes_on_when_its_task_is_cleared(experiment: Compared) -> None:
    experiment.start()
    met(experiment, control=(8000, 800), variant=(1500, 15))
    with pytest.raises(Refused):
        experiment.look(after=30)
    met(experiment, control=(8000, 80), variant=(2000, 20))
    assert experiment.start(clear_number=1) is None
    assert experiment.state.phase == "BAKING"


def test_counts_that_cannot_be_are_looked_at_again_and_then_held(experiment: Compared) -> None:
    experiment.start()
    met(experiment, control=(8000, 80), variant=(2000, 2001))
    for _ in range(3):
        assert experiment.look(after=30) is None
    with pytest.raises(Refused, match="2001 users with a bad answer among 2000"):
        experiment.look(after=30)
    assert experiment.state.phase == "PAUSED"


@pytest.mark.parametrize("fields", [{"control_model": "3"}, {"metrics": ["prediction"]}])
def test_an_experiment_that_is_not_the_declared_one_begins_without_any_traffic(
    experiment: Compared, fields: dict[str, Any]
) -> None:
    declared = DECLARED.model_copy(update={"ab": Experiment(**fields)})
    experiment.field.declare(deployment=declared)
    with pytest.raises(Refused, match="cannot begin"):
        experiment.start()
    assert experiment.state.split == {"4": 10_000}


def test_the_first_version_has_nothing_to_be_compared_with(experiment: Compared) -> None:
    verdict = experiment.start(TICKET.model_copy(update={"champion": None}))
    assert verdict is not None
    assert "no champion to compare it with" in verdict["facts"]["note"]
    assert experiment.state.split == {"4": 10_000}


def test_a_try_cut_off_after_the_verdict_keeps_it_whatever_is_counted_since(experiment: Compared) -> None:
    experiment.start()
    met(experiment, control=(8000, 800), variant=(2000, 20))
    experiment.look(after=30)
    met(experiment, control=(8000, 800), variant=(2000, 400))
    verdict = experiment.start()
    assert verdict is not None
    assert verdict["facts"]["answer"] == "variant wins"
    assert len(experiment.verdicts()) == 1


def test_a_candidate_that_the_guard_took_back_refuses_with_its_reason(experiment: Compared) -> None:
    experiment.start()
    experiment.target.roll_back(MODEL, "r1", "guard: 40 of 100 failed", key="guard")
    with pytest.raises(Refused, match="guard: 40 of 100 failed"):
        experiment.look()


def test_a_target_that_does_not_answer_is_waited_for_and_then_the_task_is_tried_again(experiment: Compared) -> None:
    experiment.start()
    experiment.target.down = True
    assert [experiment.look() for _ in range(3)] == [None] * 3
    assert (experiment.trigger.lease, experiment.kept) == (None, {"blind": 3})
    with pytest.raises(Unavailable):
        experiment.look()


def test_the_looks_of_a_long_experiment_are_spread_over_its_time(experiment: Compared) -> None:
    declared = Experiment(max_duration=14 * 86400)
    experiment.field.declare(deployment=DECLARED.model_copy(update={"ab": declared}))
    experiment.start()
    assert experiment.trigger.until == "2026-11-02T08:40:48+00:00"


def test_the_last_look_is_when_the_time_is_up(experiment: Compared) -> None:
    experiment.start()
    experiment.look(after=3590)
    assert experiment.trigger.until == "2026-11-02T08:00:00+00:00"


def test_the_step_is_asked_about_both_arms_of_this_rollout(experiment: Compared) -> None:
    asked: list[ExperimentRequest] = []

    def measured(request: ExperimentRequest) -> ExperimentMeasure:
        asked.append(request)
        kept = request.model_dump(include={"model", "control", "variant", "rollout_id"})
        interval = MetricInterval(
            metric="error_rate", better="lower", control_units=0, variant_units=0, control=None, variant=None
        )
        return ExperimentMeasure(
            elapsed=0, control_units=0, variant_units=0, split_log_e=0.0, metrics=[interval], **kept
        )

    experiment.field.answers["measure_experiment"] = measured
    experiment.start()
    met(experiment, control=(10, 0), variant=(3, 0))
    experiment.look(after=30)
    assert [(arm.role, arm.units) for arm in asked[-1].arms] == [("control", 10), ("variant", 3)]
    assert (asked[-1].control, asked[-1].variant, asked[-1].rollout_id) == ("4", "5", "r1")


def test_a_try_cut_off_after_the_candidate_was_taken_back_puts_the_reason_on_record(experiment: Compared) -> None:
    experiment.start()
    met(experiment, control=(8000, 80), variant=(2000, 200))
    experiment.field.ledger.down = True
    with pytest.raises(Unavailable):
        experiment.look(after=30)
    assert experiment.state.phase == "ROLLED_BACK"
    experiment.field.ledger.down = False
    with pytest.raises(AirflowSkipException, match="error_rate: shown worse"):
        experiment.start()
    assert [outcome for outcome, _ in experiment.verdicts()] == ["fail"]


def test_a_loser_is_taken_back_before_anything_is_drawn(experiment: Compared) -> None:
    experiment.start()
    met(experiment, control=(8000, 80), variant=(2000, 200))
    experiment.field.store.down = True
    with pytest.raises(Unavailable):
        experiment.look(after=30)
    assert experiment.state.phase == "ROLLED_BACK"
    experiment.field.store.down = False
    with pytest.raises(AirflowSkipException, match="error_rate: shown worse"):
        experiment.start()


def test_no_user_is_split_before_the_people_who_must_agree_did(harness: PracticeHarness) -> None:
    approval = Approval(approvers=[Approver(role="lead", users=["ada"])])
    experiment = Compared(harness, AbTest, DECLARED.model_copy(update={"approval": approval}))
    with pytest.raises(Refused, match="approval_quorum has no verdict on this bundle in this run"):
        experiment.start()
    assert experiment.state.split == {"4": 10_000}
    agreed = TICKET.model_dump(include={"rollout_id", "sha256", "model_digest"}) | {"outcome": "pass"}
    harness.ledger.append("approval_quorum", MODEL, "5", agreed, actor="ada")
    assert experiment.start() is None
    assert experiment.state.split == {"4": 8000, "5": 2000}
