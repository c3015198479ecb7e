"""When the green version may be tried, by table."""

from __future__ import annotations

import pytest

from pipelines.rules.blue_green_trial import judge_trial
from tests.rules.rollout_facts import TICKET, state


@pytest.mark.parametrize(
    ("before", "phase", "reason"),
    [
        (0, "READY", None),
        (500, "BAKING", None),
        (200, "BAKING", "has 200 basis points; a trial has one share, 500"),
        (800, "BAKING", "has 800 basis points; its share cannot shrink"),
        (0, "PAUSED", "the rollout is PAUSED"),
    ],
)
def test_a_trial_has_one_share(before: int, phase: str, reason: str | None) -> None:
    found = state(phase=phase, split={"9": 10_000 - before, "10": before})
    verdict = judge_trial(TICKET, found, 500)
    assert verdict.passed == (reason is None)
    assert verdict.rule == "blue_green_trial"
    assert (reason or "") in "".join(verdict.reasons)


def test_what_did_not_pass_before_keeps_green_from_everybody() -> None:
    assert judge_trial(TICKET, state(), 500, ["approval_quorum said fail"]).reasons == ("approval_quorum said fail",)


def test_a_repeated_trial_and_one_from_no_traffic_are_the_only_ones_without_a_reason() -> None:
    shares = [share for share in range(1001) if judge_trial(TICKET, state(split={"10": share}), 500).passed]
    assert shares == [0, 500]


def test_a_green_version_with_a_larger_share_has_that_reason_alone() -> None:
    verdict = judge_trial(TICKET, state(phase="BAKING", split={"9": 9200, "10": 800}), 500)
    assert verdict.reasons == ("the candidate has 800 basis points; its share cannot shrink to 500",)
