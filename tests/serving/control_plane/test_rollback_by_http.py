"""A rollback by one HTTP call: of the version that is named or of none, by somebody, with a word before it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from pipelines.rollout import transitions
from pipelines.rollout.plan import Guard, RolloutPlan
from pipelines.rollout.transitions import FULL_SHARE, Route, Served
from pipelines.serving.control_plane.admin import Admin
from pipelines.serving.control_plane.admin_access import AdminAccess
from pipelines.serving.control_plane.counts import RolloutCounts
from pipelines.serving.control_plane.releases import Releases
from pipelines.serving.control_plane.rollouts import Rollouts
from pipelines.serving.control_plane.state import GatewayState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PLAN = RolloutPlan("canary", 60, Guard(0.01))
ONE, TWO, THREE = (Served(version, f"/{version}", version * 64) for version in "123")
MODEL = "/models/flight_delay"


def canary(share: int, rollout_id: str = "r1", live: Served = TWO, candidate: Served = THREE) -> Route:
    """``candidate`` has ``share`` basis points beside ``live``; version 1 is the one before."""
    route = transitions.create(Route(live, ONE), rollout_id, PLAN, NOW, "p", False)
    route = transitions.prepare_candidate(route, rollout_id, candidate, NOW)
    split = {live.version: FULL_SHARE - share, candidate.version: share}
    return transitions.shift_traffic(route, rollout_id, split, NOW)


def promoted() -> Route:
    """Version 3 is live after a rollout that is over; version 2 is the one before."""
    return transitions.finish_promotion(transitions.promote(canary(5000), "r1", "3", NOW), "r1", None)


class AdminPages:
    """The admin listener of a gateway none of whose workers was started."""

    def __init__(self, folder: Path) -> None:
        self.at, self.changes = NOW, 0
        self.state, self.counts = GatewayState(folder / "state.db"), RolloutCounts(folder / "counts.db")
        self.releases = Releases(self.state, folder, list, roots=[str(folder)], now=lambda: self.at)
        told: dict[str, Any] = {"now": lambda: self.at, "collect_counts": None}
        self.rollouts = Rollouts(self.state, self.releases, self.counts, **told)
        listener: Any = SimpleNamespace(releases=self.releases, rollouts=self.rollouts)
        self.application: Any = Admin(listener, AdminAccess("a token of the tests alone", local_only=False))

    def close(self) -> None:
        self.state.close()
        self.counts.close()

    def serve(self, route: Route) -> None:
        """Let the model be in this state."""
        self.changes += 1
        change: dict[str, Any] = {"key": f"given-{self.changes}", "request": {}, "action": "given", "at": "before"}
        self.releases.table = self.state.change("flight_delay", route, **change)

    def call(self, method: str, page: str, content: Any = None, **headers: str) -> httpx.Response:
        self.at += timedelta(seconds=1)
        self.changes += 1
        named = {"idempotency-key": f"call-{self.changes}"} | {
            f"x-airworthy-{name}": text for name, text in headers.items()
        }
        named["authorization"] = "Bearer a token of the tests alone"

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.application)
            async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
                return await client.request(method, MODEL + page, json=content, headers=named)

        return asyncio.run(ask())

    def roll_back(self, page: str = "/rollback", **content: Any) -> httpx.Response:
        return self.call("POST", page, {"reason": "late flights look punctual"} | content)

    def newest_change(self) -> dict[str, Any]:
        change: dict[str, Any] = self.call("GET", "/history").json()[-1]
        return change


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[AdminPages]:
    pages = AdminPages(tmp_path / "state")
    yield pages
    pages.close()


@pytest.mark.parametrize(
    ("route", "version", "fault"),
    [
        (canary(500), "3", None),
        (canary(500), "2", "version 2 is the one that a rollback would restore"),
        (canary(500), "1", "version 1 has no traffic; name version 3 to roll it back"),
        (promoted(), "3", None),
        (promoted(), "2", "version 2 is the one that a rollback would restore"),
        (Route(TWO, ONE), "2", None),
        (Route(TWO, ONE), "3", "version 3 has no traffic; name version 2 to roll it back"),
    ],
)
@pytest.mark.parametrize("page", ["/rollback", "/rollouts/r1/rollback"])
def test_a_version_that_is_named_is_rolled_back_or_nothing_is(
    admin: AdminPages, route: Route, version: str, fault: str | None, page: str
) -> None:
    admin.serve(route)
    response = admin.roll_back(page, version=version)
    ended = page != "/rollback" and (route.rollout is None or not route.rollout.can_roll_back)
    now = admin.releases.table.routes["flight_delay"]
    if fault is not None and not ended:
        assert (response.status_code, fault in response.text) == (422, True), response.text
    if fault is not None or ended:
        assert now == route
    else:
        assert response.status_code == 200, response.text
        assert version not in (now.live.version, *now.split)


def test_who_asked_is_in_the_history_with_what_happened(admin: AdminPages) -> None:
    admin.serve(canary(500))
    assert admin.roll_back(actor="Zoë on call").status_code == 200
    change = admin.newest_change()["request"]
    assert {name: change[name] for name in ("actor", "reason", "taken_back", "share", "answers_next")} == {
        "actor": "Zoë on call",
        "reason": "late flights look punctual (by Zoë on call)",
        "taken_back": "3",
        "share": 500,
        "answers_next": "2",
    }
    assert admin.call("GET", "/rollout").json()["rollout"]["reason"] == change["reason"]


def test_a_caller_is_known_by_its_header_and_else_by_its_address(admin: AdminPages) -> None:
    admin.serve(Route(TWO, ONE))
    assert admin.roll_back().status_code == 200
    assert admin.newest_change()["request"]["actor"] == "unnamed at 127.0.0.1"
    admin.serve(canary(500))
    assert admin.call("POST", "/rollouts/r1/rollback", {"reason": "r"}, actor="Zo%C3%AB").status_code == 200
    assert admin.newest_change()["request"]["actor"] == "Zoë"
    admin.serve(canary(500, "r2"))
    asyncio.run(admin.rollouts.roll_back("flight_delay", "r2", "too many errors", key="guard"))
    assert admin.newest_change()["request"]["actor"] == "gateway"


def test_a_repeated_call_is_answered_alike_whoever_repeats_it(admin: AdminPages) -> None:
    admin.serve(Route(TWO, ONE))
    for _ in range(2):
        admin.changes = 100
        assert admin.roll_back(version="2").json()["version"] == "1"


@pytest.mark.parametrize(
    ("route", "taken_back", "answers_next", "rollout_id"),
    [
        (canary(500), "3", "2", "r1"),
        (transitions.promote(canary(5000), "r1", "3", NOW), "3", "2", "r1"),
        (promoted(), "3", "2", None),
        (Route(TWO, ONE), "2", "1", None),
    ],
)
def test_what_a_rollback_would_do_is_said_before_it_and_happens_then(
    admin: AdminPages, route: Route, taken_back: str, answers_next: str, rollout_id: str | None
) -> None:
    admin.serve(route)
    assert admin.call("GET", "/rollback").json() == {
        "model": "flight_delay",
        "taken_back": taken_back,
        "answers_next": answers_next,
        "rollout_id": rollout_id,
        "warnings": [],
    }
    assert admin.roll_back().json()["version"] == answers_next


def test_before_a_rollback_that_is_impossible_the_reason_is_said(admin: AdminPages) -> None:
    for route, reason in ((None, "has no champion yet"), (Route(ONE), "no previous version to restore")):
        if route is not None:
            admin.serve(route)
        response = admin.call("GET", "/rollback")
        assert (response.status_code, reason in response.text) == (422, True)


def test_a_version_that_was_itself_taken_back_from_callers_is_named_before_it_answers_again(admin: AdminPages) -> None:
    admin.serve(canary(500))
    admin.roll_back(actor="ann")
    admin.serve(Route(ONE, THREE))
    [warning] = admin.call("GET", "/rollback").json()["warnings"]
    assert warning.startswith("version 3 was itself taken back at 2026-01-01T00:00:0")
    assert "by ann: late flights look punctual" in warning


@pytest.mark.parametrize(("share", "rollout_id"), [(0, "r1"), (1, "drill-1")])
def test_a_candidate_without_callers_and_a_drill_are_no_reason_to_warn(
    admin: AdminPages, share: int, rollout_id: str
) -> None:
    admin.serve(canary(share, rollout_id))
    admin.roll_back()
    admin.serve(Route(ONE, THREE))
    assert admin.call("GET", "/rollback").json()["warnings"] == []


def test_the_rollout_that_promoted_a_version_says_that_it_was_taken_back(admin: AdminPages) -> None:
    admin.serve(promoted())
    admin.roll_back()
    rollout = admin.call("GET", "/rollout").json()["rollout"]
    assert (rollout["phase"], rollout["reason"]) == ("ROLLED_BACK", "late flights look punctual")
