"""The requests a decision takes are foretold by the exact distribution, and no hopeless design starts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from pipelines.errors import Refused
from pipelines.statistics.e_values import log_e_values
from pipelines.statistics.sample_size import SampleSize, sample_size
from tests.rollout.simulated import events, evidence_of_ratio, found_at


def test_the_foretold_power_and_median_are_those_of_simulated_rollouts() -> None:
    size = sample_size(rate=0.02, ratio=3.0, weight=0.05, power=0.8)
    runs = events(np.random.default_rng(5), 1000, rate=0.02, ratio=3.0, stages=((0.05, 100 * (size.requests // 100)),))
    first_looks = found_at(evidence_of_ratio(runs))
    assert np.isfinite(first_looks).mean() == pytest.approx(0.8, abs=0.05)
    assert np.median(first_looks) == pytest.approx(size.median_requests, rel=0.15)


def test_peeking_costs_less_than_twice_the_requests_of_a_single_look() -> None:
    for ratio, weight in ((3.0, 0.05), (2.0, 0.1), (1.5, 0.5), (0.7, 0.5)):
        size = sample_size(rate=0.01, ratio=ratio, weight=weight)
        assert size.fixed_requests < size.requests < 2 * size.fixed_requests
        assert size.median_requests < 1.2 * size.fixed_requests


def test_a_smaller_effect_takes_more_requests() -> None:
    needed = [sample_size(rate=0.01, ratio=ratio, weight=0.1).requests for ratio in (1.2, 1.5, 2.0, 4.0)]
    assert needed == sorted(needed, reverse=True)


def test_equality_is_shown_within_a_margin_only() -> None:
    assert sample_size(rate=0.01, ratio=1.0, margin=1.5, weight=0.5).requests < 50_000
    with pytest.raises(Refused, match="must differ from the margin"):
        sample_size(rate=0.01, ratio=1.0, weight=0.5)


@pytest.mark.parametrize(("rate", "ratio", "weight"), [(0.0, 2.0, 0.5), (0.6, 2.0, 0.5), (0.1, 2.0, 1.0)])
def test_rates_that_cannot_be_are_refused(rate: float, ratio: float, weight: float) -> None:
    with pytest.raises(Refused, match="must lie in"):
        sample_size(rate=rate, ratio=ratio, weight=weight)


def counted_out(
    *, rate: float, ratio: float, weight: float, margin: float, alpha: float, power: float, concentration: float = 10.0
) -> SampleSize:
    """The same numbers event by event: every number of the candidate's events and its chance, at each evaluation."""
    limit, truth = weight * margin / (weight * margin + 1 - weight), weight * ratio / (weight * ratio + 1 - weight)
    spread = stats.norm.isf(alpha) * (limit * (1 - limit)) ** 0.5 + stats.norm.ppf(power) * (truth * (1 - truth)) ** 0.5
    fixed = math.ceil((spread / (truth - limit)) ** 2)
    block, events, detected, chances, crossings = max(1, round(fixed / 100)), 0, 0.0, {0: 1.0}, {}
    while detected < power:
        for _ in range(block):
            grown: dict[int, float] = {}
            for count, chance in chances.items():
                grown[count + 1] = grown.get(count + 1, 0.0) + chance * truth
                grown[count] = grown.get(count, 0.0) + chance * (1 - truth)
            chances, events = grown, events + 1
        alternative = "greater" if ratio > margin else "less"
        evidence = log_e_values(list(chances), events, limit, alternative=alternative, concentration=concentration)
        for count, value in zip(list(chances), evidence, strict=True):
            if value >= math.log(1 / alpha):
                detected += chances.pop(count)
        for level in (0.5, power):
            if detected >= level:
                crossings.setdefault(level, events)
    share = rate * (1 - weight + weight * ratio)
    events, median, fixed_requests = crossings[power], crossings[0.5] / share, fixed / share
    return SampleSize(events, math.ceil(events / share), math.ceil(median), math.ceil(fixed_requests))


@pytest.mark.parametrize(
    ("rate", "ratio", "weight", "margin", "alpha", "power"),
    [
        (0.1, 5.0, 0.5, 1.0, 0.05, 0.8),
        (0.02, 3.0, 0.1, 1.0, 0.05, 0.8),
        (0.02, 2.0, 0.5, 1.0, 0.1, 0.9),
        (0.02, 1.0, 0.5, 2.0, 0.05, 0.8),
        (0.3, 0.5, 0.25, 1.0, 0.05, 0.6),
        (0.01, 1.504, 0.5, 1.0, 0.05, 0.8),  # 151 events of a single look: every second one is looked at
    ],
)
def test_the_foretold_sizes_are_those_counted_out_event_by_event(
    rate: float, ratio: float, weight: float, margin: float, alpha: float, power: float
) -> None:
    design = {"rate": rate, "ratio": ratio, "weight": weight, "margin": margin, "alpha": alpha, "power": power}
    assert sample_size(**design) == counted_out(**design)


def test_the_defaults_are_no_margin_5_in_100_and_80_in_100() -> None:
    declared = sample_size(rate=0.02, ratio=3.0, weight=0.5, margin=1.0, alpha=0.05, power=0.8, concentration=10.0)
    assert sample_size(rate=0.02, ratio=3.0, weight=0.5) == declared


def test_a_test_of_one_look_takes_at_least_one_event() -> None:
    size = sample_size(rate=1e-6, ratio=500_000.0, weight=0.5, alpha=0.5, power=0.5)
    assert size.fixed_requests == math.ceil(1 / (1e-6 * (0.5 + 250_000)))


@pytest.mark.parametrize(("concentration", "events"), [(1000.0, 70), (20_000.0, 270)])
def test_a_slow_test_of_a_large_effect_is_foretold_beyond_the_events_of_a_single_look(
    concentration: float, events: int
) -> None:
    design = {"rate": 1e-6, "ratio": 1e5, "weight": 0.5, "margin": 1.0, "alpha": 0.05, "power": 0.8}
    size = sample_size(**design, concentration=concentration)
    assert size == counted_out(**design, concentration=concentration)
    assert size.events >= events


@pytest.mark.parametrize(
    ("rate", "ratio", "weight"), [(1.0, 0.5, 0.5), (0.5, 2.0, 0.5), (0.1, 0.0, 0.5), (0.1, 2.0, 0.0), (-0.1, 2.0, 0.5)]
)
def test_rates_and_weights_at_their_ends_are_refused(rate: float, ratio: float, weight: float) -> None:
    with pytest.raises(Refused, match="no number of requests can decide this test"):
        sample_size(rate=rate, ratio=ratio, weight=weight)
