"""The gateway as an endpoint keeps the contract, against a real gateway process; so does the fake that tests use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from pipelines.adapters.gateway.endpoint import GatewayEndpoint
from pipelines.errors import AirworthyError, Refused, Unavailable
from pipelines.ports import Endpoint
from pipelines.testing.ports import FakeEndpoint
from tests.free_port import free_port
from tests.serving.front_gateways import KEYS, front, keys
from tests.serving.gateway_process import ADMIN_TOKEN, COLUMNS, ROWS, Gateway, expected, write_bundle

MODEL = "flight_delay"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    running = Gateway(tmp_path / "gateway").start()
    yield running
    running.stop()


@pytest.fixture
def endpoint(gateway: Gateway) -> Iterator[GatewayEndpoint]:
    opened = GatewayEndpoint(gateway.base, gateway.admin)
    yield opened
    opened.close()


@pytest.fixture(params=["gateway", "fake"])
def either(request: pytest.FixtureRequest) -> Endpoint:
    """What holds for every endpoint."""
    found: Endpoint = request.getfixturevalue("endpoint") if request.param == "gateway" else FakeEndpoint()
    return found


@pytest.fixture
def bundles(tmp_path: Path) -> dict[str, tuple[str, str]]:
    return {version: write_bundle(tmp_path / "bundles", version, seed=int(version)) for version in "123"}


def test_nothing_is_live_before_the_first_release(endpoint: GatewayEndpoint) -> None:
    state = endpoint.state(MODEL)
    assert (state.version, state.previous, state.generation, state.workers, state.applied) == (None, None, 0, 1, True)
    with pytest.raises(Unavailable, match="no model is"):
        endpoint.predict(MODEL, COLUMNS, ROWS)


def test_before_the_first_release_there_is_no_version_and_no_answer(either: Endpoint) -> None:
    state = either.state(MODEL)
    assert (state.version, state.previous, state.generation) == (None, None, 0)
    with pytest.raises(AirworthyError):
        either.predict(MODEL, COLUMNS, ROWS)
    with pytest.raises(Refused, match="no previous version"):
        either.restore_previous(MODEL, key="early", reason="none there")


def test_a_release_is_live_on_return_and_the_former_version_is_kept(
    either: Endpoint, bundles: dict[str, tuple[str, str]]
) -> None:
    first = either.release(MODEL, "1", *bundles["1"], key="one")
    assert (first.version, first.previous, first.applied, first.bundle_sha256) == ("1", None, True, bundles["1"][1])
    second = either.release(MODEL, "2", *bundles["2"], key="two")
    assert (second.version, second.previous) == ("2", "1")
    assert second.generation > first.generation
    assert either.state(MODEL) == second
    assert len(either.predict(MODEL, COLUMNS, ROWS)) == len(ROWS)
    either.flush_log(MODEL)


def test_a_repeat_under_the_same_key_changes_nothing(either: Endpoint, bundles: dict[str, tuple[str, str]]) -> None:
    either.release(MODEL, "1", *bundles["1"], key="one")
    state = either.release(MODEL, "2", *bundles["2"], key="two")
    assert either.release(MODEL, "2", *bundles["2"], key="two") == state
    assert either.state(MODEL) == state
    back = either.restore_previous(MODEL, key="back", reason="slow")
    assert either.restore_previous(MODEL, key="back", reason="slow") == back
    assert (back.version, back.previous) == ("1", None)
    with pytest.raises(Refused, match="no previous version"):
        either.restore_previous(MODEL, key="further", reason="slow")


def test_releasing_what_is_live_under_a_new_key_leaves_it_and_its_way_back(
    endpoint: GatewayEndpoint, bundles: dict[str, tuple[str, str]]
) -> None:
    endpoint.release(MODEL, "1", *bundles["1"], key="one")
    state = endpoint.release(MODEL, "2", *bundles["2"], key="two")
    assert endpoint.release(MODEL, "2", *bundles["2"], key="again") == state


def test_a_key_that_meant_something_else_is_refused(
    endpoint: GatewayEndpoint, bundles: dict[str, tuple[str, str]]
) -> None:
    endpoint.release(MODEL, "1", *bundles["1"], key="one")
    with pytest.raises(Refused, match="take a new key"):
        endpoint.release(MODEL, "2", *bundles["2"], key="one")
    assert endpoint.state(MODEL).version == "1"


def test_a_rollback_puts_the_previous_version_back_once(
    endpoint: GatewayEndpoint, bundles: dict[str, tuple[str, str]]
) -> None:
    with pytest.raises(Refused, match="no previous version"):
        endpoint.restore_previous(MODEL, key="early", reason="none there")
    endpoint.release(MODEL, "1", *bundles["1"], key="one")
    endpoint.release(MODEL, "2", *bundles["2"], key="two")
    endpoint.restore_previous(MODEL, key="back", reason="bad")
    assert endpoint.predict(MODEL, COLUMNS, ROWS) == pytest.approx(expected(1), rel=1e-5)
    with pytest.raises(Refused, match="no previous version"):
        endpoint.restore_previous(MODEL, key="further", reason="bad")
    third = endpoint.release(MODEL, "3", *bundles["3"], key="three")
    assert (third.version, third.previous) == ("3", "1")


def test_an_unknown_bundle_is_refused_and_nothing_changes(endpoint: GatewayEndpoint, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="build it first"):
        endpoint.release(MODEL, "1", str(tmp_path / "nowhere"), "0" * 64, key="one")
    assert endpoint.state(MODEL).generation == 0


def test_bad_rows_are_refused_with_every_fault(endpoint: GatewayEndpoint, bundles: dict[str, tuple[str, str]]) -> None:
    endpoint.release(MODEL, "1", *bundles["1"], key="one")
    with pytest.raises(Refused) as refusal:
        endpoint.predict(MODEL, ["carrier", "hour"], [["UA"], [1, "x"]])
    assert len(refusal.value.reasons) == 2


def test_flushed_predictions_carry_ids_and_the_moment_they_are_for(
    endpoint: GatewayEndpoint, gateway: Gateway, bundles: dict[str, tuple[str, str]]
) -> None:
    endpoint.release(MODEL, "1", *bundles["1"], key="one")
    moment = datetime(2013, 3, 1, 10, 15, tzinfo=UTC)
    answers = endpoint.predict(MODEL, COLUMNS, ROWS, ids=["a", "b", "c", "d"], prediction_time=moment)
    endpoint.flush_log(MODEL)
    (path,) = gateway.store.glob("predictions/flight_delay/date=2013-03-01/*.parquet")
    frame = pl.read_parquet(path)
    assert frame["entity_id"].to_list() == ["a", "b", "c", "d"]
    assert frame["prediction"].to_list() == answers
    assert frame["prediction_time"].unique().to_list() == [moment]


def test_a_gateway_that_is_not_there_is_unavailable() -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    endpoint = GatewayEndpoint(nowhere, nowhere)
    for call in (
        lambda: endpoint.state(MODEL),
        lambda: endpoint.release(MODEL, "1", "b", "s", key="k"),
        lambda: endpoint.restore_previous(MODEL, key="k", reason="r"),
        lambda: endpoint.flush_log(MODEL),
        lambda: endpoint.predict(MODEL, COLUMNS, ROWS),
    ):
        with pytest.raises(Unavailable, match="is it running"):
            call()


def test_the_admin_listener_demands_its_token_from_variable_or_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = Gateway(tmp_path / "guarded").start()
    bare, file = f"http://127.0.0.1:{gateway.admin_port}", tmp_path / "admin_token"
    try:
        with closing(GatewayEndpoint(gateway.base, bare, token_file=file)) as endpoint:
            with pytest.raises(Refused, match="needs its bearer token"):
                endpoint.state(MODEL)
            file.write_text(f"{ADMIN_TOKEN}\n")
            assert endpoint.state(MODEL).version is None
        monkeypatch.setenv("AIRWORTHY_GATEWAY_TOKEN", ADMIN_TOKEN)
        with closing(GatewayEndpoint(gateway.base, bare)) as endpoint:
            assert endpoint.state(MODEL).version is None
        wrong = GatewayEndpoint(gateway.base, bare, token="wrong")
        with closing(wrong), pytest.raises(Refused, match="bearer token"):
            wrong.state(MODEL)
    finally:
        gateway.stop()


def test_predictions_carry_the_key_of_the_environment(
    tmp_path: Path, bundles: dict[str, tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = front(tmp_path / "locked", authentication={"keys": keys()})
    try:
        gateway.start().release("1", bundles["1"])
        with closing(GatewayEndpoint(gateway.base, gateway.admin)) as endpoint:
            with pytest.raises(Refused, match="credentials are missing"):
                endpoint.predict(MODEL, COLUMNS, ROWS)
            monkeypatch.setenv("AIRWORTHY_GATEWAY_KEY", KEYS["caller"])
            assert endpoint.predict(MODEL, COLUMNS, ROWS) == pytest.approx(expected(1), rel=1e-5)
    finally:
        gateway.stop()
