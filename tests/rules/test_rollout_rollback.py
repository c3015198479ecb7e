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
