"""A candidate beside the champion hurts nobody: not when it is tried, not when it fails, not when it is taken away."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest

from pipelines.steps.monitoring.prediction_log import INTERNAL_ROLES
from tests.serving.candidates import ANSWER, TRIGGER, Fault
from tests.serving.gateway_process import Gateway
from tests.serving.load import Load
from tests.serving.rollout_calls import CHAMPION, Rollout, body, pids, roll_back_under_load, row
from tests.serving.test_gateway_life import predictions

Start = Callable[..., Gateway]


@pytest.fixture(scope="module")
def shared_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    running = Gateway(tmp_path_factory.mktemp("gateway")).start()
    yield running
    running.stop()


@pytest.fixture
def rollout(shared_gateway: Gateway, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rollout]:
    """Of a model of the test's own, on a gateway that serves those of other tests as well."""
    name = hashlib.sha256(request.node.name.encode()).hexdigest()[:12]
    rollout = Rollout(shared_gateway, tmp_path / "bundles", model=f"model_{name}").champion()
    yield rollout
    if rollout.state()["rollout"]:
        rollout.rollback()


@pytest.fixture
def lone_rollout(start_gateway: Start, tmp_path: Path) -> Rollout:
    """On a gateway whose processes the test may stop."""
    return Rollout(start_gateway(), tmp_path / "bundles").champion()


def asked(rollout: Rollout, rows: list[list[Any]], **headers: str) -> list[tuple[float, str, str]]:
    """One request per row on one connection: the answer, its version and its arm."""
    found = []
    with httpx.Client(timeout=30) as client:
        for one in rows:
            response = client.post(
                f"{rollout.gateway.base}/invocations", json=body(one), headers={"x-model": rollout.name, **headers}
            )
            assert response.status_code == 200, response.text
            (answer,) = response.json()["predictions"]
            found.append((answer, response.headers["x-model-version"], response.headers["x-model-arm"]))
    return found


# ---- the admin listener ------------------------------------------------------------------------------------------


def test_a_change_on_an_older_generation_is_412_and_one_without_any_428(rollout: Rollout) -> None:
    assert rollout.create().status_code == 200
    stale = rollout.call("lease", {"seconds": 60}, match=1)
    assert (stale.status_code, stale.json()["generation"], stale.headers["etag"]) == (412, 2, '"2"')
    url = f"{rollout.model}/rollouts/r1/lease"
    assert httpx.post(url, json={"seconds": 60}, headers={"idempotency-key": "k"}).status_code == 428
    without_key = httpx.post(url, json={"seconds": 60}, headers={"if-match": "2"})
    assert (without_key.status_code, "Idempotency-Key" in without_key.text) == (422, True)


def test_a_repeat_gets_the_stored_answer_even_when_the_world_moved_on(rollout: Rollout) -> None:
    rollout.begin()
    content = {"split": {"1": 9500, "2": 500}}
    match = rollout.state()["generation"]
    first = rollout.call("traffic", content, match=match, key="step-1")
    assert rollout.traffic(2000).status_code == 200
    again = rollout.call("traffic", content, match=match, key="step-1")
    assert (again.status_code, again.json()) == (200, first.json())
    assert rollout.state()["split"] == {"1": 8000, "2": 2000}
    other = rollout.call("traffic", {"split": {"1": 10_000}}, key="step-1")
    assert (other.status_code, "take a new key" in other.text) == (422, True)


@pytest.mark.parametrize(
    ("plan", "says"),
    [({"guard": {}}, "guard has no limit"), ({"lease_seconds": 0}, "must be above 0"), ({"typo": 1}, "typo")],
)
def test_a_rollout_that_cannot_fail_is_refused(rollout: Rollout, plan: dict[str, Any], says: str) -> None:
    response = rollout.create(**plan)
    assert (response.status_code, says in response.text) == (422, True)
    assert rollout.state()["rollout"] is None


def test_creating_a_rollout_again_finds_it_whatever_became_of_it(rollout: Rollout) -> None:
    assert rollout.create().status_code == 200
    url = f"{rollout.model}/rollouts/r1/rollback"
    assert httpx.post(url, json={"reason": "r"}, headers={"idempotency-key": "b"}).status_code == 200
    again = rollout.create()
    assert (again.status_code, again.json()["rollout"]["phase"]) == (200, "ROLLED_BACK")
    assert rollout.create(lease_seconds=7).status_code == 422


