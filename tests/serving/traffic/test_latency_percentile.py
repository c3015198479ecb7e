"""Slow is what is slower than the champion was a minute ago, and nothing before that is known."""

from __future__ import annotations

import math
import random

import pytest

from pipelines.serving.traffic.latency_percentile import LatencyPercentile


def filled(latencies: list[float], *, seconds: float = 61.0) -> LatencyPercentile:
    """After these answers, evenly spread over so many seconds, and one more."""
    percentile = LatencyPercentile()
    for number, latency in enumerate(latencies):
        percentile.add(latency, seconds * number / len(latencies))
    percentile.add(0.001, seconds)
    return percentile


@pytest.mark.parametrize("scale", [1e-5, 1e-3, 1.0])
def test_after_a_minute_one_answer_of_a_hundred_is_slower(scale: float) -> None:
    draw = random.Random(1)
    latencies = [scale * draw.lognormvariate(0, 1) for _ in range(5000)]
    limit = filled(latencies).limit_ms / 1000
    assert sum(latency > limit for latency in latencies) / 5000 == pytest.approx(0.01, abs=0.003)


def test_before_a_minute_is_over_or_with_few_answers_nothing_is_slow() -> None:
    assert filled([0.01] * 500, seconds=59).limit_ms == math.inf
    assert filled([0.01] * 99).limit_ms == math.inf
    assert filled([0.01] * 100).limit_ms == pytest.approx(10, rel=0.05)


def test_the_percentile_is_that_of_the_last_minute_alone() -> None:
    percentile = filled([0.01] * 500)
    for number in range(500):
        percentile.add(0.4, 62 + number / 10)
    percentile.add(0.4, 125)
    assert percentile.limit_ms == pytest.approx(400, rel=0.05)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e9])
def test_an_answer_of_any_time_is_counted(seconds: float) -> None:
    assert filled([seconds] * 200).limit_ms > 0
