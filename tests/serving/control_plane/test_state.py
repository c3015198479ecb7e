"""The gateway's file holds whole routes only, one change at a time, and what it answered before."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipelines.errors import Refused
from pipelines.rollout import transitions as moves
from pipelines.rollout.plan import Guard, RolloutPlan
from pipelines.rollout.transitions import FULL_SHARE, Route, Served
from pipelines.serving.control_plane.state import GatewayState, GenerationMismatch, KeyReused

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ONE, TWO = (Served(version, f"/{version}", version * 64) for version in "12")
PLAN = RolloutPlan("canary", 60, Guard(0.01))


def begun(share: int) -> Route:
    route = moves.create(Route(ONE), "r1", PLAN, NOW, "p", False)
    route = moves.prepare_candidate(route, "r1", TWO, NOW)
    return moves.shift_traffic(route, "r1", {"1": FULL_SHARE - share, "2": share}, NOW)


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
