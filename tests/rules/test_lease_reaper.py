"""What becomes of a rollout by its lease, its strategy, its target and its run, by table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines.messages.rollout import RolloutState
from pipelines.rules.lease_reaper import WatchedRollout, judge_lease

NOW = datetime(2026, 11, 2, 7, 0, tzinfo=UTC)


def watched(phase: str | None = "BAKING", *, over: float = -60, **fields: Any) -> WatchedRollout:
    """A canary on a target without a guard whose run goes on; its lease ended ``over`` seconds ago."""
    of_state = {name: fields.pop(name) for name in ("mirror", "reason", "lease_until") if name in fields}
    until = {"lease_until": NOW - timedelta(seconds=over)}
    state = RolloutState(
        model="m", generation=5, champion="3", candidate="4", split={"3": 10_000}, rollout_id="r1", phase=phase,
        **(until | of_state),
    )  # fmt: skip
    known = {"strategy": "canary", "guarded": False, "run": "m__deploy/manual__1", "run_is_active": True}
    return WatchedRollout.model_validate({"state": state, **known, **fields})


@pytest.mark.parametrize(
    ("found", "act", "why"),
    [
        (watched(), "keep", "m__deploy/manual__1 is still active"),
        (watched(phase=None, over=9), "keep", "its phase is none"),
        (watched(phase="ROLLED_BACK", over=9), "keep", "its phase is ROLLED_BACK"),
        (watched(phase="FINALISING", over=9), "keep", "its phase is FINALISING"),
        (watched(over=0), "rollback", "its lease ended at 2026-11-02T07:00:00"),
        (watched(over=9, strategy="blue_green"), "rollback", "its lease ended"),
        (watched(over=9, run_is_active=False), "rollback", "its lease ended"),
        (watched(phase="PAUSED", over=9), "rollback", "its lease ended"),
        (watched(over=9, strategy="ab"), "hold", "its lease ended"),
        (watched(phase="PAUSED", over=9, strategy="ab", reason="SRM"), "report", "paused until a person decides: SRM"),
        (watched(phase="SHADOWING", over=9, strategy="shadow", mirror="4"), "stop_mirror", "its lease ended"),
        (watched(phase="SHADOWING", over=9, strategy="all_at_once", mirror="4"), "stop_mirror", "its lease ended"),
        (watched(phase="PAUSED", over=9, strategy="shadow", mirror="4"), "stop_mirror", "its lease ended"),
        (
            watched(phase="PAUSED", over=9, strategy="shadow"),
            "report",
            "paused until a person decides: no reason given",
        ),
        (watched(over=59, guarded=True), "keep", "its target has 60 s to act on it"),
        (watched(over=60, guarded=True), "report", "check the target's guard"),
        (watched(phase="PAUSED", over=90, guarded=True, strategy="ab"), "report", "paused until a person decides"),
        (watched(phase="PAUSED"), "report", "paused until a person decides"),
        (watched(run_is_active=False), "report", "m__deploy/manual__1 has ended or was deleted; its lease lasts until"),
        (watched(run=None, run_is_active=False), "report", "its deploy run is not known"),
        (watched(lease_until=None), "report", "no lease"),
    ],
)
def test_a_rollout_that_nobody_watches_is_dealt_with_or_told_of(found: WatchedRollout, act: str, why: str) -> None:
    judged = judge_lease(found, NOW)
    assert judged.action == act
    assert why in judged.reason


def test_a_rollout_without_a_known_run_is_reported_with_the_end_of_its_lease() -> None:
    state = watched().state
    unknown = WatchedRollout(state=state, strategy="canary", guarded=False)
    assert judge_lease(unknown, NOW).reason == (
        "its deploy run is not known; its lease lasts until 2026-11-02T07:01:00+00:00"
    )
