"""A lease ends after its seconds, whatever happens to the clock of the machine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from pipelines.rollout import transitions
from pipelines.rollout.transitions import Route
from pipelines.serving.control_plane.guard_loop import GuardLoop
from tests.serving.control_plane.test_rollback_by_http import NOW, PLAN, AdminPages, canary


class Watched:
    """The guard of a gateway, with a clock that can be set and one that cannot."""

    def __init__(self, pages: AdminPages) -> None:
        self.pages, self.passed = pages, 0.0

        async def collect() -> None:
            """No worker was started."""

        self.loop = GuardLoop(
            pages.releases, pages.rollouts, pages.counts, collect, now=lambda: pages.at, monotonic=lambda: self.passed
        )
        pages.serve(canary(500))
        self.look()

    def look(self, *, later: float = 0.0, clock: timedelta | None = None) -> str:
        """The phase after the next look; the clock of the machine goes as the other one does, or as it is set."""
        self.passed += later
        self.pages.at += timedelta(seconds=later) if clock is None else clock
        asyncio.run(self.loop.check_rollouts())
        rollout = self.route.rollout
        assert rollout is not None
        return rollout.phase

    @property
    def route(self) -> Route:
        return self.pages.releases.table.routes["flight_delay"]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    pages = AdminPages(tmp_path / "state")
    yield Watched(pages)
    pages.close()


@pytest.mark.parametrize("back", [timedelta(0), timedelta(minutes=-1), timedelta(days=-400)])
def test_a_clock_set_back_makes_no_lease_longer(watched: Watched, back: timedelta) -> None:
    assert watched.look(later=0, clock=back) == "BAKING"
    assert watched.look(later=PLAN.lease_seconds - 1) == "BAKING"
    assert watched.look(later=1) == "ROLLED_BACK"
    assert watched.pages.at < NOW + timedelta(days=1)


def test_a_lease_that_is_renewed_after_the_clock_was_set_back_has_its_full_time(watched: Watched) -> None:
    watched.look(later=30, clock=timedelta(days=-400))
    watched.pages.serve(transitions.renew_lease(watched.route, "r1", 60, watched.pages.at))
    assert watched.look(later=0) == "BAKING"
    assert watched.look(later=59) == "BAKING"
    assert watched.look(later=1) == "ROLLED_BACK"


def test_a_clock_set_forward_ends_a_lease_at_once(watched: Watched) -> None:
    assert watched.look(later=1, clock=timedelta(days=1)) == "ROLLED_BACK"
