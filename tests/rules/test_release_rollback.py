"""What a rollback takes back, and to whom, by table."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.messages.rollout import RolloutState
from pipelines.rollout.rollback_plan import PlannedRollback, rollback_reason
from pipelines.rules.release_rollback import earlier_rollback, judge_rollback, plan_rollback
from pipelines.verdict import Outcome


def state(**fields: Any) -> RolloutState:
    known = {"model": "flight_delay", "generation": 5, "champion": "3", "split": {"3": 10_000}, **fields}
    return RolloutState.model_validate(known)


def during(phase: str, **fields: Any) -> RolloutState:
    return state(phase=phase, rollout_id="r1", **fields)


@pytest.mark.parametrize(
    ("now", "way"),
    [
        (state(), None),
        (state(previous="2"), PlannedRollback(takes="3", to="2")),
        (during("PENDING", previous="2"), PlannedRollback(takes=None, to="3", rollout_id="r1")),
        *[
            (during(phase, candidate="4", previous="2"), PlannedRollback(takes="4", to="3", rollout_id="r1"))
            for phase in ("READY", "SHADOWING", "BAKING", "PAUSED")
        ],
        (during("BAKING", candidate="4"), PlannedRollback(takes="4", to="3", rollout_id="r1")),
        (during("FINALISING", previous="2"), PlannedRollback(takes="3", to="2", rollout_id="r1")),
        (during("FINALISING"), None),
        (during("SUCCEEDED", previous="2"), PlannedRollback(takes="3", to="2")),
        (during("ROLLED_BACK", previous="2"), PlannedRollback(takes="3", to="2")),
        (during("SUPERSEDED"), None),
    ],
)
def test_a_rollback_takes_the_newest_thing_back_or_nothing(now: RolloutState, way: PlannedRollback | None) -> None:
    assert plan_rollback(now) == way
    verdict = judge_rollback(now, None)
    assert verdict.outcome is (Outcome.PASS if way else Outcome.FAIL)
    assert verdict.passed or "no version before 3; release a version instead" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("now", "asked", "reason"),
    [
        (state(previous="2"), "3", None),
        (state(previous="2"), "2", "version 2 is the one that a rollback would restore"),
        (state(previous="2"), "1", "version 1 has no traffic; name version 3"),
        (during("BAKING", candidate="4", previous="2"), "4", None),
        (during("BAKING", candidate="4", previous="2"), "3", "would restore"),
        (during("ROLLED_BACK", previous="2"), "4", "version 4 has no traffic"),
    ],
)
def test_a_version_that_is_named_is_taken_back_or_nothing_is(now: RolloutState, asked: str, reason: str | None) -> None:
    verdict = judge_rollback(now, asked)
    assert verdict.passed is (reason is None)
    assert reason is None or reason in verdict.reasons[0]


def test_a_table_that_not_every_worker_applied_does_not_stop_a_rollback() -> None:
    assert judge_rollback(state(previous="2", workers=2, applied=False), None).passed


@pytest.mark.parametrize("version", ["4", None])
def test_a_run_knows_its_own_rollback_again_and_no_other(version: str | None) -> None:
    told = rollback_reason("errors (many)", version, "m__rollback/manual__1/t/0")
    ended = during("ROLLED_BACK", reason=told)
    assert earlier_rollback(ended, "m__rollback/manual__1/t/0") == PlannedRollback(
        takes=version, to="3", rollout_id="r1"
    )
    assert earlier_rollback(ended, "m__rollback/manual__1/t/1") is None
    assert earlier_rollback(during("BAKING", candidate="4", reason=told), "m__rollback/manual__1/t/0") is None
    assert earlier_rollback(during("ROLLED_BACK", reason="its lease ended"), "m__rollback/manual__1/t/0") is None
