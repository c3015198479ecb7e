"""When a rollout may begin, by table."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.rules.candidate_preparation import judge_preparation
from pipelines.verdict import Outcome
from tests.rules.rollout_facts import TICKET, state

OTHER = {"rollout_id": "r", "phase": "BAKING"}


@pytest.mark.parametrize(
    ("found", "faults", "outcome", "supersedes", "reason"),
    [
        ({"rollout_id": None, "phase": None, "candidate": None}, [], Outcome.PASS, None, ""),
        ({"phase": "PENDING", "candidate": None}, [], Outcome.PASS, None, ""),
        ({**OTHER, "candidate": "8"}, [], Outcome.PASS, "r", ""),
        ({**OTHER, "candidate": "10"}, [], Outcome.PASS, "r", ""),
        ({**OTHER, "phase": "PENDING", "candidate": None}, [], Outcome.PASS, "r", ""),
        ({**OTHER, "candidate": "11"}, [], Outcome.FAIL, "r", "rollout r of the newer version 11 is BAKING"),
        ({**OTHER, "candidate": "11", "phase": "PAUSED"}, [], Outcome.FAIL, "r", "newer version 11 is PAUSED"),
        ({**OTHER, "candidate": "11", "rollout_id": "drill-1"}, [], Outcome.PASS, "drill-1", ""),
        ({**OTHER, "candidate": "11", "phase": "ROLLED_BACK"}, [], Outcome.PASS, None, ""),
        ({**OTHER, "candidate": None, "phase": "FINALISING"}, [], Outcome.PASS, None, ""),
        ({"champion": "8"}, [], Outcome.FAIL, None, "version 8 is live, but this run expected 9"),
        ({"champion": "10"}, [], Outcome.FAIL, None, "version 10 is already the champion"),
        ({}, ["guard has no limit"], Outcome.FAIL, None, "the plan is refused: guard has no limit"),
    ],
)
def test_a_rollout_begins_against_its_champion_and_never_over_a_newer_version(
    found: dict[str, Any], faults: list[str], outcome: Outcome, supersedes: str | None, reason: str
) -> None:
    decision = judge_preparation(TICKET, state(**found), faults)
    verdict = decision.verdict
    assert (verdict.outcome, verdict.facts["supersedes"]) == (outcome, supersedes)
    assert decision.action == ("begin" if supersedes is None else "supersede")
    assert reason in "".join(verdict.reasons)


def test_versions_are_compared_as_numbers() -> None:
    older = judge_preparation(TICKET, state(**OTHER, candidate="9"), [])
    assert older.verdict.passed


def test_every_fault_is_listed() -> None:
    found = state(**OTHER, candidate="11", champion="7")
    assert len(judge_preparation(TICKET, found, ["one", "two"]).verdict.reasons) == 4
