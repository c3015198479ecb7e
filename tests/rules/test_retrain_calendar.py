"""The interval between trainings is the one at which trainings and ageing together cost least."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.messages.retraining import AgeGain
from pipelines.rules.retrain_calendar import retrain_interval
from pipelines.spec.retraining import RetrainPrice

AGES = {28: 0.008, 56: 0.012, 112: 0.021}
"""What a model of so many days lost on a year of flights."""


def measured(slope: float | None = None) -> list[AgeGain]:
    points = AGES if slope is None else {days: slope * days for days in AGES}
    return [AgeGain(days=days, gain=gain, standard_error=0.01) for days, gain in points.items() for _ in range(2)]


def price(training: float, unit: float) -> RetrainPrice:
    return RetrainPrice(training=training, metric_unit_a_day=unit)


@pytest.mark.parametrize(("cost", "unit", "slope"), [(10.0, 100.0, 2e-4), (50.0, 400.0, 1e-3), (2.0, 30.0, 4e-4)])
def test_no_other_whole_number_of_days_costs_less(cost: float, unit: float, slope: float) -> None:
    days = np.arange(7, 113)
    total = cost / days + unit * slope * days / 2
    assert retrain_interval(measured(slope), price(cost, unit)).days == days[total.argmin()]


def test_dearer_trainings_are_rarer_and_a_dearer_metric_makes_them_more_frequent() -> None:
    rare, usual, frequent = (
        retrain_interval(measured(), price(*costs)).days for costs in ((40, 100), (10, 100), (10, 400))
    )
    assert rare == pytest.approx(2 * usual, abs=1)
    assert frequent == pytest.approx(usual / 2, abs=1)


@pytest.mark.parametrize(
    ("gains", "costs", "days", "why"),
    [
        (measured(), None, 28, "no price is declared"),
        (measured()[:3], price(10, 100), 28, r"3 comparisons of a newer with an older model \(needs 4\)"),
        (measured(-0.001), price(10, 100), 112, "every 112 days"),
        (measured(), price(0.001, 100), 7, "kept between 7 and 112"),
        (measured(), price(1e6, 100), 112, "kept between 7 and 112"),
    ],
    ids=["no price", "few comparisons", "no loss by age", "cheap", "dear"],
)
def test_what_is_not_known_leaves_four_weeks_and_no_interval_is_out_of_bounds(
    gains: list[AgeGain], costs: RetrainPrice | None, days: int, why: str
) -> None:
    interval = retrain_interval(gains, costs)
    assert interval.days == days
    assert why.replace("\\", "") in interval.why
