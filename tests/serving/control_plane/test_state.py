"""Whatever is asked in whatever order, the row is whole: shares sum to 10,000 and what has ended stays ended."""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import Refused
from pipelines.rollout import transitions as moves
from pipelines.rollout.plan import BreakerLimits, Guard, LatencyLimit, RolloutPlan, RoutingPlan
from pipelines.rollout.transitions import FULL_SHARE, Mirror, Route, Served, check_route
from pipelines.serving.control_plane.state import GatewayState, GenerationMismatch, KeyReused

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ONE, TWO, THREE = (Served(version, f"/{version}", version * 64) for version in "123")
PLAN = RolloutPlan("canary", 60, Guard(0.01))


def begun(share: int = 0, strategy: Any = "canary") -> Route:
    route = moves.create(Route(ONE), "r1", msgspec.structs.replace(PLAN, strategy=strategy), NOW, "p", False)
    route = moves.prepare_candidate(route, "r1", TWO, NOW)
    return moves.shift_traffic(route, "r1", {"1": FULL_SHARE - share, "2": share}, NOW) if share else route


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"guard": Guard()}, "no limit"),
        ({"lease_seconds": 0}, "must be above 0"),
        ({"lease_seconds": float("nan")}, "lease"),
        ({"lease_seconds": 1e9}, "lease"),
        ({"guard": Guard(1.0)}, "max_error_rate is 1"),
        ({"guard": Guard(0.0)}, "max_error_rate is 0"),
        ({"guard": Guard(latency=(LatencyLimit(100, 1.0),))}, "share must lie between"),
        ({"guard": Guard(0.1, alpha=0)}, "alpha"),
        ({"routing": RoutingPlan(key="cookie")}, "routing.key"),
        ({"routing": RoutingPlan(key="header:")}, "routing.key"),
        ({"routing": RoutingPlan(salt="x" * 65)}, "salt"),
        ({"deadline_ms": 0}, "deadline_ms"),
        ({"breaker": BreakerLimits(failures=0)}, "breaker"),
    ],
)
def test_a_rollout_that_could_not_fail_or_not_be_followed_is_refused(changes: dict[str, Any], says: str) -> None:
    plan = msgspec.structs.replace(PLAN, **changes)
    with pytest.raises(Refused, match=says):
        moves.create(Route(ONE), "r1", plan, NOW, "p", False)


@pytest.mark.parametrize(
    ("split", "says"),
    [
        ({"1": 9000}, "sum to 9000"),
        ({"1": 9000, "2": 1001}, "sum to 10001"),
        ({"1": 10_500, "2": -500}, "gets -500"),
        ({"1": 5000, "3": 5000}, "'3' is neither"),
        ({"2": 10_001, "1": -1}, "gets 10001"),
    ],
)
def test_a_split_that_is_not_whole_is_refused(split: dict[str, int], says: str) -> None:
    with pytest.raises(Refused, match=says):
        moves.shift_traffic(begun(), "r1", split, NOW)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("shift"), st.integers(-5, 10_005), st.integers(-5, 10_005)),
        st.tuples(st.just("mirror"), st.integers(-1, 10_001), st.sampled_from(["1", "2", None])),
        st.tuples(st.sampled_from(["pause", "resume", "promote", "back", "retire", "create", "prepare", "fail"])),
    ),
    max_size=12,
)


def _step(route: Route, step: tuple[Any, ...]) -> Route:
    match step:
        case ("shift", one, two):
            return moves.shift_traffic(route, "r1", {route.live.version: one, "2": two}, NOW)
        case ("mirror", share, version):
            return moves.set_mirror(route, "r1", None if version is None else Mirror(version, share), NOW)
        case ("pause",):
            return moves.pause(route, "r1", "why")
        case ("resume",):
            return moves.resume(route, "r1", NOW)
        case ("promote",):
            return moves.promote(route, "r1", "2")
        case ("back",):
            return moves.roll_back(route, "why")
        case ("retire",):
            return moves.finish_promotion(route, "r1", None)
        case ("prepare",):
            return moves.prepare_candidate(route, "r1", TWO, NOW)
        case ("fail",):
            return moves.fail_preparation(route, "r1", "why")
        case _:
            return moves.create(route, "r1", PLAN, NOW, "p", False)


@settings(max_examples=300)
@given(STEPS)
def test_whatever_is_asked_the_shares_are_whole_the_canary_grows_and_the_end_is_the_end(steps: list[Any]) -> None:
    route = begun()
    for step in steps:
        before = route
        with contextlib.suppress(Refused):
            route = _step(route, step)
        check_route(route)
        assert sum((route.split or {route.live.version: FULL_SHARE}).values()) == FULL_SHARE
        assert route.rollout is not None
        assert before.rollout is not None
        if not route.rollout.active:
            assert (route.split, route.mirror, route.candidate) == ({}, None, None)
        if before.rollout.phase in ("SUCCEEDED", "ROLLED_BACK", "FAILED") and step[0] != "create":
            assert route == before
        if step[0] == "shift" and route.rollout.active:
            assert route.share() >= before.share()


def test_an_ab_split_stays_as_it_began_and_a_shadow_gets_no_traffic() -> None:
    with pytest.raises(Refused, match="cannot change from"):
        moves.shift_traffic(begun(5000, "ab"), "r1", {"1": 4000, "2": 6000}, NOW)
    with pytest.raises(Refused, match="is a shadow"):
        begun(100, "shadow")


