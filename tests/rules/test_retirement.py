"""When a promotion is final, by table."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from pipelines.messages.rollout import WatchedShare, WatchEvidence, WatchLimit
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


SLOW = WatchLimit(max_share=0.05, over_ms=100)
NEEDED = math.log(2 / 0.025)


def watched(failed: float = -5.0, slow: float = -5.0, requests: int = 500) -> WatchEvidence:
    """25 of so many requests failed, and 30 were slow; the evidence that each is too many."""
    bad = WatchedShare(limit=WatchLimit(max_share=0.01), bad=25, above_log_e=failed)
    return WatchEvidence(requests=requests, shares=[bad, WatchedShare(limit=SLOW, bad=30, above_log_e=slow)])


@pytest.mark.parametrize(
    ("found", "evidence", "seconds", "action", "reasons"),
    [
        ({}, watched(), 10, "wait", ["live for 10 s of 60 s"]),
        ({}, watched(), 60, "conclude", []),
        ({}, watched(failed=NEEDED - 0.01), 10, "wait", ["live for 10 s of 60 s"]),
        ({}, watched(failed=NEEDED), 10, "roll_back", ["promoted version 10: 25 of 500 failed, the limit is 0.01"]),
        ({}, watched(slow=NEEDED), 60, "roll_back", ["promoted version 10: 30 of 500 slower than 100 ms, the limit"]),
        ({}, watched(NEEDED, NEEDED), 10, "roll_back", ["promoted version 10: 25", "promoted version 10: 30"]),
        ({"phase": "SUCCEEDED"}, watched(NEEDED), 60, "conclude", []),
        ({"champion": "11"}, watched(NEEDED), 10, "conclude", ["version 11 is live, not 10"]),
        (
            {"phase": "ROLLED_BACK", "reason": "bad"},
            watched(NEEDED),
            10,
            "conclude",
            ["version 10 was rolled back: bad"],
        ),
    ],
)
def test_a_promoted_version_that_is_shown_to_break_a_limit_is_rolled_back(
    found: dict[str, Any], evidence: WatchEvidence, seconds: float, action: str, reasons: list[str]
) -> None:
    live = state(**({"champion": "10", "candidate": None, "previous": "9", "phase": "FINALISING"} | found))
    now = BEGUN + timedelta(seconds=seconds)
    decision = judge_retirement(TICKET, live, promoted=BEGUN, now=now, window=60, evidence=evidence)
    assert decision.action == action
    assert len(decision.verdict.reasons) == len(reasons)
    assert all(map(str.startswith, decision.verdict.reasons, reasons)), decision.verdict.reasons


def test_what_was_answered_since_the_promotion_is_told_whatever_the_outcome() -> None:
    live = state(champion="10", candidate=None, previous="9", phase="FINALISING")

    def findings(evidence: WatchEvidence) -> tuple[str, ...]:
        moment = {"promoted": BEGUN, "now": BEGUN + timedelta(seconds=60), "window": 60}
        return judge_retirement(TICKET, live, **moment, evidence=evidence).verdict.findings  # type: ignore[arg-type]

    assert findings(watched()) == ("500 requests since the promotion: 25 failed, 30 slower than 100 ms",)
    [nobody] = findings(watched(requests=0))
    assert nobody.startswith("nobody has asked for flight_delay since the promotion")


def test_a_rollback_without_a_reason_says_so() -> None:
    ended = state(phase="ROLLED_BACK", reason="")
    verdict = judge_retirement(TICKET, ended, promoted=BEGUN, now=BEGUN, window=60).verdict
    assert verdict.reasons == ("version 10 was rolled back: no reason was given",)
