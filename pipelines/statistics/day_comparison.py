"""Compares day values of two times: an interval of the difference, and a sum of losses that may be looked at every day.

A day is the unit: rows of one day share their weather and their news, so they are no independent observations, and
neighbouring days are alike. Both are widened by the days' first-order autocorrelation. False alarms and detection times
are in docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]

SMALLEST_DAYS = 2
SMALLEST_CERTIFICATE_DAYS = 14
"""Days of the certificate from which the sum of losses keeps its false alarms."""
LARGEST_PHI = 0.8
SLACK = 0.3
LARGEST_STEP = 2.5
"""One terrible day adds no more than that."""
CERTIFICATE_DAYS = (14, 20, 30, 40, 60, 90)
ALARM_LIMITS = (16.0, 14.0, 12.0, 10.5, 9.6, 9.5)
"""By days of the certificate: chosen so that in at most one year of ten there is a false alarm."""


YEARLY_ERROR = 0.05
LOOKS_PER_WINDOW = 3.0
"""Windows that move by a day are worth so many independent looks each."""


@dataclass(frozen=True)
class Difference:
    """``mean``: later minus former; it lies within ``half_width`` of the true difference at the asked confidence."""

    mean: float
    half_width: float
    autocorrelation: float


@dataclass(frozen=True)
class LossSum:
    """``sums``: after each day, in deviations of a day; ``limit``: what they stay below while nothing is lost."""

    sums: Floats
    limit: float

    @property
    def since(self) -> int | None:
        """Place of the day on which the sum left zero for the last time; None while it is zero."""
        if not len(self.sums) or self.sums[-1] <= 0:
            return None
        zeros = np.flatnonzero(self.sums <= 0)
        return int(zeros[-1]) + 1 if len(zeros) else 0


def difference_of_days(former: Sequence[float], later: Sequence[float], confidence: float = 0.95) -> Difference | None:
    """Difference of two means of day values, with a t interval on the smaller number of days.

    The half width is ``t * sqrt((s_f² / m + s_l² / w) (1 + phi) / (1 - phi))`` with ``min(m, w) - 1`` degrees of
    freedom; ``phi`` is the autocorrelation of all days about their own mean. None with fewer than two days on a side.
    """
    a, b = np.asarray(former, dtype=np.float64), np.asarray(later, dtype=np.float64)
    if min(len(a), len(b)) < SMALLEST_DAYS:
        return None
    phi = autocorrelation([a, b])
    variance = (a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b)) * (1 + phi) / (1 - phi)
    quantile = float(stdtrit(min(len(a), len(b)) - 1, (1 + confidence) / 2))
    return Difference(float(b.mean() - a.mean()), quantile * float(np.sqrt(variance)), phi)


def yearly_error(window_days: int) -> float:
    """One-sided error of a single look, so that daily looks at a moving window err in 5 % of the years in all."""
    return YEARLY_ERROR / (LOOKS_PER_WINDOW * 365 / window_days)


def sum_of_losses(certificate: Sequence[float], days: Sequence[float]) -> LossSum | None:
    """Page's CUSUM of the days after a release, higher values being better; None with too short a certificate.

    ``S ← max(0, S + min((mean - sd / sqrt(m) - x) / sd, 2.5) - 0.3)``, with ``sd`` widened by the autocorrelation of
    the certificate's days: the error of their own mean is allowed for once, and small losses never add up.
    """
    reference = np.asarray(certificate, dtype=np.float64)
    if len(reference) < SMALLEST_CERTIFICATE_DAYS:
        return None
    phi = autocorrelation([reference])
    deviation = float(reference.std(ddof=1)) * float(np.sqrt((1 + phi) / (1 - phi)))
    floor = reference.mean() - deviation / np.sqrt(len(reference))
    sums, total = [], 0.0
    for value in days:
        loss = (floor - value) / deviation if deviation > 0 else (LARGEST_STEP if value < floor else 0.0)
        total = max(0.0, total + min(loss, LARGEST_STEP) - SLACK)
        sums.append(total)
    limit = float(np.interp(len(reference), CERTIFICATE_DAYS, ALARM_LIMITS))
    return LossSum(np.array(sums), limit)


def autocorrelation(parts: Sequence[Floats]) -> float:
    """Lag-1 autocorrelation of the days within each part, clipped to [0, 0.8]; ``(1 + 3 phi) / n`` mends its bias."""
    centred = [part - part.mean() for part in parts]
    power = sum(float((part**2).sum()) for part in centred)
    if power <= 0:
        return 0.0
    phi = sum(float((part[1:] * part[:-1]).sum()) for part in centred) / power
    phi += (1 + 3 * phi) / sum(len(part) for part in centred)
    return float(np.clip(phi, 0.0, LARGEST_PHI))
