"""The confidence sequence of the difference of two means, valid at every look; a covariate (CUPED) may narrow it.

The asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, *Time-uniform central limit
theory and asymptotic confidence sequences* (Annals of Statistics, 2024). It is valid for large samples only:
``minimum_units`` says how large they must be for the skewness of the values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipelines.errors import Refused

UNITS_PER_SQUARED_SKEWNESS = 100
"""The smaller arm must have so many units times the squared skewness of the values: the skewness of its mean, which
falls with the root of the units, is then at most 0.1. (Kohavi, Deng, Longbotham and Xu, *Seven rules of thumb for web
site experimenters*, KDD 2014, ask for 355 with a test that looks once, without a margin for looking.)"""


def minimum_units(skewness: float) -> int:
    """Units that each arm needs before a difference of means of values with this skewness is known."""
    return math.ceil(UNITS_PER_SQUARED_SKEWNESS * skewness * skewness)


@dataclass(frozen=True)
class Moments:
    """One arm's ``count`` units with the mean and variance of a metric ``y`` and of a covariate ``x``.

    ``x`` is from before the assignment, or the champion's score: the assignment must not affect it. Units are the
    metric's own; variances are the sample's. Without a covariate its moments are 0.
    """

    count: int
    mean: float
    variance: float
    x_mean: float = 0.0
    x_variance: float = 0.0
    covariance: float = 0.0


@dataclass(frozen=True)
class Difference:
    """Candidate minus champion, in the metric's unit, with the bounds that hold at every look."""

    estimate: float
    low: float
    high: float


def mean_difference(candidate: Moments, champion: Moments, *, alpha: float = 0.05, tightest_at: int) -> Difference:
    """The two-sided confidence sequence of the difference of means at level ``1 - alpha``, after CUPED.

    ``tightest_at``: total units at which it is narrowest, chosen before the start. The half-width is
    ``sqrt(s2) sqrt(2 (n r2 + 1) ln(sqrt(n r2 + 1) / alpha) / (n r)^2)`` with ``n`` the units of both arms, ``s2`` the
    squared standard error times ``n``, and ``r2 = (-2 ln alpha + ln(1 - 2 ln alpha)) / tightest_at`` (the paper's
    two-sided sequence and its choice of rho). With under two units in an arm it is unbounded.

    Refused: alpha outside (0, 1), ``tightest_at`` below 1.
    """
    if not (0 < alpha < 1 and tightest_at >= 1):
        raise Refused(
            "there is no such interval", [f"alpha {alpha} must be in (0, 1), tightest_at {tightest_at} at least 1"]
        )
    if min(candidate.count, champion.count) < 2:
        return Difference(math.nan, -math.inf, math.inf)
    theta = cuped_coefficient(candidate, champion)
    estimate = candidate.mean - champion.mean - theta * (candidate.x_mean - champion.x_mean)
    n = candidate.count + champion.count
    spread = n * (
        _adjusted_variance(candidate, theta) / candidate.count + _adjusted_variance(champion, theta) / champion.count
    )
    rho2 = (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / tightest_at
    grown = n * rho2 + 1
    half = math.sqrt(spread * 2 * grown * math.log(math.sqrt(grown) / alpha) / (n * n * rho2))
    return Difference(estimate, estimate - half, estimate + half)


def cuped_coefficient(candidate: Moments, champion: Moments) -> float:
    """``cov(y, x) / var(x)`` pooled within both arms; 0 if ``x`` does not vary.

    Subtracting this times ``x`` leaves ``1 - corr(y, x)^2`` of the variance (Deng, Xu, Kohavi and Walker, *Improving
    the Sensitivity of Online Controlled Experiments by Utilizing Pre-Experiment Data*, WSDM 2013, eq. 4 and 5).
    """
    arms = (candidate, champion)
    varied = sum((arm.count - 1) * arm.x_variance for arm in arms)
    return sum((arm.count - 1) * arm.covariance for arm in arms) / varied if varied > 0 else 0.0


def _adjusted_variance(arm: Moments, theta: float) -> float:
    return max(arm.variance - 2 * theta * arm.covariance + theta * theta * arm.x_variance, 0.0)
