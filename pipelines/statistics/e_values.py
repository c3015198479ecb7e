"""E-values of counts, valid at every look: rejecting at ``1/alpha`` is wrong with probability at most ``alpha``.

The one primitive is the mixture e-process on Bernoulli counts of Lindon and Malek, *Anytime-Valid Inference for
Multinomial Count Data* (NeurIPS 2022, arXiv 2011.03567), with its Beta prior cut off at the limit for one-sided
questions. Its logarithm is 0 without data, grows with the evidence against "the limit is kept", and may be compared
with ``log(1/alpha)`` at any time and as often as one likes (Ville's inequality).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from pipelines.errors import Refused

Alternative = Literal["greater", "less", "two-sided"]
Floats = NDArray[np.float64]

CONCENTRATION = 10.0
"""Weight of the prior in events, k: a small k detects large differences early, a large k small differences later."""

SPLIT_CONCENTRATION = 100.0
"""Weight of the prior in the sample-ratio test, which has many units and small deviations."""

_FAR_TAIL_PROBABILITY = 1e-200
_MAX_FRACTION_TERMS = 400


@dataclass(frozen=True)
class StageEvents:
    """Events of one metric while the candidate was assigned ``weight`` of all units, strictly between 0 and 1.

    An event is counted once per unit. If routing is sticky the unit is the key, which counts in the stage of its first
    event of the whole rollout and in no later one, because its later events are not independent.
    """

    weight: float
    candidate: int
    champion: int

    @property
    def total(self) -> int:
        return self.candidate + self.champion


def log_e_value(
    bad: int, total: int, limit: float, *, alternative: Alternative = "greater", concentration: float = CONCENTRATION
) -> float:
    """Natural log of the evidence that the probability of a bad trial is beyond ``limit``.

    ``bad`` of ``total`` trials went wrong. Under "the probability is at most ``limit``" (``greater``), "at least"
    (``less``) or "exactly" (``two-sided``) the chance that this ever reaches ``log(1/alpha)`` is at most ``alpha``.

    Refused: impossible counts, a limit outside (0, 1), a concentration that is not positive.
    """
    return float(log_e_values(bad, total, limit, alternative=alternative, concentration=concentration))


def log_e_values(
    bad: ArrayLike,
    total: ArrayLike,
    limit: ArrayLike,
    *,
    alternative: Alternative = "greater",
    concentration: float = CONCENTRATION,
) -> Floats:
    """``log_e_value`` of arrays that are broadcast against each other.

    With ``a = k limit`` and ``b = k (1 - limit)`` it is the log of
    ``B(a + x, b + n - x) / B(a, b) / (limit^x (1 - limit)^(n - x))``, times the posterior over the prior mass on the
    alternative's side of the limit. The Beta functions are taken by Stirling's series around ``n KL(x/n, limit)``, and
    masses below 1e-200 by their continued fraction, so it is good to 1e-9 up to a billion trials.
    """
    x, n, limits = np.broadcast_arrays(*(np.asarray(each, dtype=np.float64) for each in (bad, total, limit)))
    _check_arguments(x, n, limits, alternative, concentration)
    bound, rest = limits, 1.0 - limits
    if alternative == "two-sided":
        return np.where(n == 0, 0.0, _log_mixture(x, n, bound, rest, concentration))
    if alternative == "less":
        x, bound, rest = n - x, rest, bound
    return np.where(n == 0, 0.0, _log_mixture_above(x, n, bound, rest, concentration))


def expected_share(weight: ArrayLike, ratio: ArrayLike = 1.0) -> Floats:
    """Probability that an event belongs to the candidate if its rate is ``ratio`` times the champion's.

    ``w r / (w r + 1 - w)``, for any base rate, also one that changes over time (Lindon and Malek, the sections on
    inhomogeneous Bernoulli and Poisson processes).
    """
    odds = np.asarray(weight, dtype=np.float64) * np.asarray(ratio, dtype=np.float64)
    return np.asarray(odds / (odds + 1.0 - np.asarray(weight, dtype=np.float64)), dtype=np.float64)


def log_e_rate_ratio(
    steps: Sequence[StageEvents],
    *,
    margin: float = 1.0,
    alternative: Alternative = "greater",
    concentration: float = CONCENTRATION,
) -> float:
    """Evidence that the candidate's rate of events is more (``less``: less) than ``margin`` times the champion's.

    Every stage has its own mixture, for its own weight; the product of their e-processes is an e-process again, so it
    may be tested at any time. Refused: a weight outside (0, 1), a margin that is not positive.
    """
    if not (margin > 0 and math.isfinite(margin)):
        raise Refused("there is no such evidence", [f"margin: {margin} is not a positive ratio of rates"])
    evidence = (
        log_e_value(
            step.candidate,
            step.total,
            float(expected_share(step.weight, margin)),
            alternative=alternative,
            concentration=concentration,
        )
        for step in steps
    )
    return math.fsum(evidence)


def log_e_since_any_stage(log_es: Sequence[float], *, stages: int) -> float:
    """Evidence that a fault began with one of the stages, whatever was seen before it; 0 without stages.

    ``log_es`` is the evidence of each stage alone, oldest first, of ``stages`` planned ones. The stake is shared
    equally among the stages in which a fault may begin: what is staked on a later beginning is not lost while the
    candidate is good, as it would be in the product over all stages. Each share is a fair game from its stage on, so
    that the sum ever reaches ``1/alpha`` with a chance of at most ``alpha``. It is a mixture of e-detectors (Shin,
    Ramdas and Rinaldo, *E-detectors: a nonparametric framework for sequential change detection*, 2023) that holds this
    chance over the whole rollout, and not a mean time between false alarms.
    """
    planned = max(stages, len(log_es))
    begun = np.cumsum(np.asarray(log_es[::-1], dtype=np.float64))
    not_begun = np.zeros(planned - len(log_es))
    return float(special.logsumexp(np.concatenate([begun, not_begun])) - math.log(planned)) if planned else 0.0


def rate_ratio_interval(
    steps: Sequence[StageEvents], *, alpha: float = 0.05, concentration: float = CONCENTRATION
) -> tuple[float, float]:
    """Ratios of the rates that the two-sided evidence does not refute at ``1/alpha``; (0, inf) without events.

    It covers the true ratio at all times at once with probability ``1 - alpha``. It is the hull of these ratios between
    1e-6 and 1e6, to eight digits; if the stages contradict each other and refute all ratios, the least refuted one.
    """
    if not any(step.total for step in steps):
        return 0.0, math.inf
    bound, reach = math.log(1.0 / alpha), math.log(1e6)

    def evidence(logs: Floats) -> Floats:
        total = np.zeros_like(logs)
        for step in steps:
            share = expected_share(step.weight, np.exp(logs))
            total += log_e_values(
                step.candidate, step.total, share, alternative="two-sided", concentration=concentration
            )
        return total

    grid = np.linspace(-reach, reach, 201)
    best, width = float(grid[np.argmin(evidence(grid))]), float(grid[1] - grid[0])
    for _ in range(7):
        near = np.linspace(max(best - width, -reach), min(best + width, reach), 21)
        best, width = float(near[np.argmin(evidence(near))]), width / 10
    grid = np.union1d(grid, [best])
    unrefuted = np.flatnonzero((evidence(grid) < bound) | (grid == best))
    first, last = int(unrefuted[0]), int(unrefuted[-1])
    low = 0.0 if first == 0 else math.exp(_bisect_crossing(evidence, grid[first], grid[first - 1], bound))
    high = (
        math.inf if last == len(grid) - 1 else math.exp(_bisect_crossing(evidence, grid[last], grid[last + 1], bound))
    )
    return low, high


def log_e_sample_ratio(units: Sequence[StageEvents], *, concentration: float = SPLIT_CONCENTRATION) -> float:
    """Evidence that the units were not split by the declared weights; count units, never the requests of sticky keys.

    At or above ``log(1/alpha)``, usually with ``alpha = 0.001``, the comparison of the arms is not valid.
    """
    return log_e_rate_ratio(units, alternative="two-sided", concentration=concentration)


def log_e_disagreement(
    candidate_wrong: int,
    champion_wrong: int,
    *,
    alternative: Alternative = "greater",
    concentration: float = CONCENTRATION,
) -> float:
    """Evidence that, of requests answered by both, the candidate alone is wrong more often than the champion alone.

    A sequential McNemar test: under equal accuracy the candidate is wrong in each discordant pair with probability 1/2.
    Pairs on which both are right or both wrong carry no evidence and are not passed.
    """
    pairs = candidate_wrong + champion_wrong
    return log_e_value(candidate_wrong, pairs, 0.5, alternative=alternative, concentration=concentration)


def _bisect_crossing(evidence: Callable[[Floats], Floats], inside: float, outside: float, bound: float) -> float:
    for _ in range(24):
        middle = 0.5 * (inside + outside)
        if float(evidence(np.array([middle]))[0]) < bound:
            inside = middle
        else:
            outside = middle
    return float(outside)


def _check_arguments(x: Floats, n: Floats, limits: Floats, alternative: str, concentration: float) -> None:
    reasons = []
    if not np.all((x >= 0) & (x <= n) & np.isfinite(n)):
        reasons.append(f"counts: {_values_text(x)} of {_values_text(n)}; give 0 <= bad <= total")
    if not np.all((limits > 0) & (limits < 1)):
        reasons.append(f"limit: {_values_text(limits)} is not between 0 and 1, both excluded")
    if alternative not in ("greater", "less", "two-sided"):
        reasons.append(f"alternative: {alternative!r} is none of greater, less, two-sided")
    if not (concentration > 0 and math.isfinite(concentration)):
        reasons.append(f"concentration: {concentration} is not a positive number")
    if reasons:
        raise Refused("there is no such evidence", reasons)


def _values_text(values: Floats) -> str:
    return f"{float(values):g}" if values.ndim == 0 else f"{values.size} values from {values.min():g}"


def _log_mixture(x: Floats, n: Floats, p: Floats, q: Floats, k: float) -> Floats:
    """Log likelihood ratio of Beta(kp, kq) to ``p``, in a form whose large terms cancel exactly."""
    return _log_beta_about(k * p + x, k * q + (n - x), x - n * p, p, q) - _log_beta_about(k * p, k * q, 0 * p, p, q)


def _log_mixture_above(x: Floats, n: Floats, p: Floats, q: Floats, k: float) -> Floats:
    """The same with the prior cut off below ``p``.

    Where the mass left of the posterior is too small for a float it is ``p^A q^B / (B Beta(A, B))`` over a continued
    fraction (DLMF 8.17.22), whose Beta function and powers cancel against those of the mixture.
    """
    a, b = k * p + x, k * q + (n - x)
    mass = special.betaincc(a, b, p)
    far = mass < _FAR_TAIL_PROBABILITY
    evidence = np.asarray(_log_mixture(x, n, p, q, k) + np.log(np.where(far, 1.0, mass)))
    if np.any(far):
        fraction = _continued_fraction(b[far], a[far], q[far])
        prior = _log_beta_about(k * p[far], k * q[far], 0 * p[far], p[far], q[far])
        evidence[far] = -np.log(b[far]) - np.log(fraction) - prior
    return np.asarray(evidence - np.log(special.betaincc(k * p, k * q, p)), dtype=np.float64)


def _log_beta_about(a: Floats, b: Floats, excess: Floats, p: Floats, q: Floats) -> Floats:
    """``ln B(a, b) - a ln p - b ln q`` where ``excess`` is ``a - (a + b) p``."""
    both = a + b
    divergence = a * _log_ratio(a, both * p, excess) + b * _log_ratio(b, both * q, -excess)
    halves = 0.5 * (np.log(both) - np.log(a) - np.log(b) + math.log(2 * math.pi))
    return divergence + halves + _stirling(a) + _stirling(b) - _stirling(both)


def _log_ratio(of: Floats, to: Floats, difference: Floats) -> Floats:
    """``ln(of / to)``, from their difference where they are close."""
    change = difference / to
    return np.where(np.abs(change) < 0.5, np.log1p(np.clip(change, -0.5, 0.5)), np.log(of / to))


def _stirling(z: Floats) -> Floats:
    """``ln Gamma(z) - (z - 1/2) ln z + z - ln(2 pi)/2``, whose series is good to 1e-15 from 15 upwards."""
    small = np.minimum(z, 15.0)
    exact = special.gammaln(small) - (small - 0.5) * np.log(small) + small - 0.5 * math.log(2 * math.pi)
    y = 1.0 / np.maximum(z, 15.0)
    series = y * (1 / 12 - y * y * (1 / 360 - y * y * (1 / 1260 - y * y / 1680)))
    return np.where(z < 15.0, exact, series)


def _continued_fraction(a: Floats, b: Floats, z: Floats) -> Floats:
    """Denominator ``1 + d1/(1 + d2/(1 + ...))`` of the incomplete beta function, by Lentz's method."""
    tiny = 1e-300
    value, upper, lower = np.ones_like(a), np.ones_like(a), np.zeros_like(a)
    for term in range(1, _MAX_FRACTION_TERMS):
        m, odd = divmod(term, 2)
        if odd:
            d = -(a + m) * (a + b + m) * z / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            d = m * (b - m) * z / ((a + 2 * m - 1) * (a + 2 * m))
        lower = 1.0 + d * lower
        lower = 1.0 / np.where(np.abs(lower) < tiny, tiny, lower)
        upper = 1.0 + d / upper
        upper = np.where(np.abs(upper) < tiny, tiny, upper)
        value = value * upper * lower
        if np.all(np.abs(upper * lower - 1.0) < 1e-15):
            break
    return value
