"""When a candidate may get more traffic, by table."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.rules.canary_step import judge_shift
from tests.rules.rollout_facts import TICKET, state


@pytest.mark.parametrize(
    ("found", "share", "reason"),
    [
        ({}, 500, None),
        ({"phase": "SHADOWING"}, 500, None),
        ({"phase": "BAKING", "split": {"9": 9500, "10": 500}}, 1500, None),
        ({"phase": "BAKING", "split": {"9": 9500, "10": 500}}, 500, None),
        ({"phase": "BAKING", "split": {"9": 8500, "10": 1500}}, 500, "has 1500 basis points; its share cannot shrink"),
        ({"candidate": "8"}, 500, "version 10 is not prepared; the candidate is 8"),
        ({"candidate": None, "phase": "PENDING"}, 500, "the rollout is PENDING"),
        ({"phase": "PAUSED"}, 500, "the rollout is PAUSED"),
        ({"champion": "8"}, 500, "version 8 is live, but this run expected 9"),
        ({}, 0, "0 basis points cannot be a canary share"),
        ({}, 10_000, "10000 basis points cannot be a canary share"),
    ],
)
def test_only_the_prepared_candidate_gets_traffic_and_its_share_only_grows(
    found: dict[str, Any], share: int, reason: str | None
) -> None:
    verdict = judge_shift(TICKET, state(**found), share)
    assert verdict.passed == (reason is None)
    assert (reason or "") in "".join(verdict.reasons)


def test_what_did_not_pass_before_is_a_reason_of_its_own() -> None:
    verdict = judge_shift(TICKET, state(), 500, ["approval_quorum has no verdict", "load_test said fail"])
    assert verdict.reasons == ("approval_quorum has no verdict", "load_test said fail")


def test_every_fault_is_listed() -> None:
    assert len(judge_shift(TICKET, state(candidate="8", champion="7", phase="PAUSED"), 0).reasons) == 4


@pytest.mark.parametrize(("share", "passed"), [(0, False), (1, True), (9999, True), (10_000, False)])
def test_a_stage_has_1_to_9999_basis_points(share: int, passed: bool) -> None:
    verdict = judge_shift(TICKET, state(split={"9": 10_000}), share)
    assert verdict.passed is passed
    assert verdict.reasons in ((), (f"{share} basis points cannot be a canary share; it must be 1 to 9999",))


def test_a_candidate_that_is_not_in_the_split_has_no_share_before() -> None:
    assert judge_shift(TICKET, state(split={"9": 10_000}), 500).facts == {
        "share": 500,
        "before": 0,
        "phase": "READY",
        "generation": 7,
    }
