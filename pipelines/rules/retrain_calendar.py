"""How long a model may serve before its age costs more than a training: the interval from price and freshness."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from pipelines.messages.retraining import AgeGain
from pipelines.spec.retraining import RetrainPrice

DEFAULT_DAYS, LEAST_DAYS, MOST_DAYS = 28, 7, 112
"""Where nothing is known: in a year of real data four weeks gained almost all that weekly trainings did."""
LEAST_COMPARISONS = 4
"""Comparisons of a newer with an older model of one recipe before their slope is believed."""


class Interval(BaseModel):
    """Data days between trainings, and why. ``loss_a_day``: of the metric by each day of age; None: not known."""

    model_config = ConfigDict(frozen=True)

    days: int
    why: str
    loss_a_day: float | None = None


def retrain_interval(gains: Sequence[AgeGain], price: RetrainPrice | None) -> Interval:
    """The interval at which training and ageing together cost least.

    A model whose loss grows by ``s`` a day costs ``v s T / 2`` a day if it is replaced every ``T`` days, and the
    trainings cost ``c / T``; the sum is least at ``T = sqrt(2 c / (v s))`` (the economic order quantity, Harris 1913).
    ``s`` is the slope of the measured gains on the difference in age, through zero, weighted by their errors. Where it
    is not positive, age costs nothing that could be shown, and the longest interval holds.
    """
    if price is None:
        return Interval(days=DEFAULT_DAYS, why=f"no price is declared: every {DEFAULT_DAYS} days")
    if len(gains) < LEAST_COMPARISONS:
        why = f"{len(gains)} comparisons of a newer with an older model (needs {LEAST_COMPARISONS})"
        return Interval(days=DEFAULT_DAYS, why=f"{why}: every {DEFAULT_DAYS} days")
    weights = [1 / gain.standard_error**2 for gain in gains]
    slope = sum(w * g.days * g.gain for w, g in zip(weights, gains, strict=True))
    slope /= sum(w * g.days**2 for w, g in zip(weights, gains, strict=True))
    error = 1 / math.sqrt(sum(w * g.days**2 for w, g in zip(weights, gains, strict=True)))
    measured = f"{len(gains)} comparisons say that a day of age loses {slope:.2g} ± {error:.2g}"
    if slope <= 0:
        return Interval(days=MOST_DAYS, why=f"{measured}: every {MOST_DAYS} days", loss_a_day=0.0)
    best = math.sqrt(2 * price.training / (price.metric_unit_a_day * slope))
    days = min(max(round(best), LEAST_DAYS), MOST_DAYS)
    bound = "" if days == round(best) else f", kept between {LEAST_DAYS} and {MOST_DAYS}"
    cost = f"a training costs {price.training:g}, a unit of the metric {price.metric_unit_a_day:g} a day"
    return Interval(days=days, why=f"{measured}; {cost}: every {best:.0f} days{bound}", loss_a_day=slope)