def test_a_rollback_of_an_ended_rollout_changes_nothing_and_of_none_puts_the_previous_version_back(
    rollout: Rollout,
) -> None:
    rollout.release("3")
    rollout.begin(share=1000)
    url = f"{rollout.model}/rollouts/r1/rollback"
    for key in ("one", "two"):
        found = httpx.post(url, json={"reason": "r"}, headers={"idempotency-key": key}).json()
        assert (found["champion"]["version"], found["rollout"]["phase"]) == ("3", "ROLLED_BACK")
    plain = httpx.post(f"{rollout.model}/rollback", json={"reason": "r"}, headers={"idempotency-key": "p"})
    assert plain.json()["version"] == "1"


def test_a_release_waits_for_the_end_of_a_rollout(rollout: Rollout) -> None:
    rollout.begin(share=1000)
    response = rollout.release("3")
    assert (response.status_code, f"rollout r1 of {rollout.name} is BAKING" in response.text) == (422, True)


# ---- before traffic ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "how", "says"),
    [
        ("slow", {}, "the deadline is 500 ms"),
        ("none", {"columns": ["carrier", "distance", "minute"]}, "the champion has no column 'minute'"),
        ("none", {"golden": ANSWER + 0.01}, "golden row 0: answers 0.25"),
        ("no model", {}, "cannot be loaded"),
    ],
)
def test_a_slow_misshapen_or_unloadable_candidate_is_refused_before_traffic(
    rollout: Rollout, fault: Fault, how: dict[str, Any], says: str
) -> None:
    rollout.create()
    response = rollout.prepare(fault, **how)
    assert (response.status_code, says in response.text) == (422, True), response.text
    found = rollout.state()
    assert (found["rollout"]["phase"], found["candidate"], found["split"]) == ("FAILED", None, {"1": 10_000})
    assert says in found["rollout"]["reason"]
    assert rollout.traffic(500).status_code == 422


def test_a_tampered_candidate_is_refused_before_traffic(rollout: Rollout) -> None:
    rollout.create()
    uri, sha256 = rollout.write("2")
    (Path(uri) / "model.onnx").write_bytes(b"tampered")
    response = rollout.call("prepare", {"version": "2", "bundle": uri, "sha256": sha256})
    assert (response.status_code, "model.onnx has sha256" in response.text) == (422, True)
    assert (rollout.phase(), asked(rollout, [row()])[0][1]) == ("FAILED", "1")
    again = rollout.call("prepare", {"version": "2", "bundle": uri, "sha256": sha256})
    assert (again.status_code, "is FAILED" in again.text) == (422, True)
    second = Rollout(rollout.gateway, rollout.folder / "again", "r2", rollout.name).begin(share=10_000)
    assert (second.phase(), asked(rollout, [row()])[0][1]) == ("BAKING", "2")


def test_a_probe_reaches_a_candidate_without_traffic_and_is_counted_nowhere(rollout: Rollout) -> None:
    rollout.begin("raises")
    secret = rollout.state()["rollout"]["probe"]
    assert asked(rollout, [row()], **{"x-rollout-probe": secret}) == [(ANSWER, "2", "probe")]
    assert asked(rollout, [row()], **{"x-rollout-probe": "guessed"}) == [(CHAMPION, "1", "champion")]
    failing = rollout.invoke(body(row(TRIGGER)), **{"x-rollout-probe": secret})
    assert failing.status_code == 500
    assert "candidate" not in rollout.counts()


def test_a_candidate_of_another_contract_is_tried_and_promoted_only_at_once(rollout: Rollout) -> None:
    columns = ["carrier", "distance", "minute"]
    rollout.create(strategy="all_at_once", watch={"seconds": 600})
    assert rollout.prepare(columns=columns).status_code == 200
    changed = {"dataframe_split": {"columns": columns, "data": [["UA", 500.0, 7.0]]}}
    secret = rollout.state()["rollout"]["probe"]
    probe = rollout.invoke(changed, **{"x-rollout-probe": secret})
    assert (probe.status_code, probe.json()["predictions"], probe.headers["x-model-arm"]) == (200, [ANSWER], "probe")
    assert rollout.invoke(changed).status_code == 400
    assert rollout.invoke(body(row()), **{"x-rollout-probe": secret}).status_code == 400
    assert rollout.traffic(500).status_code == 422
    assert rollout.call("promote", {"version": "2"}).status_code == 200
    assert rollout.invoke(changed).json()["predictions"] == [ANSWER]


