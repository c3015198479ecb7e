"""The door stands before a rollout, too: who may name a candidate, and what of a mirrored row is written down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tests.serving.candidates import ANSWER
from tests.serving.front_gateways import KEYS, front, keys
from tests.serving.rollout_calls import CHAMPION, Rollout, body, row

MAIL = "jo.doe@mail.example"


@pytest.fixture
def rollout(tmp_path: Path) -> Iterator[Rollout]:
    gateway = front(tmp_path, authentication={"keys": keys()}, privacy={"net": True}, cache={})
    try:
        yield Rollout(gateway.start(), tmp_path / "bundles").champion()
    finally:
        gateway.stop()


def ask(rollout: Rollout, key: str, **headers: str) -> tuple[int, float | None]:
    response = rollout.gateway.invoke(body(row()), **{"x-api-key": KEYS[key]}, **headers)
    return response.status_code, response.json()["predictions"][0] if response.is_success else None


def test_the_scope_admin_reaches_a_candidate_without_traffic_and_nobody_else_does(rollout: Rollout) -> None:
    rollout.begin()
    chosen = {"x-model-version": "2"}
    assert ask(rollout, "root", **chosen) == (200, pytest.approx(ANSWER))
    assert ask(rollout, "root", **{"x-model-version": "1"}) == (200, pytest.approx(CHAMPION))
    assert ask(rollout, "root") == (200, pytest.approx(CHAMPION))
    assert ask(rollout, "caller", **chosen) == (403, None)
    assert ask(rollout, "root", **{"x-model-version": "3"}) == (404, None)


def test_answers_of_champion_and_mirror_are_masked_alike(rollout: Rollout, tmp_path: Path) -> None:
    rollout.begin()
    assert rollout.call("mirror", {"version": "2", "basis_points": 10_000}).status_code == 200
    content = body([MAIL, 500.0, 7.0])
    assert rollout.gateway.invoke(content, **{"x-api-key": KEYS["caller"]}).is_success

    def rows() -> pl.DataFrame:
        rollout.gateway.flush()
        return pl.read_parquet(list(rollout.gateway.store.glob("predictions/*/*/*.parquet")))

    rollout.gateway.wait_for(lambda: rows().height == 2)
    assert sorted(rows().select("role", "f_carrier").rows()) == [("champion", "<email>"), ("shadow", "<email>")]
