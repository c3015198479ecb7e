"""Whatever is requested in whatever order, a route is whole, and each change of it is exactly the declared one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import Refused
from pipelines.rollout import transitions
from pipelines.rollout.plan import Guard, RolloutPlan, Watch
from pipelines.rollout.transitions import (
    FULL_SHARE,
    Mirror,
    Phase,
    RolloutRecord,
    RolloutStage,
    Route,
    RoutingTable,
    Served,
    active_rollout,
    check_route,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=20)
V1, V2, V3 = (Served(version, f"/{version}", version * 64) for version in "123")
PLAN = RolloutPlan("canary", 60, Guard(0.01))
PHASES: tuple[Phase, ...] = Phase.__args__  # type: ignore[attr-defined]
ACTIVE = ("PENDING", "READY", "SHADOWING", "BAKING", "PAUSED")
HALF = {"1": 5000, "2": 5000}


def created(strategy: Any = "canary") -> Route:
    plan = msgspec.structs.replace(PLAN, strategy=strategy)
    return transitions.create(Route(V1, V3), "r1", plan, NOW, "p", False)


def begun(share: int = 0, strategy: Any = "canary") -> Route:
    """Version 2 is prepared beside version 1 and gets this share."""
    route = transitions.prepare_candidate(created(strategy), "r1", V2, NOW)
    return transitions.shift_traffic(route, "r1", {"1": FULL_SHARE - share, "2": share}, NOW) if share else route


def in_phase(phase: Phase, **route: Any) -> Route:
    """A route whose rollout r1 was put into this phase."""
    record = RolloutRecord("r1", PLAN, phase, NOW, NOW + timedelta(seconds=60), V1, reason="why")
    return Route(**{"live": V1, "previous": V3, "rollout": record} | route)


def record_of(route: Route) -> RolloutRecord:
    assert route.rollout is not None
    return route.rollout


def reasons(action: Callable[[], object]) -> str:
    with pytest.raises(Refused) as refusal:
        action()
    return str(refusal.value)


# ---- records and routes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", PHASES)
def test_a_rollout_is_active_until_its_promotion_and_can_be_rolled_back_until_it_has_ended(phase: Phase) -> None:
    record = record_of(in_phase(phase))
    assert record.active is (phase in ACTIVE)
    assert record.can_roll_back is (phase in (*ACTIVE, "FINALISING"))


def test_a_new_record_has_no_candidate_no_stage_and_no_reason() -> None:
    record = RolloutRecord("r1", PLAN, "PENDING", NOW, LATER, V1)
    assert (record.candidate, record.step, record.step_started) == (None, 0, None)
    assert (record.reason, record.probe, record.steps) == ("", "", ())


@pytest.mark.parametrize(
    ("candidate", "split", "share"),
    [(None, {}, 0), (None, HALF, 0), (V2, {}, 0), (V2, {"1": FULL_SHARE}, 0), (V2, {"1": 9000, "2": 1000}, 1000)],
)
def test_the_share_of_a_route_is_that_of_its_candidate(
    candidate: Served | None, split: dict[str, int], share: int
) -> None:
    assert Route(V1, candidate=candidate, split=split).share() == share


def test_a_table_begins_empty_at_generation_0() -> None:
    assert RoutingTable() == RoutingTable(0, {})


def test_a_model_without_a_version_is_refused_where_a_live_one_is_needed() -> None:
    assert transitions.require_live("m", Route(V1)) == Route(V1)
    assert "m has no champion yet" in reasons(lambda: transitions.require_live("m", None))


@pytest.mark.parametrize(
    "route",
    [
        Route(V1),
        Route(V1, split={"1": FULL_SHARE}),
        Route(V1, candidate=V2, split={"1": 0, "2": FULL_SHARE}),
        Route(V1, candidate=V2, mirror=Mirror("2", 1)),
        Route(V1, candidate=V2, split=HALF, mirror=Mirror("2", FULL_SHARE)),
    ],
)
def test_a_route_with_whole_shares_and_a_mirror_for_its_candidate_is_valid(route: Route) -> None:
    assert check_route(route) is route


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({"split": {"1": 9000}}, ["the shares sum to 9000, they must sum to 10000 basis points"]),
        ({"split": {"1": 9000, "2": 1001}}, ["the shares sum to 10001, they must sum to 10000 basis points"]),
        ({"split": {"1": 10_001, "2": -1}}, ["version '1' gets 10001", "version '2' gets -1"]),
        ({"split": {"1": 5000, "3": 5000}}, ["version '3' is neither champion nor candidate"]),
        ({"split": HALF, "candidate": None}, ["version '2' is neither champion nor candidate"]),
        ({"mirror": Mirror("2", 9), "candidate": None}, ["the mirror's version '2' is not the prepared candidate"]),
        ({"mirror": Mirror("3", 9)}, ["the mirror's version '3' is not the prepared candidate"]),
        ({"mirror": Mirror("2", 0)}, ["the mirror gets 0; it must get 1 to 10000 basis points"]),
        ({"mirror": Mirror("2", 10_001)}, ["the mirror gets 10001; it must get 1 to 10000 basis points"]),
    ],
)
def test_traffic_that_is_not_whole_is_refused_with_every_fault(changes: dict[str, Any], faults: list[str]) -> None:
    with pytest.raises(Refused, match="this traffic is refused") as refusal:
        check_route(msgspec.structs.replace(Route(V1, candidate=V2), **changes))
    assert refusal.value.reasons == faults


# ---- which rollout ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", PHASES)
def test_only_an_active_rollout_can_be_changed(phase: Phase) -> None:
    route = in_phase(phase)
    if phase in ACTIVE:
        assert active_rollout(route, "r1") == route.rollout
    else:
        assert reasons(lambda: active_rollout(route, "r1")) == f"rollout r1 is {phase} (why); start a new one"


def test_a_rollout_that_is_not_the_newest_is_refused_by_the_name_of_the_newest() -> None:
    assert reasons(lambda: active_rollout(begun(), "r0")) == "rollout r0 is not the newest of the model, which is r1"
    assert (
        reasons(lambda: active_rollout(Route(V1), "r0")) == "rollout r0 is not the newest of the model, which is none"
    )


def test_an_ended_rollout_without_a_reason_is_done() -> None:
    ended = transitions.finish_promotion(transitions.promote(begun(), "r1", "2", NOW), "r1", None)
    assert "r1 is SUCCEEDED (done)" in reasons(lambda: active_rollout(ended, "r1"))


@pytest.mark.parametrize(
    "change",
    [
        lambda route: transitions.prepare_candidate(route, "r0", V2, NOW),
        lambda route: transitions.fail_preparation(route, "r0", "why"),
        lambda route: transitions.shift_traffic(route, "r0", HALF, NOW),
        lambda route: transitions.set_mirror(route, "r0", None, NOW),
        lambda route: transitions.renew_lease(route, "r0", 1, NOW),
        lambda route: transitions.pause(route, "r0", "why"),
        lambda route: transitions.pause_without_candidate(route, "r0", "why", NOW),
        lambda route: transitions.resume(route, "r0", NOW),
        lambda route: transitions.promote(route, "r0", "2", NOW),
        lambda route: transitions.finish_promotion(route, "r0", None),
    ],
)
def test_no_change_reaches_a_rollout_by_the_id_of_another(change: Callable[[Route], Route]) -> None:
    assert "r0 is not the newest" in reasons(lambda: change(begun()))


# ---- without a rollout --------------------------------------------------------------------------------------------


def test_a_first_release_is_live_alone() -> None:
    assert transitions.release("m", None, V1) == Route(V1)


def test_a_release_makes_the_live_version_the_previous_and_a_repeated_one_changes_nothing() -> None:
    assert transitions.release("m", Route(V1, V3), V2) == Route(V2, V1)
    assert transitions.release("m", Route(V1, V3), V1) == Route(V1, V3)
    assert transitions.release("m", begun(1000), V1) == begun(1000)


def test_another_bundle_of_the_live_version_keeps_the_previous_version() -> None:
    rebuilt = Served("1", "/rebuilt", "f" * 64)
    assert transitions.release("m", Route(V1, V3), rebuilt) == Route(rebuilt, V3)


@pytest.mark.parametrize("phase", PHASES)
def test_a_release_waits_for_an_active_rollout_and_finishes_a_promotion(phase: Phase) -> None:
    route = in_phase(phase)
    if phase in ACTIVE:
        assert f"rollout r1 of m is {phase}" in reasons(lambda: transitions.release("m", route, V2))
        return
    after = transitions.release("m", route, V2)
    assert (after.live, after.previous, after.candidate, after.split) == (V2, V1, None, {})
    assert record_of(after).phase == ("SUCCEEDED" if phase == "FINALISING" else phase)


@pytest.mark.parametrize("phase", PHASES)
def test_putting_back_rolls_a_rollout_back_and_else_restores_the_previous_version(phase: Phase) -> None:
    after = transitions.restore("m", in_phase(phase), "errors")
    if phase in ACTIVE:
        assert (after.live, after.previous, record_of(after).phase) == (V1, V3, "ROLLED_BACK")
    elif phase == "FINALISING":
        assert (after.live, after.previous, record_of(after).phase) == (V3, None, "ROLLED_BACK")
    else:
        assert (after.live, after.previous, record_of(after).phase) == (V3, None, phase)


def test_a_planned_rollback_names_the_version_that_would_answer_next() -> None:
    planned = transitions.planned_rollback(Route(V1, V3))
    assert planned is not None
    assert (planned.takes, planned.to) == (V1.version, V3.version)
    assert transitions.planned_rollback(Route(V1)) is None


@pytest.mark.parametrize("route", [None, Route(V1)])
def test_without_a_previous_version_nothing_can_be_put_back(route: Route | None) -> None:
    assert "m has no previous version to restore" in reasons(lambda: transitions.restore("m", route, "errors"))


def test_a_version_that_a_rollout_promoted_and_a_person_takes_back_leaves_that_rollout_rolled_back() -> None:
    promoted = msgspec.structs.replace(record_of(in_phase("SUCCEEDED")), candidate=V2)
    after = transitions.restore("m", Route(V2, V1, rollout=promoted), "errors")
    assert (after.live, after.previous) == (V1, None)
    assert (record_of(after).phase, record_of(after).reason) == ("ROLLED_BACK", "errors")


def test_without_a_rollout_the_previous_version_is_put_back() -> None:
    assert transitions.restore("m", Route(V1, V3), "errors") == Route(V3)


# ---- begin --------------------------------------------------------------------------------------------------------


def test_a_rollout_begins_pending_with_a_full_lease_and_no_traffic() -> None:
    record = RolloutRecord("r1", PLAN, "PENDING", NOW, NOW + timedelta(seconds=60), V1, probe="p")
    assert created() == Route(V1, V3, rollout=record)


@pytest.mark.parametrize(
    ("rollout_id", "valid"),
    [("r", True), ("R-1_a.b", True), ("a" * 64, True), ("a" * 65, False), ("", False), ("-r", False), ("a b", False)],
)
def test_the_id_of_a_rollout_has_1_to_64_plain_characters(rollout_id: str, valid: bool) -> None:
    if valid:
        assert record_of(transitions.create(Route(V1), rollout_id, PLAN, NOW, "p", False)).rollout_id == rollout_id
    else:
        text = reasons(lambda: transitions.create(Route(V1), rollout_id, PLAN, NOW, "p", False))
        assert f"its id {rollout_id!r} does not match" in text


def test_of_a_long_id_the_refusal_shows_80_characters() -> None:
    text = reasons(lambda: transitions.create(Route(V1), "a" * 90, PLAN, NOW, "p", False))
    assert f"its id {'a' * 80!r} does" in text


@pytest.mark.parametrize("phase", PHASES)
def test_a_second_rollout_waits_for_the_end_of_the_first_or_supersedes_it(phase: Phase) -> None:
    route = in_phase(phase, candidate=V2, split=HALF)
    after = transitions.create(route, "r2", PLAN, NOW, "p", True)
    assert (record_of(after).rollout_id, after.candidate, after.split) == ("r2", None, {})
    if phase in ACTIVE:
        text = reasons(lambda: transitions.create(route, "r2", PLAN, NOW, "p", False))
        assert f"rollout r1 is {phase}; roll it back, or set supersede" in text
    else:
        assert transitions.create(route, "r2", PLAN, NOW, "p", False) == after


def test_a_plan_that_is_not_valid_is_refused_together_with_a_wrong_id() -> None:
    plan = msgspec.structs.replace(PLAN, lease_seconds=0)
    with pytest.raises(Refused, match="rollout - is refused") as refusal:
        transitions.create(begun(), "-", plan, NOW, "p", False)
    assert len(refusal.value.reasons) == 3


# ---- prepare and fail ---------------------------------------------------------------------------------------------


def test_a_prepared_candidate_is_ready_without_traffic_in_stage_0() -> None:
    route = transitions.prepare_candidate(created(), "r1", V2, LATER)
    record = record_of(route)
    assert (route.live, route.previous, route.candidate, route.split) == (V1, V3, V2, {})
    assert (record.phase, record.candidate, record.step, record.step_started) == ("READY", V2, 0, LATER)
    assert record.steps == (RolloutStage(0, 0, 0, LATER),)


def test_the_champion_cannot_be_its_own_candidate() -> None:
    assert "version 1 is already the champion" in reasons(
        lambda: transitions.prepare_candidate(created(), "r1", V1, NOW)
    )


@pytest.mark.parametrize("phase", ACTIVE)
def test_a_candidate_is_prepared_or_refused_only_before_it_gets_requests(phase: Phase) -> None:
    route = in_phase(phase)
    if phase in ("PENDING", "READY"):
        assert transitions.prepare_candidate(route, "r1", V2, NOW).candidate == V2
        record = msgspec.structs.replace(record_of(route), phase="FAILED", reason="broken")
        assert transitions.fail_preparation(route, "r1", "broken") == Route(V1, V3, rollout=record)
    else:
        text = reasons(lambda: transitions.prepare_candidate(route, "r1", V2, NOW))
        assert text == f"rollout r1 is {phase} with candidate None; start another rollout"
        assert f"r1 is {phase}; roll it back" in reasons(lambda: transitions.fail_preparation(route, "r1", "broken"))


def test_a_candidate_with_traffic_is_named_when_another_is_prepared() -> None:
    assert (
        reasons(lambda: transitions.prepare_candidate(begun(100), "r1", V3, NOW))
        == "rollout r1 is BAKING with candidate 2; start another rollout"
    )


# ---- traffic ------------------------------------------------------------------------------------------------------


def test_each_shift_begins_a_numbered_stage_with_its_shares_and_start() -> None:
    route = transitions.shift_traffic(begun(500), "r1", {"1": 8500, "2": 1500}, LATER)
    record = record_of(route)
    assert (route.split, record.phase, record.step, record.step_started) == ({"1": 8500, "2": 1500}, "BAKING", 2, LATER)
    assert record.steps == (RolloutStage(0, 0, 0, NOW), RolloutStage(1, 500, 0, NOW), RolloutStage(2, 1500, 0, LATER))


@pytest.mark.parametrize(("share", "phase"), [(0, "READY"), (1, "BAKING"), (FULL_SHARE, "BAKING")])
def test_a_candidate_bakes_from_its_first_basis_point(share: int, phase: str) -> None:
    route = transitions.shift_traffic(begun(), "r1", {"1": FULL_SHARE - share, "2": share}, NOW)
    assert record_of(route).phase == phase


def test_a_shift_ends_a_pause_and_its_reason() -> None:
    record = record_of(transitions.shift_traffic(transitions.pause(begun(500), "r1", "slow"), "r1", HALF, NOW))
    assert (record.phase, record.reason) == ("BAKING", "")


@pytest.mark.parametrize(
    ("route", "split", "refusal"),
    [
        (created(), {"1": FULL_SHARE}, "r1 is PENDING; prepare its candidate"),
        (begun(0, "shadow"), {"1": 9999, "2": 1}, "r1 is a shadow"),
        (begun(1000), {"1": 9001, "2": 999}, "has 1000 basis points, which cannot shrink"),
        (begun(5000, "ab"), {"1": 4999, "2": 5001}, "cannot change from 5000 basis points"),
        (begun(), {"1": 9000, "2": 999}, "sum to 9999"),
    ],
)
def test_a_shift_that_callers_would_notice_is_refused(route: Route, split: dict[str, int], refusal: str) -> None:
    assert refusal in reasons(lambda: transitions.shift_traffic(route, "r1", split, NOW))


@pytest.mark.parametrize(("strategy", "before", "after"), [("canary", 1000, 1000), ("ab", 5000, 5000), ("ab", 0, 4000)])
def test_a_split_may_stay_as_it_is_and_an_ab_split_may_begin(strategy: str, before: int, after: int) -> None:
    split = {"1": FULL_SHARE - after, "2": after}
    assert transitions.shift_traffic(begun(before, strategy), "r1", split, NOW).split == split


@pytest.mark.parametrize(
    ("route", "mirror", "phase"),
    [
        (begun(), Mirror("2", 700), "SHADOWING"),
        (begun(), None, "READY"),
        (transitions.set_mirror(begun(), "r1", Mirror("2", 1), NOW), None, "READY"),
        (transitions.set_mirror(begun(), "r1", Mirror("2", 1), NOW), Mirror("2", 9), "SHADOWING"),
        (begun(500), Mirror("2", 700), "BAKING"),
        (begun(500), None, "BAKING"),
        (transitions.pause(begun(), "r1", "why"), Mirror("2", 700), "PAUSED"),
    ],
)
def test_a_mirror_makes_a_ready_candidate_a_shadow_and_no_other_phase(
    route: Route, mirror: Mirror | None, phase: str
) -> None:
    after = transitions.set_mirror(route, "r1", mirror, LATER)
    record, number = record_of(after), record_of(route).step + 1
    assert (after.mirror, after.split, record.phase) == (mirror, route.split, phase)
    assert (record.step, record.step_started) == (number, LATER)
    stage = RolloutStage(number, route.share(), mirror.basis_points if mirror else 0, LATER)
    assert record.steps == (*record_of(route).steps, stage)


def test_a_mirror_for_another_version_is_refused() -> None:
    assert "is not the prepared candidate" in reasons(
        lambda: transitions.set_mirror(begun(), "r1", Mirror("3", 100), NOW)
    )


# ---- lease and pause ----------------------------------------------------------------------------------------------


def test_a_renewed_lease_ends_that_many_seconds_from_now_and_nothing_else_changes() -> None:
    route = begun(500)
    record = msgspec.structs.replace(record_of(route), lease_until=LATER + timedelta(seconds=7))
    assert transitions.renew_lease(route, "r1", 7, LATER) == msgspec.structs.replace(route, rollout=record)


def test_a_pause_keeps_the_traffic_and_says_why() -> None:
    route = begun(500)
    record = msgspec.structs.replace(record_of(route), phase="PAUSED", reason="slow")
    assert transitions.pause(route, "r1", "slow") == msgspec.structs.replace(route, rollout=record)


def test_a_candidate_that_cannot_be_loaded_gets_neither_traffic_nor_mirror_in_a_new_stage() -> None:
    route = transitions.set_mirror(begun(500), "r1", Mirror("2", 700), NOW)
    after = transitions.pause_without_candidate(route, "r1", "no memory", LATER)
    record = record_of(after)
    assert (after.split, after.mirror, after.candidate) == ({"1": FULL_SHARE}, None, V2)
    assert (record.phase, record.reason, record.step) == ("PAUSED", "no memory", 3)
    assert record.steps[-1] == RolloutStage(3, 0, 0, LATER)


@pytest.mark.parametrize(
    ("route", "phase"),
    [
        (created(), "PENDING"),
        (begun(), "READY"),
        (transitions.set_mirror(begun(), "r1", Mirror("2", 1), NOW), "SHADOWING"),
        (begun(1), "BAKING"),
        (transitions.set_mirror(begun(1), "r1", Mirror("2", 1), NOW), "BAKING"),
    ],
)
def test_a_resumed_rollout_is_in_the_phase_of_its_traffic_with_a_full_lease(route: Route, phase: Phase) -> None:
    after = transitions.resume(transitions.pause(route, "r1", "slow"), "r1", LATER)
    until = LATER + timedelta(seconds=60)
    record = msgspec.structs.replace(record_of(route), phase=phase, reason="", lease_until=until)
    assert after == msgspec.structs.replace(route, rollout=record)


@pytest.mark.parametrize("phase", [phase for phase in ACTIVE if phase != "PAUSED"])
def test_only_a_paused_rollout_can_be_resumed(phase: Phase) -> None:
    assert f"r1 is {phase}; only a PAUSED rollout can be resumed" in reasons(
        lambda: transitions.resume(in_phase(phase), "r1", NOW)
    )


# ---- end ----------------------------------------------------------------------------------------------------------


def test_a_promoted_candidate_is_live_alone_and_the_champion_is_the_previous_version() -> None:
    route = transitions.pause(begun(500), "r1", "slow")
    before, stage = record_of(route), RolloutStage(2, FULL_SHARE, 0, LATER)
    record = msgspec.structs.replace(
        before, phase="FINALISING", reason="", step=2, step_started=LATER, steps=(*before.steps, stage)
    )
    assert transitions.promote(route, "r1", "2", LATER) == Route(V2, V1, rollout=record)


@pytest.mark.parametrize(
    ("seconds", "until"), [(0.0, None), (60.0, LATER + timedelta(seconds=60)), (0.5, LATER + timedelta(seconds=0.5))]
)
def test_a_promoted_version_is_watched_from_its_promotion_until_its_window_closes(
    seconds: float, until: datetime | None
) -> None:
    plan = msgspec.structs.replace(PLAN, watch=Watch(seconds))
    route = transitions.create(Route(V1), "r1", plan, NOW, "p", False)
    route = transitions.prepare_candidate(route, "r1", V2, NOW)
    assert record_of(route).watched_until is None
    promoted = transitions.promote(route, "r1", "2", LATER)
    assert record_of(promoted).watched_until == until
    assert record_of(transitions.finish_promotion(promoted, "r1", None)).watched_until is None
    assert record_of(transitions.roll_back(promoted, "bad")).watched_until is None


def test_a_promotion_at_once_has_no_stage_in_between() -> None:
    text = reasons(lambda: transitions.shift_traffic(begun(strategy="all_at_once"), "r1", HALF, NOW))
    assert text == "rollout r1 is all_at_once; its candidate gets all traffic by its promotion"


@pytest.mark.parametrize(("route", "version"), [(created(), "2"), (begun(), "3"), (begun(), "1")])
def test_only_the_prepared_candidate_can_be_promoted(route: Route, version: str) -> None:
    text = reasons(lambda: transitions.promote(route, "r1", version, NOW))
    assert text == f"version {version} is not the prepared candidate of rollout r1"


@pytest.mark.parametrize("phase", PHASES)
def test_a_rollback_gives_the_champion_all_traffic_and_an_ended_rollout_stays_ended(phase: Phase) -> None:
    route = in_phase(phase, candidate=V2, split=HALF)
    record = msgspec.structs.replace(record_of(route), phase="ROLLED_BACK", reason="errors")
    if phase in ACTIVE:
        assert transitions.roll_back(route, "errors") == Route(V1, V3, rollout=record)
    elif phase == "FINALISING":
        assert transitions.roll_back(route, "errors") == Route(V3, rollout=record)
    else:
        assert reasons(lambda: transitions.roll_back(route, "errors")) == "no rollout is active"


def test_without_a_rollout_or_a_former_champion_nothing_is_rolled_back() -> None:
    assert reasons(lambda: transitions.roll_back(Route(V1, V3), "errors")) == "no rollout is active"
    text = reasons(lambda: transitions.roll_back(in_phase("FINALISING", previous=None), "errors"))
    assert "rollout r1 has no previous version left" in text


def test_after_a_rolled_back_canary_the_next_one_stands_beside_the_same_champion_alone() -> None:
    former = transitions.roll_back(begun(5000), "errors")
    following = transitions.create(former, "r2", PLAN, LATER, "p", False)
    following = transitions.prepare_candidate(following, "r2", V3, LATER)
    following = transitions.shift_traffic(following, "r2", {"1": 8000, "3": 2000}, LATER)
    assert (following.live, following.split) == (V1, {"1": 8000, "3": 2000})
    assert record_of(following).candidate == V3
    ended = transitions.roll_back(following, "errors again")
    assert (ended.live, ended.candidate, ended.share()) == (V1, None, 0)


@pytest.mark.parametrize(
    ("route", "rollout_id", "rolled_back"),
    [
        (begun(500), "r1", True),
        (in_phase("FINALISING"), "r1", True),
        (begun(500), "r0", False),
        (in_phase("SUCCEEDED"), "r1", False),
        (Route(V1, V3), "r1", False),
    ],
)
def test_only_the_named_rollout_is_given_up_and_only_until_it_has_ended(
    route: Route, rollout_id: str, rolled_back: bool
) -> None:
    after = transitions.roll_back_if_possible(route, rollout_id, "crash")
    assert after == (transitions.roll_back(route, "crash") if rolled_back else route)


@pytest.mark.parametrize("phase", PHASES)
def test_a_promotion_is_finished_and_the_previous_version_can_be_dropped(phase: Phase) -> None:
    route = in_phase(phase)
    if phase in ACTIVE:
        assert f"r1 is {phase}; promote it" in reasons(lambda: transitions.finish_promotion(route, "r1", "3"))
        return
    after = "SUCCEEDED" if phase == "FINALISING" else phase
    record = msgspec.structs.replace(record_of(route), phase=after)
    assert transitions.finish_promotion(route, "r1", "3") == Route(V1, rollout=record)
    assert transitions.finish_promotion(route, "r1", None) == Route(V1, V3, rollout=record)


@pytest.mark.parametrize(
    ("route", "refusal"),
    [
        (Route(V1, V3), "r1 is not the newest of this model"),
        (in_phase("FINALISING"), "version 2 is not the previous one"),
        (in_phase("FINALISING", previous=None), "version 2 is not the previous one"),
    ],
)
def test_only_the_previous_version_of_the_newest_rollout_can_be_retired(route: Route, refusal: str) -> None:
    assert refusal in reasons(lambda: transitions.finish_promotion(route, "r1", "2"))


# ---- any order ----------------------------------------------------------------------------------------------------


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
        case ("shift", champion, candidate):
            return transitions.shift_traffic(route, "r1", {route.live.version: champion, "2": candidate}, NOW)
        case ("mirror", share, version):
            return transitions.set_mirror(route, "r1", None if version is None else Mirror(version, share), NOW)
        case ("pause",):
            return transitions.pause(route, "r1", "why")
        case ("resume",):
            return transitions.resume(route, "r1", NOW)
        case ("promote",):
            return transitions.promote(route, "r1", "2", NOW)
        case ("back",):
            return transitions.roll_back(route, "why")
        case ("retire",):
            return transitions.finish_promotion(route, "r1", None)
        case ("prepare",):
            return transitions.prepare_candidate(route, "r1", V2, NOW)
        case ("fail",):
            return transitions.fail_preparation(route, "r1", "why")
        case _:
            return transitions.create(route, "r1", PLAN, NOW, "p", False)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_in_any_order_shares_are_whole_a_canary_grows_and_what_has_ended_stays_ended(steps: list[Any]) -> None:
    route = begun()
    for step in steps:
        before = route
        with contextlib.suppress(Refused):
            route = _step(route, step)
        check_route(route)
        assert sum((route.split or {route.live.version: FULL_SHARE}).values()) == FULL_SHARE
        if not record_of(route).active:
            assert (route.split, route.mirror, route.candidate) == ({}, None, None)
        if record_of(before).phase in ("SUCCEEDED", "ROLLED_BACK", "FAILED") and step[0] != "create":
            assert route == before
        if step[0] == "shift" and record_of(route).active:
            assert route.share() >= before.share()
