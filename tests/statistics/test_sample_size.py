"""The requests a decision takes are foretold by the exact distribution, and no hopeless design starts."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.errors import Refused
from pipelines.statistics.sample_size import sample_size
from tests.rollout.simulated import events, evidence_of_ratio, found_at


def test_the_foretold_power_and_median_are_those_of_simulated_rollouts() -> None:
    size = sample_size(rate=0.02, ratio=3.0, weight=0.05, power=0.8)
    runs = events(np.random.default_rng(5), 1000, rate=0.02, ratio=3.0, stages=((0.05, 100 * (size.requests // 100)),))
    found = found_at(evidence_of_ratio(runs))
    assert np.isfinite(found).mean() == pytest.approx(0.8, abs=0.05)
    assert np.median(found) == pytest.approx(size.median_requests, rel=0.15)


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
