"""When a promotion is final, by table."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pipelines.rules.retirement import judge_retirement
from pipelines.verdict import Outcome
from tests.rules.rollout_facts import BEGUN, TICKET, state


@pytest.mark.parametrize(
    ("found", "seconds", "outcome", "left", "reason"),
    [
        ({}, 3600, Outcome.PASS, 0, ""),
        ({}, 3599, Outcome.UNKNOWN, 1, "live for 3599 s of 3600 s"),
        ({"phase": "SUCCEEDED"}, 0, Outcome.PASS, 0, ""),
        ({}, None, Outcome.UNKNOWN, 0, "the ledger has no release of version 10"),
        ({"phase": "ROLLED_BACK", "champion": "9", "reason": "bad"}, 10, Outcome.FAIL, 0, "was rolled back: bad"),
        ({"champion": "11"}, 10, Outcome.FAIL, 0, "version 11 is live, not 10"),
        ({"phase": "BAKING"}, 10, Outcome.FAIL, 0, "the rollout is BAKING"),
    ],
)
def test_a_promotion_is_final_after_its_window(
    found: dict[str, Any], seconds: float | None, outcome: Outcome, left: float, reason: str
) -> None:
    now = BEGUN + timedelta(seconds=seconds or 0)
    promoted = None if seconds is None else BEGUN
    live = state(**({"champion": "10", "candidate": None, "previous": "9", "phase": "FINALISING"} | found))
    decision = judge_retirement(TICKET, live, promoted=promoted, now=now, window=3600)
    assert (decision.verdict.outcome, decision.left) == (outcome, left)
    assert reason in "".join(decision.verdict.reasons)


def test_a_promotion_that_was_concluded_needs_no_window_and_one_that_waits_says_so() -> None:
    live = {"champion": "10", "candidate": None, "previous": "9"}
    now = BEGUN + timedelta(seconds=10)
    finished = state(**live, phase="SUCCEEDED")
    waiting = state(**live, phase="FINALISING")
    assert judge_retirement(TICKET, finished, promoted=BEGUN, now=now, window=60).action == "conclude"
    decision = judge_retirement(TICKET, waiting, promoted=BEGUN, now=now, window=60)
    assert (decision.action, decision.left, decision.verdict.facts["left"]) == ("wait", 50, 50)
    unknown = judge_retirement(TICKET, waiting, promoted=None, now=now, window=60)
    assert (unknown.action, unknown.left) == ("conclude", 0)


def test_a_rollback_without_a_reason_says_so() -> None:
    ended = state(phase="ROLLED_BACK", reason="")
    verdict = judge_retirement(TICKET, ended, promoted=BEGUN, now=BEGUN, window=60).verdict
    assert verdict.reasons == ("version 10 was rolled back: no reason was given",)