# ---- traffic -----------------------------------------------------------------------------------------------------


def test_users_stay_in_a_canary_as_it_grows_and_the_counts_are_of_units(rollout: Rollout) -> None:
    rollout.begin(routing={"key": "header:x-user-id"})
    users = [f"user-{number}" for number in range(60)]
    inside: set[str] = set()
    for share in (1000, 3000, 6000):
        assert rollout.traffic(share).status_code == 200
        arms = {user: asked(rollout, [row(), row()], **{"x-user-id": user}) for user in users}
        now = {user for user, answers in arms.items() if answers[0][2] == "candidate"}
        assert all(answers[0] == answers[1] for answers in arms.values())
        assert inside <= now
        inside = now
    counts = rollout.counts()
    assert counts["candidate"]["requests"] == 2 * len(inside)
    assert counts["candidate"]["units"] == len(inside)
    assert counts["candidate"]["units"] + counts["champion"]["units"] == len(users)


def test_the_counts_of_every_step_are_kept_with_its_share(lone_rollout: Rollout) -> None:
    routing, breaker = {"key": "header:x-user-id"}, {"failures": 1000}
    lone_rollout.begin(
        "raises", 1000, routing=routing, guard={"latency": [{"over_ms": 9e9, "max_share": 0.9}]}, breaker=breaker
    )
    users = [str(number) for number in range(60)]

    def ask() -> int:
        return sum(asked(lone_rollout, [row(TRIGGER)], **{"x-user-id": user})[0][2] == "candidate" for user in users)

    first, _ = ask(), lone_rollout.traffic(5000)
    second = ask()
    url = f"{lone_rollout.model}/rollouts/r1/counts"
    found = [arm for arm in httpx.get(url, timeout=30).json()["arms"] if arm["role"] == "candidate"]
    assert [(arm["step"], arm["share"], arm["units"]) for arm in found] == [(1, 1000, first), (2, 5000, second)]
    assert [arm["failed"] for arm in found] == [first, second]
    assert [arm["bad_units"] for arm in found] == [first, second - first]
    assert found[0]["step_started"] < found[1]["step_started"]
    lone_rollout.gateway.stop(signal.SIGKILL)
    lone_rollout.gateway.start()
    assert [arm for arm in httpx.get(url, timeout=30).json()["arms"] if arm["role"] == "candidate"] == found


@pytest.mark.parametrize(("fault", "kind"), [("raises", "error"), ("invalid", "invalid"), ("shape", "invalid")])
def test_a_failing_candidate_is_answered_for_by_the_champion_and_counted(
    rollout: Rollout, fault: Fault, kind: str
) -> None:
    rollout.begin(fault, 10_000, guard={"max_error_rate": 0.9})
    assert asked(rollout, [row(), row(TRIGGER), row()]) == [
        (ANSWER, "2", "candidate"),
        (CHAMPION, "1", "candidate"),
        (ANSWER, "2", "candidate"),
    ]
    counts = rollout.counts()["candidate"]
    assert (counts["requests"], counts["failed"], counts["bad"], counts["fallback"]) == (3, 1, {kind: 1}, 1)
    log = predictions(rollout.gateway, rollout.name).sort("logged_at")
    assert log["fallback"].to_list() == [False, True, False]
    assert log["version"].to_list() == ["2", "1", "2"]
    assert set(log["role"]) == {"candidate"}
    assert set(log["rollout_id"]) == {"r1"}
    assert log["bucket"].is_between(0, 9999).all()
    assert [int(unit, 16) % 10_000 for unit in log["unit"]] == log["bucket"].to_list()