def test_a_canary_is_not_made_smaller_but_rolled_back() -> None:
    with pytest.raises(Refused, match="roll back"):
        moves.shift_traffic(begun(1000), "r1", {"1": 9500, "2": 500}, NOW)
    after = moves.roll_back(begun(1000), "errors")
    assert (after.live, after.split, after.candidate) == (ONE, {}, None)
    assert after.rollout is not None
    assert (after.rollout.phase, after.rollout.reason) == ("ROLLED_BACK", "errors")


def test_a_promotion_can_be_taken_back_until_it_is_finished() -> None:
    promoted = moves.promote(begun(1000), "r1", "2")
    assert (promoted.live, promoted.previous) == (TWO, ONE)
    assert moves.roll_back(promoted, "late errors").live == ONE
    done = moves.finish_promotion(promoted, "r1", None)
    assert done.rollout is not None
    assert (done.rollout.phase, done.previous) == ("SUCCEEDED", ONE)
    with pytest.raises(Refused, match="no rollout is active"):
        moves.roll_back(done, "too late")


def test_a_second_rollout_waits_or_says_that_it_supersedes() -> None:
    with pytest.raises(Refused, match="rollout r1 is BAKING"):
        moves.create(begun(1000), "r2", PLAN, NOW, "p", False)
    assert moves.create(begun(1000), "r2", PLAN, NOW, "p", True).candidate is None


# ---- the file -----------------------------------------------------------------------------------------------------


def change(state: GatewayState, route: Route, key: str, expect: int | None = None, **how: Any) -> None:
    state.change("m", route, key=key, request={"key": key, "of": ()}, action="a", at="now", expect=expect, **how)


def test_a_change_decided_on_an_older_generation_changes_nothing(tmp_path: Path) -> None:
    state = GatewayState(tmp_path / "state.db")
    change(state, Route(ONE), "a", 0)
    with pytest.raises(GenerationMismatch, match="at generation 1, not 0"):
        change(state, begun(100), "b", 0)
    assert state.table().routes["m"] == Route(ONE)
    assert state.find_generation("b", {"key": "b", "of": ()}) is None
    change(state, begun(100), "b", 1)
    assert state.table().routes["m"] == begun(100)


def test_another_models_change_is_no_conflict(tmp_path: Path) -> None:
    state = GatewayState(tmp_path / "state.db")
    change(state, Route(ONE), "a", 0)
    state.change("other", Route(ONE), key="o", request={}, action="a", at="now", expect=0)
    change(state, Route(TWO), "b", 1)
    assert state.generation("m") == 3


def test_the_file_never_takes_a_split_that_is_not_whole(tmp_path: Path) -> None:
    state = GatewayState(tmp_path / "state.db")
    broken = msgspec.structs.replace(begun(100), split={"1": 9000, "2": 999})
    with pytest.raises(Refused, match="sum to 9999"):
        change(state, broken, "a")
    assert state.table().routes == {}


def test_a_key_keeps_its_answer_and_its_meaning(tmp_path: Path) -> None:
    state = GatewayState(tmp_path / "state.db")
    change(state, Route(ONE), "a", answer={"split": {"1": FULL_SHARE}})
    change(state, begun(100), "b")
    assert state.stored_answer("a") == {"split": {"1": FULL_SHARE}, "generation": 1}
    assert state.find_generation("a", {"key": "a", "of": ()}) == 1
    with pytest.raises(KeyReused):
        state.find_generation("a", {"key": "other"})


def test_the_record_of_an_ended_rollout_is_kept_and_comes_with_the_change_that_ended_it(tmp_path: Path) -> None:
    state = GatewayState(tmp_path / "state.db")
    first = begun(100)
    change(state, first, "a")
    assert first.rollout is not None
    ended = msgspec.structs.replace(first.rollout, phase="SUPERSEDED")
    change(state, moves.create(first, "r2", PLAN, NOW, "p", True), "b", superseded=ended)
    found = GatewayState(tmp_path / "state.db").rollout("m", "r1")
    assert found is not None
    assert found.phase == "SUPERSEDED"
    assert found.lease_until == NOW + timedelta(seconds=60)


def test_a_file_of_before_there_were_rollouts_is_read_and_written(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    old = sqlite3.connect(path)
    old.executescript(
        "CREATE TABLE routes (model TEXT PRIMARY KEY, route BLOB NOT NULL);"
        "CREATE TABLE generations (number INTEGER PRIMARY KEY, at TEXT NOT NULL, key TEXT NOT NULL,"
        " model TEXT NOT NULL, action TEXT NOT NULL, details BLOB NOT NULL);"
        "CREATE TABLE answers (key TEXT PRIMARY KEY, request BLOB NOT NULL, generation INTEGER NOT NULL);"
    )
    route = {
        "live": {"version": "2", "bundle": "/2", "sha256": "2" * 64},
        "previous": {"version": "1", "bundle": "/1", "sha256": "1" * 64},
    }
    old.execute("INSERT INTO routes VALUES ('m', ?)", (msgspec.json.encode(route),))
    old.execute("INSERT INTO generations VALUES (7, 'then', 'k', 'm', 'release', '{}')")
    old.execute("INSERT INTO answers VALUES ('k', '{}', 7)")
    old.commit()
    old.close()
    for _ in range(2):  # reading it twice is reading it once
        state = GatewayState(path)
        assert state.table().routes["m"] == Route(TWO, ONE)
        assert (state.find_generation("k", {}), state.stored_answer("k"), state.generation("m")) == (7, None, 7)
        state.close()
    state = GatewayState(path)
    change(state, begun(100), "new", 7, answer={})
    assert state.stored_answer("new") == {"generation": 8}
