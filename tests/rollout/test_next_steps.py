"""Who answers now is said with the shares, and a version that ended is told how it is tried again."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.messages.rollout import RolloutState, RolloutTicket
from pipelines.rollout.next_steps import answering_text, next_steps_text

TICKET = RolloutTicket(
    model="late", version="5", rollout_id="r5", champion="4", bundle="b", sha256="s" * 64, model_digest="d"
)
AGAIN = "trigger late__deploy with version 5 to try it again"


def state(**changes: Any) -> RolloutState:
    facts = {"model": "late", "generation": 3, "champion": "4", "split": {"4": 10_000}, "rollout_id": "r5"}
    return RolloutState.model_validate(facts | changes)


@pytest.mark.parametrize(
    ("split", "text"),
    [
        ({"4": 10_000}, "version 4 answers"),
        ({"4": 10_000, "5": 0}, "version 4 answers"),
        ({}, "version 4 answers"),
        ({"4": 9950, "5": 50}, "version 4 answers 99.5 % of the requests, version 5 0.5 %"),
    ],
)
def test_the_shares_are_said_where_more_than_one_version_answers(split: dict[str, int], text: str) -> None:
    assert answering_text(state(split=split)) == text


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"phase": "ROLLED_BACK"}, f"version 4 answers; {AGAIN}"),
        ({"phase": "FAILED"}, f"version 4 answers; {AGAIN}"),
        ({"phase": "SHADOWING"}, f"version 4 answers; end_rollout takes version 5 away; {AGAIN}"),
        ({"phase": "BAKING", "rollout_id": "r6"}, f"version 4 answers; {AGAIN}"),
        ({"phase": "SUCCEEDED", "champion": "6", "split": {"6": 10_000}}, f"version 6 answers; {AGAIN}"),
        ({"phase": "FINALISING", "champion": "5", "split": {"5": 10_000}}, "version 5 answers"),
        ({"phase": "PAUSED", "split": {"4": 9500, "5": 500}}, "version 4 answers 95 % of the requests, version 5 5 %"),
    ],
)
def test_what_can_be_done_follows_from_the_phase(facts: dict[str, Any], text: str) -> None:
    assert next_steps_text(TICKET, state(**facts)) == text


def test_before_the_first_release_nobody_answers() -> None:
    assert next_steps_text(TICKET, None) == f"no version of late answers yet; {AGAIN}"