def test_a_frozen_candidate_costs_its_callers_the_deadline_and_the_others_nothing(lone_rollout: Rollout) -> None:
    lone_rollout.begin(share=5000, deadline_ms=150, routing={"key": "header:x-user-id"}, guard={"max_error_rate": 0.99})
    users = {asked(lone_rollout, [row()], **{"x-user-id": user})[0][2]: user for user in map(str, range(20))}
    for pid in pids(lone_rollout.gateway, "traffic.candidate_process"):
        os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()
    assert asked(lone_rollout, [row()], **{"x-user-id": users["candidate"]}) == [(CHAMPION, "1", "candidate")]
    assert time.monotonic() - started >= 0.15
    answers = asked(lone_rollout, [row()] * 5, **{"x-user-id": users["champion"]})
    assert answers == [(CHAMPION, "1", "champion")] * 5, "the candidate never answers, and nobody waits for it"
    assert lone_rollout.counts()["candidate"]["bad"] == {"deadline": 1}


def test_a_candidate_that_keeps_failing_is_left_alone_for_a_while(rollout: Rollout) -> None:
    breaker = {"failures": 3, "window": 60, "open_for": 1}
    rollout.begin("raises", 10_000, guard={"max_error_rate": 0.99}, breaker=breaker)
    assert {version for _, version, _ in asked(rollout, [row(TRIGGER)] * 10)} == {"1"}
    counts = rollout.counts()["candidate"]
    assert (counts["failed"], counts["shed"], counts["fallback"]) == (3, 7, 10)
    rollout.gateway.wait_for(lambda: asked(rollout, [row()])[0][1] == "2")


def test_an_ab_test_calls_its_arms_control_and_variant(rollout: Rollout) -> None:
    rollout.begin(share=5000, strategy="ab")
    assert {arm for _, _, arm in asked(rollout, [row()] * 40)} == {"control", "variant"}


def test_a_segment_meets_the_candidate_whatever_its_share(rollout: Rollout) -> None:
    segments = [{"header": "x-group", "equals": "staff", "arm": "candidate"}]
    rollout.begin(share=1, routing={"segments": segments})
    assert asked(rollout, [row()] * 3, **{"x-group": "staff"}) == [(ANSWER, "2", "candidate")] * 3
    assert rollout.counts()["candidate"]["units"] == 0


def test_a_promotion_under_load_fails_no_request_and_can_be_taken_back(start_gateway: Start, tmp_path: Path) -> None:
    gateway = start_gateway(workers=2)
    rollout = Rollout(gateway, tmp_path / "bundles").champion()
    loads = [Load(gateway, str(number)) for number in range(3)]
    for load in loads:
        load.start()
    rollout.begin(share=5000)
    assert rollout.call("promote", {"version": "2"}).status_code == 200
    assert rollout.phase() == "FINALISING"
    assert {version for _, version, _ in asked(rollout, [row()] * 10)} == {"2"}
    back = httpx.post(f"{rollout.model}/rollback", json={"reason": "r"}, headers={"idempotency-key": "b"})
    assert (back.json()["version"], rollout.phase()) == ("1", "ROLLED_BACK")
    assert {version for _, version, _ in asked(rollout, [row()] * 10)} == {"1"}
    for load in loads:
        load.stop()
    assert [failure for load in loads for failure in load.failures] == []
    assert all({"1", "2"} == set(load.versions) for load in loads)


def test_whoever_asks_after_a_rollback_is_answered_hears_the_champion(start_gateway: Start, tmp_path: Path) -> None:
    gateway = start_gateway(workers=2)
    rolled_back, loads = roll_back_under_load(gateway, tmp_path, 10)
    assert [one.later for one in rolled_back] == [{"1"}] * 10
    assert [failure for load in loads for failure in load.failures] == []
    assert Rollout(gateway, tmp_path).state()["split"] == {"1": 10_000}


# ---- guard and lease ---------------------------------------------------------------------------------------------


def test_three_times_the_errors_at_five_percent_are_rolled_back_by_the_gateway_alone(rollout: Rollout) -> None:
    rollout.begin("raises", 500, guard={"max_error_rate": 0.05}, breaker={"failures": 1000})
    draw = np.random.default_rng(1)
    sent, url = 0, f"{rollout.gateway.base}/invocations"
    with httpx.Client(timeout=30) as client:
        while sent < 10_000 and rollout.phase() == "BAKING":
            for _ in range(250):
                hour = TRIGGER if draw.uniform() < 0.15 else 7.0
                response = client.post(url, json=body(row(hour)), headers={"x-model": rollout.name})
                assert response.status_code == 200
                sent += 1
    rollout.gateway.wait_for(lambda: rollout.phase() == "ROLLED_BACK")
    record = rollout.state()["rollout"]
    assert "failed, the limit is 0.05" in record["reason"]
    assert rollout.state()["split"] == {"1": 10_000}


