"""What tasks read of a rollout is what the target recorded, field by field."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pipelines.messages.release import LiveState
from pipelines.messages.rollout import RolloutState
from pipelines.rollout.plan import Guard, RolloutPlan
from pipelines.rollout.state import make_live_state, make_rollout_state
from pipelines.rollout.transitions import Mirror, RolloutRecord, Route, Served

NOW = datetime(2026, 1, 1, tzinfo=UTC)
V1, V2, V3 = (Served(version, f"/{version}", version * 64) for version in "123")
RECORD = RolloutRecord(
    "r1", RolloutPlan("canary", 60, Guard(0.01)), "PAUSED", NOW, NOW + timedelta(seconds=60), V1, V2, 3, NOW, "why", "p"
)
SPLIT = {"1": 9000, "2": 1000}


def test_a_rollout_is_read_with_its_roles_its_traffic_and_its_record() -> None:
    route = Route(V1, V3, V2, SPLIT, Mirror("2", 700), RECORD)
    assert make_rollout_state(
        "m", route, {"1": 8999, "2": 1001}, generation=7, workers=4, applied=False
    ) == RolloutState(
        model="m",
        generation=7,
        champion="1",
        candidate="2",
        previous="3",
        split={"1": 8999, "2": 1001},
        mirror="2",
        mirror_basis_points=700,
        rollout_id="r1",
        phase="PAUSED",
        step=3,
        step_started=NOW,
        lease_until=NOW + timedelta(seconds=60),
        reason="why",
        probe="p",
        workers=4,
        applied=False,
    )


def test_a_live_version_alone_is_read_without_roles_that_nobody_has() -> None:
    expected = RolloutState(model="m", generation=1, champion="1", split={"1": 10_000}, workers=1)
    state = make_rollout_state("m", Route(V1), {"1": 10_000}, generation=1, workers=1)
    assert state == expected
    assert (state.mirror, state.mirror_basis_points, state.applied) == (None, 0, True)


def test_a_live_version_is_read_with_its_bundle_and_the_version_that_can_be_restored() -> None:
    assert make_live_state("m", Route(V1, V3), generation=2, workers=4, applied=False) == LiveState(
        model="m", version="1", previous="3", generation=2, bundle_sha256="1" * 64, workers=4, applied=False
    )
    assert make_live_state("m", Route(V1), generation=2, workers=4).previous is None
    assert make_live_state("m", Route(V1), generation=2, workers=4).applied is True
