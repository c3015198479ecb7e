"""Rollouts of many runs at once, drawn from a seed: what the tests and the bench let the statistics judge."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from pipelines.statistics.e_values import CONCENTRATION, expected_share, log_e_values

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
STAGES = ((0.05, 5000), (0.15, 5000), (0.25, 5000), (0.50, 5000))
"""Weight of the candidate and requests of each step of the usual canary."""


def day(looks: int, every: int, *, swing: float = 0.0, requests_per_day: int = 5000) -> Floats:
    """Factor on the base rate at each look: 1 on average over a day, ``1 - swing`` at night, ``1 + swing`` at noon."""
    return 1.0 + swing * np.sin(2 * math.pi * every * (np.arange(looks) + 0.5) / requests_per_day)


def events(
    rng: np.random.Generator,
    runs: int,
    *,
    rate: float,
    ratio: float = 1.0,
    stages: Sequence[tuple[float, int]] = STAGES,
    every: int = 100,
    swing: float = 0.0,
) -> list[tuple[float, Counts, Counts, Counts]]:
    """Per step its weight and, per run and look, how many requests the candidate had and how many of each arm failed.

    Cumulated within the step; shape (runs, looks). ``rate`` is the champion's, ``ratio`` the candidate's over it.
    """
    found = []
    for weight, requests in stages:
        looks = requests // every
        factor = day(looks, every, swing=swing)
        canary = rng.binomial(every, weight, (runs, looks))
        worse = rng.binomial(canary, np.minimum(rate * ratio * factor, 1.0))
        usual = rng.binomial(every - canary, np.minimum(rate * factor, 1.0))
        found.append((weight, np.cumsum(canary, axis=1), np.cumsum(worse, axis=1), np.cumsum(usual, axis=1)))
    return found


def weighed(bad: Counts, total: Counts, limit: float, k: float = CONCENTRATION) -> Floats:
    """``log_e_values`` of counts of which most occur many times over: each pair is computed once."""
    pairs, places = np.unique(bad * (int(total.max()) + 1) + total, return_inverse=True)
    bads, totals = np.divmod(pairs, int(total.max()) + 1)
    return log_e_values(bads, totals, limit, concentration=k)[places].reshape(total.shape)


def evidence_of_ratio(
    steps: Sequence[tuple[float, Counts, Counts, Counts]], *, margin: float = 1.0, k: float = CONCENTRATION
) -> Floats:
    """``log_e_rate_ratio`` at each look of all steps one after another: shape (runs, looks of all steps)."""
    before: Floats | float = 0.0
    paths = []
    for weight, _, worse, usual in steps:
        path = before + weighed(worse, worse + usual, float(expected_share(weight, margin)), k)
        paths.append(path)
        before = path[:, -1:]
    return np.concatenate(paths, axis=1)


def evidence_of_fault(
    steps: Sequence[tuple[float, Counts, Counts, Counts]], *, margin: float = 1.0, k: float = CONCENTRATION
) -> Floats:
    """``log_e_since_any_stage`` at each look of all steps one after another: shape (runs, looks of all steps)."""
    paths, since = [], list[Floats]()
    for begun, (weight, _, worse, usual) in enumerate(steps, start=1):
        path = weighed(worse, worse + usual, float(expected_share(weight, margin)), k)
        starts = [before + path for before in [*since, np.zeros((len(path), 1))]]
        starts += [np.zeros_like(path)] * (len(steps) - begun)
        paths.append(logsumexp(np.stack(starts), axis=0) - math.log(len(steps)))
        since = [start[:, -1:] for start in starts[:begun]]
    return np.concatenate(paths, axis=1)


def evidence_of_threshold(
    steps: Sequence[tuple[float, Counts, Counts, Counts]], threshold: float, *, k: float = CONCENTRATION
) -> Floats:
    """Evidence that the candidate alone fails more often than ``threshold``, over all steps together."""
    requests: Counts | int = 0
    failed: Counts | int = 0
    paths = []
    for _, canary, worse, _ in steps:
        paths.append(weighed(failed + worse, requests + canary, threshold, k))
        requests, failed = requests + canary[:, -1:], failed + worse[:, -1:]
    return np.concatenate(paths, axis=1)


def found_at(paths: Floats, alpha: float = 0.05, *, every: int = 100) -> Floats:
    """Requests of all arms at the first look with evidence of ``1/alpha``; infinity where there was none."""
    beyond = paths >= math.log(1.0 / alpha)
    return np.where(beyond.any(axis=1), (beyond.argmax(axis=1) + 1.0) * every, np.inf)


def sticky_keys(
    rng: np.random.Generator, *, keys: int, sigma: float, weight: float, requests: int, rate: float = 0.01
) -> tuple[Counts, Counts, NDArray[np.bool_]]:
    """One A/A run in which a key keeps its arm: who asked, whose request failed, and whose arm is the candidate's.

    Some keys ask far more than others (lognormal, ``sigma``), and some fail far more often than others.
    """
    activity = rng.lognormal(0.0, sigma, keys)
    propensity = np.minimum(rate * rng.gamma(0.5, 2.0, keys), 1.0)
    asked = rng.choice(keys, size=requests, p=activity / activity.sum())
    return asked, (rng.random(requests) < propensity[asked]).astype(np.int64), rng.random(keys) < weight
