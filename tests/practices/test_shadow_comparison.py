from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Refused, Unavailable
from pipelines.messages.comparison import PairedLabels
from pipelines.spec.deployment import Approval, Approver, Deployment
from pipelines.spec.strategy import Shadow
from pipelines.steps import measure_shadow
from practices.shadow_comparison import ShadowComparison
from tests.practices.compared import TICKET, Compared
from tests.practices.practice_harness import MODEL, PracticeHarness

DECLARED = Deployment(
    strategy="shadow",
    shadow=Shadow(duration=600, sample_rate=0.5),
    approval=Approval(approvers=[Approver(role="lead", users=["ada"])], timeout=7200),
    lease=60,
)


@pytest.fixture
def shadow(harness: PracticeHarness) -> Compared:
    return Compared(harness, ShadowComparison, DECLARED)


def mirrored(shadow: Compared, **changes: int) -> None:
    """All that the mirror has counted so far."""
    counts = {"requests": 2000, "sent": 2000, "compared": 2000, "disagreed": 20, "flipped": 2, **changes}
    shadow.target.arms = []
    shadow.target.add_counts(MODEL, "5", "shadow", **counts)


def passed(shadow: Compared) -> Any:
    shadow.start()
    mirrored(shadow)
    return shadow.look(after=600)


def test_the_mirror_is_set_once_at_the_declared_rate_and_the_task_waits_without_a_worker(shadow: Compared) -> None:
    assert shadow.start() is None
    assert (shadow.state.phase, shadow.state.mirror, shadow.state.mirror_basis_points) == ("SHADOWING", "5", 5000)
    assert shadow.trigger.lease == 60
    shadow.start()
    assert [verb for verb, *_ in shadow.target.calls].count("set_mirror") == 1


def test_a_candidate_that_agrees_stays_for_the_duration_and_then_goes_on_without_mirror_or_traffic(
    shadow: Compared,
) -> None:
    shadow.start()
    mirrored(shadow)
    assert shadow.look(after=599) is None
    assert shadow.verdicts() == []
    verdict = shadow.look(after=1)
    assert verdict is not None
    assert (verdict["outcome"], verdict["facts"]["disagreed"], verdict["facts"]["coverage"]) == ("pass", 20, 1.0)
    assert (shadow.state.phase, shadow.state.mirror, shadow.state.split) == ("READY", None, {"4": 10_000})
    assert shadow.verdicts() == [("pass", [])]


def test_the_next_look_is_no_later_than_the_end_of_the_duration(shadow: Compared) -> None:
    shadow.start()
    assert shadow.trigger.until == "2026-11-02T07:00:30+00:00"
    shadow.look(after=580)
    assert shadow.trigger.until == "2026-11-02T07:10:00+00:00"


def test_after_a_pass_the_lease_lasts_as_long_as_people_may_take_to_approve(shadow: Compared) -> None:
    passed(shadow)
    until = shadow.state.lease_until
    assert until is not None
    assert (until - shadow.clock()).total_seconds() >= 7200


def test_too_much_disagreement_takes_the_candidate_back_at_once_and_says_so(shadow: Compared) -> None:
    shadow.start()
    mirrored(shadow, disagreed=400)
    with pytest.raises(Refused, match=r"400 of 2000 answers differ by more than 0\.05: more than 0\.05"):
        shadow.look(after=5)
    assert (shadow.state.phase, shadow.state.mirror) == ("ROLLED_BACK", None)
    assert "400 of 2000" in shadow.state.reason
    assert shadow.verdicts()[0][0] == "fail"
    assert "400 of 2000" in shadow.context["pushed"]["reasons"][0]


def test_what_was_not_shown_is_waited_for_twice_the_duration_and_then_refused(shadow: Compared) -> None:
    shadow.start()
    mirrored(shadow, requests=100, compared=100, sent=2000, disagreed=0)
    assert shadow.look(after=1199) is None
    with pytest.raises(Refused, match=r"(?s)is unknown.*100 answers compared < 500: mirror longer.*coverage 0\.050"):
        shadow.look(after=1)
    assert shadow.verdicts()[0][0] == "unknown"


def test_without_any_traffic_nothing_is_shown(shadow: Compared) -> None:
    shadow.start()
    with pytest.raises(Refused, match="nobody asked the gateway for flight_delay in the 1200 s"):
        shadow.look(after=1200)


def test_requests_that_the_sample_left_out_are_told_from_none(shadow: Compared) -> None:
    shadow.start()
    shadow.target.add_counts(MODEL, "4", "champion", requests=40)
    with pytest.raises(Refused, match="none of 40 requests was mirrored"):
        shadow.look(after=1200)


def test_counts_that_cannot_be_are_looked_at_again_and_given_up_after_the_declared_times(shadow: Compared) -> None:
    shadow.start()
    mirrored(shadow, failed=3000)
    for _ in range(3):
        assert shadow.look(after=1) is None
    with pytest.raises(Refused, match="3000 failed of 2000 requests"):
        shadow.look(after=1)


def test_one_good_look_forgives_the_bad_ones_before_it(shadow: Compared) -> None:
    shadow.start()
    mirrored(shadow, failed=3000)
    for _ in range(3):
        shadow.look(after=1)
    mirrored(shadow)
    assert shadow.look(after=1) is None
    assert shadow.kept == {"blind": 0}


