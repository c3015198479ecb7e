"""The confidence sequence of the difference of two event rates, valid at every look, also for rare events."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from pipelines.statistics.e_values import StageEvents, log_e_value, rate_ratio_interval
from pipelines.statistics.mean_difference import Difference

_BISECTION_STEPS = 30


def rate_interval(bad: int, total: int, *, alpha: float = 0.05) -> tuple[float, float]:
    """Rates that the two-sided evidence does not refute at ``1/alpha``; (0, 1) without trials.

    It covers the true rate at all times at once with probability ``1 - alpha``.
    """
    if not total:
        return 0.0, 1.0
    bound, rate = math.log(1.0 / alpha), bad / total

    def is_plausible(limit: float) -> bool:
        return log_e_value(bad, total, limit, alternative="two-sided") < bound

    inside = min(max(rate, 0.5 / (total + 1)), 1 - 0.5 / (total + 1))
    low = _bisect_interval_end(inside, 0.0, is_plausible) if bad else 0.0
    return low, _bisect_interval_end(inside, 1.0, is_plausible) if bad < total else 1.0


def rate_difference(
    steps: Sequence[StageEvents], candidate: tuple[int, int], champion: tuple[int, int], *, alpha: float = 0.05
) -> Difference:
    """Candidate minus champion, of (units with an event, units) each; ``steps`` are those events at their weights.

    The intersection of two intervals: the ratio of the rates times the champion's rate, and the difference of the two
    rates' intervals, with ``alpha / 3`` for each of the three. So its sign is that of the ratio, and two arms without
    events are close. The split must be the same in all stages; if the two intervals contradict, the ratio decides.
    """
    (x, n), (y, m) = candidate, champion
    low_ratio, high_ratio = rate_ratio_interval(steps, alpha=alpha / 3)
    mine, theirs = rate_interval(x, n, alpha=alpha / 3), rate_interval(y, m, alpha=alpha / 3)
    low = max(-1.0, min(rate * (low_ratio - 1) for rate in theirs))
    high = min(1.0, max(_scale_rate(rate, high_ratio - 1) for rate in theirs))
    both = max(low, mine[0] - theirs[1]), min(high, mine[1] - theirs[0])
    return Difference(x / n - y / m if n and m else math.nan, *(both if both[0] <= both[1] else (low, high)))


def _scale_rate(rate: float, factor: float) -> float:
    return rate * factor if rate else 0.0


def _bisect_interval_end(inside: float, outside: float, is_plausible: Callable[[float], bool]) -> float:
    """Where the plausible rates end towards ``outside``, by bisection; ``outside`` itself is never tested."""
    for _ in range(_BISECTION_STEPS):
        middle = 0.5 * (inside + outside)
        if middle in (inside, outside):
            break
        if is_plausible(middle):
            inside = middle
        else:
            outside = middle
    return outside
