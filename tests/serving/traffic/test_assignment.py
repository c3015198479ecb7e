"""Who meets which arm depends on the key alone, and a growing canary keeps everybody it has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipelines.rollout.plan import RoutingPlan, Segment
from pipelines.serving.traffic.assignment import NO_BUCKET, ArmChooser, bucket, mirror_salt

KEYS = st.text(min_size=1, max_size=40)
SHARES = st.integers(0, 10_000)
BY_USER = RoutingPlan(key="header:X-User-Id")


def arm(routing: RoutingPlan, rollout: str, share: int, **headers: str) -> str:
    sent = {name.replace("_", "-").encode(): value.encode("latin-1", "replace") for name, value in headers.items()}
    return ArmChooser(routing, rollout, share)(sent, None, "request").arm


@given(KEYS, st.lists(SHARES, min_size=2, max_size=6).map(sorted))
def test_whoever_is_in_a_canary_stays_in_it_as_it_grows(key: str, shares: list[int]) -> None:
    arms = [arm(BY_USER, "r", share, x_user_id=key) for share in shares]
    assert arms == sorted(arms, reverse=True), "champion after candidate"


@given(KEYS, SHARES, st.text(max_size=8), st.text(max_size=8))
def test_the_same_key_meets_the_same_arm_in_every_request_and_process(
    key: str, share: int, one: str, other: str
) -> None:
    choose, again = (
        ArmChooser(RoutingPlan(key="field:ids"), "r", share),
        ArmChooser(RoutingPlan(key="field:ids"), "r", share),
    )
    assert choose({}, [key], one).arm == again({}, [key, "x"], other).arm


@given(KEYS)
def test_nobody_meets_a_candidate_without_traffic_and_everybody_one_with_all(key: str) -> None:
    assert arm(BY_USER, "r", 0, x_user_id=key) == "champion"
    assert arm(BY_USER, "r", 10_000, x_user_id=key) == "candidate"


def test_the_buckets_of_a_key_are_the_same_on_every_machine() -> None:
    assert [bucket(key, b"salt") for key in ("a", "b", "user-1")] == [856, 6731, 7588]


def test_shares_are_kept_and_two_rollouts_draw_independently() -> None:
    keys = [f"user-{number}" for number in range(20_000)]
    one = [bucket(key, b"r1") < 2500 for key in keys]
    other = [bucket(key, b"r2") < 2500 for key in keys]
    both = sum(first and second for first, second in zip(one, other, strict=True))
    assert abs(sum(one) - 5000) < 5 * 61, "five standard deviations"
    assert abs(both - 1250) < 5 * 34


def test_what_is_mirrored_does_not_depend_on_the_arm() -> None:
    requests = [f"request-{number}" for number in range(20_000)]
    mirrored = [bucket(request, mirror_salt("r1")) < 5000 for request in requests]
    canary = [bucket(request, b"r1") < 2500 for request in requests]
    both = sum(first and second for first, second in zip(mirrored, canary, strict=True))
    assert abs(both - 2500) < 5 * 47


def test_a_segment_rule_decides_before_the_hash_and_is_in_no_sample() -> None:
    staff = Segment("X-Group", "staff", "candidate")
    bank = Segment("x-group", "bank", "champion")
    routing = RoutingPlan(key="header:x-user-id", segments=(staff, bank))
    assert arm(routing, "r", 1, x_group="staff", x_user_id="u") == "candidate"
    assert arm(routing, "r", 10_000, x_group="bank", x_user_id="u") == "champion"
    choice = ArmChooser(routing, "r", 1)({b"x-group": b"staff"}, None, "request")
    assert (choice.bucket, choice.unit) == (NO_BUCKET, None)


def test_a_request_without_the_key_is_drawn_by_its_own_id() -> None:
    choose = ArmChooser(BY_USER, "r", 5000)
    arms = {choose({}, None, f"request-{number}").arm for number in range(50)}
    assert arms == {"champion", "candidate"}
