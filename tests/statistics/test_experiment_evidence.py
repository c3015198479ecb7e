"""Users who ask far more often than others deceive a mean over requests, and not a mean over users."""

from __future__ import annotations

import numpy as np

from pipelines.statistics.mean_difference import Moments, mean_difference

KEYS, REQUESTS, RUNS, LOOKS = 500, 8000, 200, 20


def differs(variant: np.ndarray, control: np.ndarray) -> bool:
    variant, control = (Moments(len(side), float(side.mean()), float(side.var(ddof=1))) for side in (variant, control))
    found = mean_difference(variant, control, tightest_at=400)
    return not found.low <= 0 <= found.high


def test_two_equal_versions_with_heavy_users_are_told_apart_in_at_most_five_of_a_hundred_experiments() -> None:
    """Each user has a level of their own; a user's mean moves as they come back, at every look."""
    rng, alarms = np.random.default_rng(23), {"users": 0, "requests": 0}
    for _ in range(RUNS):
        activity, level = rng.lognormal(0.0, 1.5, KEYS), rng.gamma(1.0, 1.0, KEYS)
        asked = rng.choice(KEYS, size=REQUESTS, p=activity / activity.sum())
        values, variant = level[asked] + rng.exponential(1.0, REQUESTS), rng.random(KEYS) < 0.5
        found = {"users": False, "requests": False}
        for seen in np.linspace(REQUESTS / LOOKS, REQUESTS, LOOKS).astype(int):
            who, what = asked[:seen], values[:seen]
            times = np.bincount(who, minlength=KEYS)
            arms = [(times > 0) & variant, (times > 0) & ~variant]
            if min(arm.sum() for arm in arms) < 100:
                continue
            means = np.bincount(who, weights=what, minlength=KEYS) / np.maximum(times, 1)
            found["users"] |= differs(means[arms[0]], means[arms[1]])
            found["requests"] |= differs(what[variant[who]], what[~variant[who]])
        for name, alarm in found.items():
            alarms[name] += alarm
    assert alarms["users"] / RUNS <= 0.05
    assert alarms["requests"] / RUNS > 0.30


def test_a_difference_between_the_versions_is_found_in_spite_of_heavy_users() -> None:
    rng, found = np.random.default_rng(24), 0
    for _ in range(50):
        level = rng.gamma(1.0, 1.0, 2000) + rng.exponential(1.0, 2000)
        found += differs(level[:1000] + 0.4, level[1000:])
    assert found / 50 >= 0.95
