"""What every target of a rollout promises, as tests that a target's own module runs by deriving from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pipelines.errors import Conflict, Refused
from pipelines.ports import DeploymentTarget

MODEL = "flight_delay"
PLAN: dict[str, Any] = {"strategy": "canary", "lease_seconds": 600, "guard": {"max_error_rate": 0.05}}

Bundle = Callable[[str], tuple[str, str]]
"""URI and digest of a version's bundle."""


def prepared(target: DeploymentTarget, bundle: Bundle, rollout_id: str = "r1", **plan: Any) -> int:
    """Version 2 stands beside version 1; returns the generation."""
    if target.state(MODEL).version is None:
        target.release(MODEL, "1", *bundle("1"), key="first")
    state = target.rollout(MODEL)
    state = target.create_rollout(MODEL, rollout_id, PLAN | plan, expect=state.generation, key=f"{rollout_id}/create")
    state = target.prepare(MODEL, rollout_id, "2", *bundle("2"), expect=state.generation, key=f"{rollout_id}/prepare")
    return state.generation


class RolloutContract:
    """Fixtures: ``target`` serves nothing yet; ``bundle`` gives the bundle of a version."""

    reaches_without_traffic = True
    """Whether a version without traffic can be reached by its probe."""

    def test_a_first_version_is_loaded_for_its_test_and_is_live_only_by_its_release(
        self, target: DeploymentTarget, bundle: Bundle
    ) -> None:
        if not self.reaches_without_traffic:
            with pytest.raises(Refused, match="remove load_test"):
                target.load_unreleased(MODEL, "1", *bundle("1"), seconds=600)
            return
        probe = target.load_unreleased(MODEL, "1", *bundle("1"), seconds=600)
        assert probe
        assert target.load_unreleased(MODEL, "1", *bundle("1"), seconds=600) == probe
        assert target.state(MODEL).version is None
        with pytest.raises(Refused, match="no champion"):
            target.rollout(MODEL)
        assert target.release(MODEL, "1", *bundle("1"), key="first").version == "1"
        with pytest.raises(Refused, match="version 1 of flight_delay is live"):
            target.load_unreleased(MODEL, "2", *bundle("2"), seconds=600)
        target.unload_unreleased(MODEL)
        assert target.state(MODEL).version == "1"

    def test_a_first_version_that_failed_its_test_leaves_nothing(
        self, target: DeploymentTarget, bundle: Bundle
    ) -> None:
        if self.reaches_without_traffic:
            target.load_unreleased(MODEL, "1", *bundle("1"), seconds=600)
        target.unload_unreleased(MODEL)
        target.unload_unreleased(MODEL)
        assert target.state(MODEL).version is None

    def test_the_first_version_is_released_and_the_next_release_can_be_taken_back(
        self, target: DeploymentTarget, bundle: Bundle
    ) -> None:
        assert target.state(MODEL).version is None
        with pytest.raises(Refused, match="no champion"):
            target.rollout(MODEL)
        first = target.release(MODEL, "1", *bundle("1"), key="a")
        assert (first.version, first.previous, first.bundle_sha256) == ("1", None, bundle("1")[1])
        second = target.release(MODEL, "2", *bundle("2"), key="b")
        assert (second.version, second.previous) == ("2", "1")
        assert second.generation > first.generation
        assert target.release(MODEL, "2", *bundle("2"), key="b").generation == second.generation
        back = target.restore_previous(MODEL, key="c", reason="worse")
        assert (back.version, back.previous) == ("1", None)
        assert target.restore_previous(MODEL, key="c", reason="worse").version == "1"
        with pytest.raises(Refused, match="no previous"):
            target.restore_previous(MODEL, key="d", reason="worse")

    def test_a_rollout_goes_its_way_from_creation_to_retirement(self, target: DeploymentTarget, bundle: Bundle) -> None:
        before = prepared(target, bundle)
        state = target.rollout(MODEL)
        assert (state.phase, state.champion, state.candidate, state.split) == ("READY", "1", "2", {"1": 10_000})
        assert state.probe
        state = target.set_traffic(MODEL, "r1", {"1": 9500, "2": 500}, expect=before, key="step")
        assert (state.phase, state.step, state.split) == ("BAKING", 1, {"1": 9500, "2": 500})
        again = target.set_traffic(MODEL, "r1", {"1": 9500, "2": 500}, expect=before, key="step")
        assert (again.generation, again.step, again.split) == (state.generation, 1, {"1": 9500, "2": 500})
        with pytest.raises(Refused, match="used for"):
            target.set_traffic(MODEL, "r1", {"1": 9000, "2": 1000}, expect=state.generation, key="step")
        renewed = target.renew_lease(MODEL, "r1", 900, expect=state.generation, key="lease")
        assert renewed.generation == state.generation
        assert renewed.lease_until is not None
        assert state.lease_until is not None
        assert renewed.lease_until > state.lease_until
        state = target.pause(MODEL, "r1", "lunch", expect=state.generation, key="pause")
        assert (state.phase, state.reason, state.split) == ("PAUSED", "lunch", {"1": 9500, "2": 500})
        state = target.resume(MODEL, "r1", expect=state.generation, key="resume")
        assert state.phase == "BAKING"
        state = target.promote(MODEL, "r1", "2", expect=state.generation, key="promote")
        assert (state.champion, state.previous, state.phase, state.split) == ("2", "1", "FINALISING", {"2": 10_000})
        state = target.retire(MODEL, "r1", "1", expect=state.generation, key="retire")
        assert (state.phase, state.previous) == ("SUCCEEDED", None)
        with pytest.raises(Refused, match="SUCCEEDED"):
            target.set_traffic(MODEL, "r1", {"2": 10_000}, expect=state.generation, key="late")

    def test_a_write_decided_on_an_older_generation_is_a_conflict_and_changes_nothing(
        self, target: DeploymentTarget, bundle: Bundle
    ) -> None:
        stale = prepared(target, bundle)
        now = target.set_traffic(MODEL, "r1", {"1": 9500, "2": 500}, expect=stale, key="step")
        changes: list[Callable[[], Any]] = [
            lambda: target.set_traffic(MODEL, "r1", {"1": 5000, "2": 5000}, expect=stale, key="x1"),
            lambda: target.pause(MODEL, "r1", "late", expect=stale, key="x2"),
            lambda: target.promote(MODEL, "r1", "2", expect=stale, key="x3"),
            lambda: target.renew_lease(MODEL, "r1", 900, expect=stale, key="x4"),
            lambda: target.create_rollout(MODEL, "r2", PLAN | {"supersede": True}, expect=stale, key="x5"),
        ]
        for change in changes:
            with pytest.raises(Conflict):
                change()
        assert target.rollout(MODEL) == now

    def test_traffic_that_is_no_whole_or_goes_to_a_stranger_is_refused(
        self, target: DeploymentTarget, bundle: Bundle
    ) -> None:
        generation = prepared(target, bundle)
        odd = [{"1": 9000, "2": 500}, {"1": 0, "2": 0}, {"1": 10_500, "2": -500}, {"1": 5000, "3": 5000}]
        for number, split in enumerate(odd):
            with pytest.raises(Refused):
                target.set_traffic(MODEL, "r1", split, expect=generation, key=f"odd/{number}")
        assert target.rollout(MODEL).split == {"1": 10_000}

    def test_a_rollback_wins_whatever_the_generation_and_what_has_ended_stays_ended(
        self, target: DeploymentTarget, bundle: Bundle
    ) -> None:
        generation = prepared(target, bundle)
        target.set_traffic(MODEL, "r1", {"1": 5000, "2": 5000}, expect=generation, key="step")
        state = target.roll_back(MODEL, "r1", "errors", key="back")
        assert (state.phase, state.split, state.reason) == ("ROLLED_BACK", {"1": 10_000}, "errors")
        assert target.roll_back(MODEL, "r1", "again", key="back again").generation == state.generation
        assert target.create_rollout(MODEL, "r1", PLAN, expect=1, key="r1/create").phase == "ROLLED_BACK"
        with pytest.raises(Refused, match="never had"):
            target.roll_back(MODEL, "r9", "errors", key="unknown")

    def test_a_promotion_that_is_not_finished_can_be_rolled_back(
        self, target: DeploymentTarget, bundle: Bundle
    ) -> None:
        generation = prepared(target, bundle)
        target.promote(MODEL, "r1", "2", expect=generation, key="promote")
        state = target.roll_back(MODEL, "r1", "worse than thought", key="back")
        assert (state.champion, state.phase, state.split) == ("1", "ROLLED_BACK", {"1": 10_000})

    def test_a_plan_without_a_limit_and_a_second_rollout_beside_the_first_are_refused(
        self, target: DeploymentTarget, bundle: Bundle
    ) -> None:
        target.release(MODEL, "1", *bundle("1"), key="first")
        with pytest.raises(Refused, match="guard has no limit"):
            target.create_rollout(MODEL, "r0", PLAN | {"guard": {}}, expect=1, key="blind")
        state = target.create_rollout(MODEL, "r1", PLAN, expect=1, key="create")
        with pytest.raises(Refused, match="rollout r1 is PENDING"):
            target.create_rollout(MODEL, "r2", PLAN, expect=state.generation, key="second")
        state = target.create_rollout(MODEL, "r2", PLAN | {"supersede": True}, expect=state.generation, key="instead")
        assert (state.rollout_id, state.phase) == ("r2", "PENDING")
        assert target.roll_back(MODEL, "r1", "late", key="late").rollout_id == "r2"
        with pytest.raises(Refused, match="r2"):
            target.release(MODEL, "3", *bundle("3"), key="between")
