"""What becomes of a candidate when its run ends, by table."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.rules.rollout_rollback import CANDIDATE_REJECTED, judge_rollout_end
from tests.rules.rollout_facts import BEGUN, TICKET, state

BAKING = {"phase": "BAKING", "split": {"9": 9500, "10": 500}}


@pytest.mark.parametrize(
    ("found", "failed", "recorded", "then", "why", "marked"),
    [
        ({"rollout_id": None, "phase": None}, [], False, "nothing", "there was no rollout", False),
        ({"rollout_id": "r11"}, ["a"], False, "nothing", "rollout r11 took its place", False),
        (BAKING, ["judge_at_5"], False, "roll_back", "judge_at_5 failed", True),
        (BAKING, [], False, "roll_back", "the candidate was not let through", False),
        (BAKING, None, False, "roll_back", "the run did not finish", False),
        ({"phase": "READY"}, [], False, "roll_back", "not let through", False),
        ({"phase": "PENDING"}, ["prepare_candidate"], False, "roll_back", "prepare_candidate failed", True),
        ({"phase": "SHADOWING"}, ["compare_in_shadow"], False, "roll_back", "compare_in_shadow failed", True),
        ({"phase": "PAUSED", "reason": "why"}, ["judge_at_5"], False, "leave", "for a person: why", False),
        ({"phase": "PAUSED", "lease_until": BEGUN}, None, False, "leave", "until 2026-11-21 12:00 UTC", False),
        ({"phase": "PAUSED"}, [], False, "roll_back", "not let through", False),
        ({"phase": "ROLLED_BACK", "reason": "guard"}, ["judge_at_5"], False, "record", "guard", True),
        ({"phase": "ROLLED_BACK", "reason": "guard"}, ["judge_at_5"], True, "nothing", "guard", True),
        ({"phase": "ROLLED_BACK", "reason": CANDIDATE_REJECTED}, [], False, "record", "not let through", False),
        ({"phase": "FAILED"}, ["prepare_candidate"], False, "nothing", "the rollout is FAILED", True),
        ({"phase": "FINALISING"}, ["retire_former"], False, "nothing", "the rollout is FINALISING", False),
        ({"phase": "SUCCEEDED"}, [], False, "nothing", "the rollout is SUCCEEDED", False),
        ({"phase": "SUPERSEDED"}, [], False, "nothing", "the rollout is SUPERSEDED", False),
    ],
)
def test_no_candidate_keeps_traffic_that_nobody_answers_for(
    found: dict[str, Any], failed: list[str] | None, recorded: bool, then: str, why: str, marked: bool
) -> None:
    decision = judge_rollout_end(TICKET, state(**found), failed, recorded=recorded)
    assert decision.verdict.passed
    assert (decision.action, decision.failed_with_traffic) == (then, marked)
    assert why in decision.reason


@pytest.mark.parametrize(
    ("changes", "marked"),
    [
        ({"phase": "ROLLED_BACK", "reason": "guard", "rollout_id": "r11"}, False),
        ({"phase": "FAILED", "reason": "guard", "rollout_id": "r11"}, False),
        ({"phase": "SUCCEEDED", "reason": "guard"}, False),
        ({"phase": "FAILED", "reason": CANDIDATE_REJECTED}, False),
        ({"phase": "FAILED", "reason": ""}, True),
    ],
)
def test_only_the_end_of_this_runs_own_rollout_marks_its_candidate(changes: dict[str, Any], marked: bool) -> None:
    assert judge_rollout_end(TICKET, state(**changes), ["a"], recorded=True).failed_with_traffic is marked


def test_a_paused_rollout_that_is_left_does_not_mark_its_candidate() -> None:
    assert judge_rollout_end(TICKET, state(phase="PAUSED"), ["a"], recorded=False).failed_with_traffic is False


def test_the_facts_name_the_failed_tasks_or_that_they_are_not_known() -> None:
    facts = judge_rollout_end(TICKET, state(**BAKING), ["a", "b"], recorded=False).verdict.facts
    assert (facts["failed"], facts["why"]) == (["a", "b"], "a, b failed")
    assert judge_rollout_end(TICKET, state(**BAKING), None, recorded=False).verdict.facts["failed"] is None


def test_a_paused_rollout_without_a_lease_waits_until_it_ends() -> None:
    decision = judge_rollout_end(TICKET, state(phase="PAUSED", reason="why"), ["a"], recorded=False)
    assert decision.reason == "paused until its lease ends for a person: why"
