"""Computes before the start how many requests a sequential test of the ratio of two rates will need."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pipelines.errors import Refused
from pipelines.statistics.e_values import CONCENTRATION, expected_share, log_e_values

LOOKS_PER_TEST = 100
"""Number of evaluations within the events of a fixed-size test; the real test is evaluated at least as often."""

_SPAN = 8


@dataclass(frozen=True)
class SampleSize:
    """The sample size of a sequential test of the rate ratio.

    ``events`` and ``requests`` of both arms together until the effect is detected with the given power,
    ``median_requests`` until it is detected in half of all runs, ``fixed_requests`` of a test evaluated once.
    """

    events: int
    requests: int
    median_requests: int
    fixed_requests: int


def sample_size(
    *,
    rate: float,
    ratio: float,
    weight: float,
    margin: float = 1.0,
    alpha: float = 0.05,
    power: float = 0.8,
    concentration: float = CONCENTRATION,
) -> SampleSize:
    """Requests until a candidate with ``ratio`` times the champion's ``rate`` is distinguished from ``margin`` times.

    A ratio below the margin needs evidence of non-inferiority, one above of deterioration. The probability of having
    crossed ``log(1/alpha)`` is computed from the exact distribution of the events' arms, at 100 evaluations within the
    events of a fixed test; requests follow from the mean number of events.

    Refused: rates outside (0, 1), and a ratio equal to the margin, which no number of requests can distinguish.
    """
    if not (0 < rate < 1 and 0 < rate * ratio < 1 and 0 < weight < 1 and ratio != margin):
        inputs = f"rate {rate:g}, ratio {ratio:g}, weight {weight:g}, margin {margin:g}"
        remedy = "rates and weight must lie in (0, 1), and the ratio must differ from the margin"
        raise Refused("no number of requests can decide this test", [f"{inputs}: {remedy}"])
    limit, truth = float(expected_share(weight, margin)), float(expected_share(weight, ratio))
    spread = special.ndtri(1 - alpha) * math.sqrt(limit * (1 - limit))
    spread += special.ndtri(power) * math.sqrt(truth * (1 - truth))
    fixed = max(1, math.ceil((spread / (truth - limit)) ** 2))
    if truth < limit:
        limit, truth = 1 - limit, 1 - truth
    block = max(1, round(fixed / LOOKS_PER_TEST))
    power_by_look = _power_by_look(
        limit, truth, block, _SPAN * max(fixed // block, LOOKS_PER_TEST // 2), alpha, concentration
    )
    share_with_event = rate * (1 - weight + weight * ratio)
    looks = [int(np.searchsorted(power_by_look, level)) + 1 for level in (power, 0.5)]
    if looks[0] > len(power_by_look):
        raise Refused(
            "no number of requests can decide this test", [f"power {power:g} is not reached; use a lower power"]
        )
    events, median = (look * block for look in looks)
    return SampleSize(
        events=events,
        requests=math.ceil(events / share_with_event),
        median_requests=math.ceil(median / share_with_event),
        fixed_requests=math.ceil(fixed / share_with_event),
    )


def _power_by_look(limit: float, truth: float, block: int, looks: int, alpha: float, k: float) -> NDArray[np.float64]:
    """Probability of a detection by each evaluation after ``block`` more events, until it reaches 0.999."""
    totals = block * np.arange(1, looks + 1)
    bounds = _rejection_boundary(totals, limit, alpha, k)
    count = np.arange(block + 1)
    ways = special.gammaln(block + 1) - special.gammaln(count + 1) - special.gammaln(block - count + 1)
    step = np.exp(ways + count * math.log(truth) + (block - count) * math.log1p(-truth))
    alive, crossed, chances = np.ones(1), 0.0, []
    for bound in bounds:
        alive = np.convolve(alive, step)
        crossed += float(alive[bound:].sum())
        alive = alive[:bound]
        chances.append(crossed)
        if crossed > 0.999 or not len(alive):
            break
    return np.array(chances)


def _rejection_boundary(totals: NDArray[np.int64], limit: float, alpha: float, k: float) -> NDArray[np.int64]:
    """The smallest number of events in the arm with evidence ``log(1/alpha)``, for each total; above it if none has."""
    low, high = np.zeros_like(totals), totals + 1
    while np.any(low < high):
        middle = (low + high) // 2
        enough = (log_e_values(np.minimum(middle, totals), totals, limit, concentration=k) >= -math.log(alpha)) & (
            middle <= totals
        )
        low, high = np.where(enough | (low >= high), low, middle + 1), np.where(enough, middle, high)
    return low
