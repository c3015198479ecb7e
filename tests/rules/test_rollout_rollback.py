"""What becomes of a candidate when its run ends, by table."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.rules.rollout_rollback import CANDIDATE_REJECTED, is_rejection, judge_rollout_end
from tests.rules.rollout_facts import BEGUN, TICKET, state

BAKING = {"phase": "BAKING", "split": {"9": 9500, "10": 500}}


@pytest.mark.parametrize(
    ("found", "failed", "recorded", "then", "why"),
    [
        ({"rollout_id": None, "phase": None}, [], False, "nothing", "there was no rollout"),
        ({"rollout_id": "r11"}, ["a"], False, "record", "rollout r11 took its place"),
        ({"rollout_id": "r11"}, ["a"], True, "nothing", "rollout r11 took its place"),
        (BAKING, ["judge_at_5"], False, "roll_back", "judge_at_5 failed"),
        (BAKING, [], False, "roll_back", "the candidate was not let through"),
        (BAKING, None, False, "roll_back", "the run did not finish"),
        ({"phase": "READY"}, [], False, "roll_back", "not let through"),
        ({"phase": "PENDING"}, ["prepare_candidate"], False, "roll_back", "prepare_candidate failed"),
        ({"phase": "SHADOWING"}, ["compare_in_shadow"], False, "roll_back", "compare_in_shadow failed"),
        ({"phase": "PAUSED", "reason": "why"}, ["judge_at_5"], False, "leave", "for a person: why"),
        ({"phase": "PAUSED", "lease_until": BEGUN}, None, False, "leave", "until 2026-11-21 12:00 UTC"),
        ({"phase": "PAUSED"}, [], False, "roll_back", "not let through"),
        ({"phase": "ROLLED_BACK", "reason": "guard"}, ["judge_at_5"], False, "record", "guard"),
        ({"phase": "ROLLED_BACK", "reason": "guard"}, ["judge_at_5"], True, "nothing", "guard"),
        ({"phase": "ROLLED_BACK", "reason": CANDIDATE_REJECTED}, [], False, "record", "not let through"),
        ({"phase": "FAILED", "reason": "no golden row"}, ["prepare_candidate"], False, "record", "no golden row"),
        ({"phase": "FAILED", "reason": "no golden row"}, ["prepare_candidate"], True, "nothing", "no golden row"),
        ({"phase": "FINALISING"}, ["retire_former"], False, "nothing", "the rollout is FINALISING"),
        ({"phase": "SUCCEEDED"}, [], False, "nothing", "the rollout is SUCCEEDED"),
        ({"phase": "SUPERSEDED"}, [], False, "nothing", "the rollout is SUPERSEDED"),
    ],
)
def test_no_candidate_keeps_traffic_that_nobody_answers_for_and_no_end_stays_unrecorded(
    found: dict[str, Any], failed: list[str] | None, recorded: bool, then: str, why: str
) -> None:
    decision = judge_rollout_end(TICKET, state(**found), failed, recorded=recorded)
    assert decision.verdict.passed
    assert decision.action == then
    assert why in decision.reason


def test_the_facts_name_the_failed_tasks_or_that_they_are_not_known() -> None:
    facts = judge_rollout_end(TICKET, state(**BAKING), ["a", "b"], recorded=False).verdict.facts
    without = "failed without a verdict; its log says why"
    assert (facts["failed"], facts["why"]) == (["a", "b"], f"a {without}; b {without}")
    assert judge_rollout_end(TICKET, state(**BAKING), None, recorded=False).verdict.facts["failed"] is None


def test_a_paused_rollout_without_a_lease_waits_until_it_ends() -> None:
    decision = judge_rollout_end(TICKET, state(phase="PAUSED", reason="why"), ["a"], recorded=False)
    assert decision.reason == "paused until its lease ends for a person: why"


@pytest.mark.parametrize(
    ("failed", "reasons", "why"),
    [
        (["compare_in_shadow"], {"compare_in_shadow": ["nobody asked"]}, "compare_in_shadow failed: nobody asked"),
        (["a", "b"], {"a": ["x", "y"]}, "a failed: x; y; b failed without a verdict; its log says why"),
        (["a"], {"a": ["x"], "skipped": ["z"]}, "a failed: x"),
        ([], {"count_approvals": ["ann said no"]}, "the candidate was not let through: ann said no"),
        ([], {}, "the candidate was not let through"),
        (None, {"a": ["x"]}, "the run did not finish"),
    ],
)
def test_the_reason_quotes_the_verdicts_that_ended_the_run(
    failed: list[str] | None, reasons: dict[str, list[str]], why: str
) -> None:
    decision = judge_rollout_end(TICKET, state(), failed, recorded=False, reasons=reasons)
    assert decision.reason == why
    assert is_rejection(decision.reason) is (failed == [])