def test_too_many_slow_answers_are_rolled_back(rollout: Rollout) -> None:
    guard = {"latency": [{"over_ms": 0.001, "max_share": 0.05}]}
    rollout.begin(share=10_000, guard=guard)
    asked(rollout, [row()] * 10)
    rollout.gateway.wait_for(lambda: rollout.phase() == "ROLLED_BACK")
    assert "slower than 0.001 ms" in rollout.state()["rollout"]["reason"]


# ---- after the promotion -----------------------------------------------------------------------------------------


def promoted(rollout: Rollout, fault: Fault = "raises", *, seconds: float = 600, **plan: Any) -> Rollout:
    """Version 2 has replaced version 1 without a stage in between, and is watched."""
    rollout.begin(fault, strategy="all_at_once", watch={"seconds": seconds}, **plan)
    assert rollout.call("promote", {"version": "2"}).status_code == 200
    assert rollout.phase() == "FINALISING"
    return rollout


@pytest.mark.parametrize(("fault", "kind"), [("raises", "error"), ("invalid", "invalid")])
def test_a_promoted_version_that_fails_is_taken_back_by_the_gateway_alone(
    rollout: Rollout, fault: Fault, kind: str
) -> None:
    promoted(rollout, fault)
    for _ in range(20):
        rollout.invoke(body(row(TRIGGER)))
    rollout.gateway.wait_for(lambda: rollout.phase() == "ROLLED_BACK")
    found = rollout.state()
    assert (found["champion"]["version"], found["split"]) == ("1", {"1": 10_000})
    assert re.match(r"promoted version 2: \d+ of \d+ failed, the limit is 0.2 ", found["rollout"]["reason"])
    assert asked(rollout, [row(TRIGGER)]) == [(CHAMPION, "1", "champion")]
    arms = httpx.get(f"{rollout.model}/rollouts/r1/counts", timeout=30).json()["arms"]
    [arm] = [arm for arm in arms if arm["step"] == 1]
    assert (arm["version"], arm["role"], arm["share"], set(arm["bad"])) == ("2", "champion", 10_000, {kind})


def test_a_promoted_version_that_answers_well_stays_and_is_counted_as_the_champion(rollout: Rollout) -> None:
    promoted(rollout, "none")
    assert asked(rollout, [row()] * 30) == [(ANSWER, "2", "champion")] * 30
    assert rollout.counts()["champion"]["requests"] == 30
    assert set(predictions(rollout.gateway, rollout.name)["role"]) == {"champion"}
    rollout.gateway.wait_for(lambda: rollout.phase() == "FINALISING")


def test_a_promoted_version_is_watched_on_after_a_restart_and_only_until_its_window_closes(
    lone_rollout: Rollout,
) -> None:
    promoted(lone_rollout)
    for _ in range(3):
        lone_rollout.invoke(body(row(TRIGGER)))
    lone_rollout.gateway.stop(signal.SIGKILL)
    lone_rollout.gateway.start()
    for _ in range(20):
        lone_rollout.invoke(body(row(TRIGGER)))
    lone_rollout.gateway.wait_for(lambda: lone_rollout.phase() == "ROLLED_BACK")
    late = Rollout(lone_rollout.gateway, lone_rollout.folder / "late", "r2", lone_rollout.name)
    promoted(late, seconds=0.2)
    until = datetime.now(UTC) + timedelta(seconds=2.5)
    while datetime.now(UTC) < until:
        late.invoke(body(row(TRIGGER)))
    assert (late.phase(), late.state()["champion"]["version"]) == ("FINALISING", "2")


