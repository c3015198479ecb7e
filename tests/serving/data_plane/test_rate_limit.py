"""A client has its burst, then its rate, whatever the others do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipelines.serving.data_plane.rate_limit import TokenBuckets


def test_a_burst_passes_and_the_next_request_is_told_when_to_come_back() -> None:
    buckets = TokenBuckets(per_minute=60, burst=3)
    assert [buckets.take("a", 100.0) for _ in range(5)] == [0, 0, 0, 1.0, 1.0]
    assert buckets.take("a", 100.5) == 0.5
    assert buckets.take("a", 101.0) == 0


def test_one_clients_flood_takes_nothing_from_another() -> None:
    buckets = TokenBuckets(per_minute=60, burst=1)
    assert [buckets.take("flood", 5.0) for _ in range(100)].count(0) == 1
    assert buckets.take("quiet", 5.0) == 0


def test_only_so_many_clients_are_remembered_and_the_longest_absent_is_forgotten() -> None:
    buckets = TokenBuckets(per_minute=60, burst=1, max_clients=2)
    for client in "abc":
        buckets.take(client, 0.0)
    assert [buckets.seconds_until_token(client, 0.0) > 0 for client in "abc"] == [False, True, True]


@given(st.floats(1, 6000), st.integers(1, 50), st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_no_window_ever_passes_more_than_burst_and_rate(per_minute: float, burst: int, pauses: list[float]) -> None:
    buckets, now, passed = TokenBuckets(per_minute, burst), 0.0, []
    for pause in pauses:
        now += pause
        if buckets.take("a", now) == 0:
            passed.append(now)
    for first, start in enumerate(passed):
        for last in range(first, len(passed)):
            assert last - first + 1 <= burst + (passed[last] - start) * per_minute / 60 + 1e-3