def test_the_first_version_has_nothing_to_be_compared_with(shadow: Compared) -> None:
    verdict = shadow.start(TICKET.model_copy(update={"champion": None}))
    assert verdict is not None
    assert "no champion to compare it with" in verdict["facts"]["note"]
    assert shadow.state.mirror is None


def test_a_rollout_that_the_target_took_back_refuses_with_its_reason(shadow: Compared) -> None:
    shadow.start()
    shadow.target.roll_back(MODEL, "r1", "guard: too many errors", key="guard")
    with pytest.raises(Refused, match="guard: too many errors"):
        shadow.look()


def test_a_newer_rollout_makes_the_task_skip(shadow: Compared) -> None:
    shadow.start()
    plan = {"strategy": "shadow", "lease_seconds": 60, "guard": {"max_error_rate": 0.01}, "supersede": True}
    shadow.target.create_rollout(MODEL, "r2", plan, expect=shadow.state.generation, key="newer")
    with pytest.raises(AirflowSkipException, match="r2"):
        shadow.look()


def test_a_rollout_that_somebody_paused_is_held_until_the_task_is_cleared(shadow: Compared) -> None:
    shadow.start()
    shadow.target.pause(MODEL, "r1", "lunch", expect=shadow.state.generation, key="pause")
    with pytest.raises(Refused, match=r"(?s)paused: lunch.*clear compare"):
        shadow.look()
    assert shadow.start(clear_number=1) is None
    assert shadow.state.phase == "SHADOWING"


def test_a_try_cut_off_after_the_verdict_finishes_and_does_not_mirror_again(
    shadow: Compared, monkeypatch: pytest.MonkeyPatch
) -> None:
    shadow.start()
    mirrored(shadow)
    whole = shadow.target.renew_lease

    def die(*_: Any, **__: Any) -> Any:
        raise Unavailable("killed")

    monkeypatch.setattr(shadow.target, "renew_lease", die)
    with pytest.raises(Unavailable):
        shadow.look(after=600)
    monkeypatch.setattr(shadow.target, "renew_lease", whole)
    verdict = shadow.start()
    assert verdict is not None
    assert verdict["outcome"] == "pass"
    assert shadow.state.mirror is None
    assert [verb for verb, *_ in shadow.target.calls].count("set_mirror") == 2
    assert len(shadow.verdicts()) == 1


def test_a_cleared_task_compares_anew(shadow: Compared) -> None:
    passed(shadow)
    assert shadow.start(clear_number=1) is None
    assert shadow.state.mirror == "5"


def test_a_mirror_that_is_stopped_by_somebody_else_is_set_again(shadow: Compared) -> None:
    shadow.start()
    shadow.target.set_mirror(MODEL, "r1", None, 0, expect=shadow.state.generation, key="someone")
    assert shadow.look(after=1) is None
    assert shadow.state.mirror == "5"


def test_a_target_that_does_not_answer_is_waited_for_and_then_the_task_is_tried_again(shadow: Compared) -> None:
    shadow.start()
    shadow.target.down = True
    assert [shadow.look() for _ in range(3)] == [None] * 3
    assert (shadow.trigger.lease, shadow.kept) == (None, {"blind": 3})
    with pytest.raises(Unavailable):
        shadow.look()


def test_a_try_cut_off_after_the_candidate_was_taken_back_puts_the_reason_on_record(shadow: Compared) -> None:
    shadow.start()
    mirrored(shadow, disagreed=400)
    shadow.field.ledger.down = True
    with pytest.raises(Unavailable):
        shadow.look(after=30)
    assert shadow.state.phase == "ROLLED_BACK"
    shadow.field.ledger.down = False
    with pytest.raises(Refused, match="400 of 2000 answers differ"):
        shadow.start()
    assert [outcome for outcome, _ in shadow.verdicts()] == ["fail"]


def test_a_failing_candidate_is_taken_back_before_its_report_is_written(
    shadow: Compared, monkeypatch: pytest.MonkeyPatch
) -> None:
    shadow.start()
    mirrored(shadow, disagreed=400)

    def read(*_: Any) -> Any:
        assert shadow.state.phase == "ROLLED_BACK"
        raise Unavailable("the store does not answer")

    monkeypatch.setattr(measure_shadow, "read_rollout", read)
    with pytest.raises(Refused, match="400 of 2000"):
        shadow.look(after=5)
    assert "the store does not answer" in shadow.context["pushed"]["facts"]["notes"][0]


def test_a_candidate_that_is_wrong_more_often_fails_although_it_agrees(
    shadow: Compared, monkeypatch: pytest.MonkeyPatch
) -> None:
    shadow.start()
    mirrored(shadow)
    labels = PairedLabels(labelled=900, candidate_wrong=90, champion_wrong=20, worse_log_e=20.0, better_log_e=-9.0)
    monkeypatch.setattr(measure_shadow, "compare_labels", lambda *_: labels)
    with pytest.raises(Refused, match="alone was wrong 90 times, the champion 20 times"):
        shadow.look(after=600)
    assert shadow.state.phase == "ROLLED_BACK"