@pytest.mark.parametrize(
    ("strategy", "phase", "share", "mirrored"),
    [("canary", "ROLLED_BACK", 0, False), ("ab", "PAUSED", 2000, False), ("shadow", "PAUSED", 0, False)],
)
def test_a_lease_that_nobody_renews_ends_the_rollout_as_its_strategy_says(
    rollout: Rollout, strategy: str, phase: str, share: int, mirrored: bool
) -> None:
    rollout.begin(strategy=strategy)
    if strategy == "shadow":
        assert rollout.call("mirror", {"version": "2", "basis_points": 5000}).status_code == 200
    else:
        assert rollout.traffic(2000).status_code == 200
    generation = rollout.state()["generation"]
    assert rollout.call("lease", {"seconds": 2}).status_code == 200
    assert rollout.state()["generation"] == generation, "a lease changes nothing for any request"
    rollout.gateway.wait_for(lambda: rollout.phase() == phase)
    found = rollout.state()
    assert "its lease ended" in found["rollout"]["reason"]
    assert found["split"].get("2", 0) == share
    assert (found["mirror"] is not None) == mirrored


def test_a_renewed_lease_goes_on_and_a_paused_rollout_resumes_at_its_step(rollout: Rollout) -> None:
    rollout.begin(share=500)
    assert rollout.call("lease", {"seconds": 5}).status_code == 200
    former = datetime.fromisoformat(rollout.state()["rollout"]["lease_until"])
    assert rollout.call("lease", {"seconds": 60}).status_code == 200
    rollout.gateway.wait_for(lambda: datetime.now(UTC) > former + timedelta(seconds=1))
    assert rollout.phase() == "BAKING"
    assert rollout.call("pause", {"reason": "lunch"}).status_code == 200
    assert rollout.phase() == "PAUSED"
    assert rollout.call("resume", {}).status_code == 200
    found = rollout.state()
    assert (found["rollout"]["phase"], found["rollout"]["step"], found["split"]["2"]) == ("BAKING", 1, 500)


# ---- shadow ------------------------------------------------------------------------------------------------------


def test_mirrored_answers_are_compared_and_logged_and_never_reach_a_caller(rollout: Rollout) -> None:
    rollout.begin(strategy="shadow", comparison={"tolerance": 0.1, "threshold": 0.4})
    assert rollout.call("mirror", {"version": "2", "basis_points": 10_000}).status_code == 200
    assert rollout.phase() == "SHADOWING"
    assert set(asked(rollout, [row()] * 30)) == {(CHAMPION, "1", "champion")}
    rollout.gateway.wait_for(lambda: rollout.counts().get("shadow", {}).get("requests") == 30)
    shadow = rollout.counts()["shadow"]
    assert (shadow["sent"], shadow["dropped"], shadow["compared"]) == (30, 0, 30)
    assert (shadow["disagreed"], shadow["flipped"]) == (30, 30)
    metrics = httpx.get(f"{rollout.gateway.base}/metrics").text
    assert f'airworthy_shadow_coverage{{model="{rollout.name}",version="2"}} 1.0000' in metrics
    log = predictions(rollout.gateway, rollout.name)
    assert log.group_by("request_id").agg(pl.col("unit").n_unique())["unit"].max() == 1
    pairs = log.filter(role="champion").join(log.filter(role="shadow"), on=["request_id", "row"])
    assert pairs.height == 30
    assert set(pairs["prediction"]) == {CHAMPION}
    assert set(pairs["prediction_right"]) == {ANSWER}
    assert log.filter(~pl.col("role").is_in(INTERNAL_ROLES)).height == 30


def test_a_mirror_takes_its_share_and_what_does_not_fit_is_dropped_and_counted(lone_rollout: Rollout) -> None:
    lone_rollout.begin(strategy="shadow")
    assert lone_rollout.call("mirror", {"version": "2", "basis_points": 5000}).status_code == 200
    asked(lone_rollout, [row()] * 200)
    lone_rollout.gateway.wait_for(lambda: lone_rollout.counts().get("shadow", {}).get("requests", 0) > 60)
    assert 60 < lone_rollout.counts()["shadow"]["sent"] < 140
    (shadow,) = pids(lone_rollout.gateway, "traffic.shadow_process")
    os.kill(shadow, signal.SIGSTOP)
    large = body(*[row()] * 9000)
    for _ in range(120):
        assert lone_rollout.invoke(large).status_code == 200
    os.kill(shadow, signal.SIGCONT)
    assert lone_rollout.counts()["shadow"]["dropped"] > 0
    counts = lone_rollout.counts()["shadow"]
    lone_rollout.gateway.wait_for(lambda: lone_rollout.counts()["shadow"]["requests"] == counts["sent"])
