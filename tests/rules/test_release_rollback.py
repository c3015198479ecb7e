"""Where a rollback may go, by table."""

from __future__ import annotations

import pytest

from pipelines.messages import LiveState
from pipelines.rules.release_rollback import judge_rollback
from pipelines.verdict import Outcome


@pytest.mark.parametrize(
    ("version", "previous", "target", "reasons"),
    [
        ("3", "2", None, []),
        ("3", "2", "2", []),
        (None, None, None, ["no live version"]),
        ("3", None, None, ["no version before 3"]),
        ("3", "2", "3", ["version 3 of flight_delay is live already"]),
        ("3", "2", "1", ["version 1 is not the one before 3 (kept: 2); release it instead"]),
        ("3", None, "1", ["no version before 3", "kept: none"]),
    ],
)
def test_a_rollback_goes_to_the_previous_version_or_nowhere(
    version: str | None, previous: str | None, target: str | None, reasons: list[str]
) -> None:
    state = LiveState(model="flight_delay", version=version, previous=previous, generation=5, workers=1)
    verdict = judge_rollback(state, target)
    assert verdict.outcome is (Outcome.FAIL if reasons else Outcome.PASS)
    assert len(verdict.reasons) == len(reasons)
    assert [part for part, reason in zip(reasons, verdict.reasons, strict=True) if part not in reason] == []


def test_a_table_that_not_every_worker_applied_does_not_stop_a_rollback() -> None:
    state = LiveState(model="m", version="3", previous="2", generation=5, workers=2, applied=False)
    assert judge_rollback(state, None).passed
