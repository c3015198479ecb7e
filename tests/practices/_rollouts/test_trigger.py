"""A rollout is watched without a worker, and its lease lives as long as the watch does."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from practices._rollouts import trigger as rollout_trigger
from practices._rollouts.trigger import RolloutWatch
from tests.practices.deploy_run import DeployRun
from tests.practices.practice_harness import MODEL, PracticeHarness


@pytest.fixture
def run(harness: PracticeHarness, monkeypatch: pytest.MonkeyPatch) -> DeployRun:
    made = DeployRun(harness)
    made.play(until="shift_to_5")
    monkeypatch.setattr("practices._connections.installation.open_fresh_ports", lambda: harness)
    monkeypatch.setattr(rollout_trigger, "POLL_SECONDS", 0.01)
    return made


def watch(run: DeployRun, *, seconds: float = 60, lease: float | None = 3) -> RolloutWatch:
    """As the triggerer makes it, from what was kept of it."""
    until = (run.clock() + timedelta(seconds=seconds)).isoformat()
    path, kept = RolloutWatch(MODEL, "r5", run.state.generation, until, lease).serialize()
    assert path == "practices._rollouts.trigger.RolloutWatch"
    return RolloutWatch(**kept)


def fired(trigger: RolloutWatch, meanwhile: Any = None) -> dict[str, Any]:
    async def first() -> Any:
        waiting = asyncio.ensure_future(anext(trigger.run()))
        if meanwhile is not None:
            await asyncio.sleep(0.1)
            assert not waiting.done()
            meanwhile()
        return await asyncio.wait_for(waiting, timeout=180)

    payload: dict[str, Any] = asyncio.run(first()).payload
    return payload


def test_it_fires_when_the_next_look_is_due(run: DeployRun) -> None:
    assert fired(watch(run), lambda: run.clock.advance(timedelta(seconds=60))) == {"moved": False}


def test_it_fires_in_its_time_although_the_clock_was_set_back(run: DeployRun) -> None:
    trigger, readings = watch(run, seconds=0.2, lease=None), itertools.count()
    began = run.clock()
    run.field.clock = lambda: began - timedelta(days=400 if next(readings) else 0)  # type: ignore[assignment]
    assert fired(trigger) == {"moved": False}


def test_it_fires_as_soon_as_the_target_decides_by_itself(run: DeployRun) -> None:
    decided = fired(watch(run), lambda: run.target.roll_back(MODEL, "r5", "guard", key="guard"))
    assert decided == {"moved": True}


def test_while_it_waits_the_lease_is_renewed(run: DeployRun) -> None:
    run.clock.advance(timedelta(seconds=50))
    fired(watch(run, seconds=0, lease=90))
    assert run.state.lease_until == run.clock() + timedelta(seconds=90)


def test_without_a_lease_it_changes_nothing(run: DeployRun) -> None:
    before = run.state
    fired(watch(run, seconds=0, lease=None))
    assert run.state == before


def test_a_target_that_does_not_answer_is_asked_again(run: DeployRun) -> None:
    def come_back() -> None:
        run.target.down = False
        run.target.roll_back(MODEL, "r5", "guard", key="guard")

    trigger = watch(run)
    run.target.down = True
    assert fired(trigger, come_back) == {"moved": True}


def test_a_restarted_triggerer_goes_on_with_the_same_moment(run: DeployRun) -> None:
    first = watch(run, seconds=60)
    run.clock.advance(timedelta(seconds=59))
    again = RolloutWatch(**first.serialize()[1])
    assert datetime.fromisoformat(again.until) == run.clock() + timedelta(seconds=1)
    assert datetime.fromisoformat(again.until).tzinfo == UTC
