"""Estimates are made before labels, kept, and held against the truth, whose errors make the band."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from pipelines import store_paths
from pipelines.messages.estimated_performance import Estimate, EstimatedPerformanceResult, EstimateRequest
from pipelines.messages.monitoring import DayValue
from pipelines.rules.estimated_performance import SMALLEST_ERRORS, judge_estimate
from pipelines.steps import estimate_performance
from pipelines.steps.estimate_performance import band_half_width
from pipelines.tables.profile import TrainingProfile
from pipelines.verdict import Outcome
from tests.steps.monitored import DAY, MODEL, MemoryStore, catalog, flights, log, ports

FIRST, WEEKS = DAY - timedelta(days=7 * 14 - 1), 14
ROWS = 60


def stream(store: MemoryStore, first: date, last: date, *, spread: float = 1.2, labelled_until: date) -> None:
    """Flights of these days with answers that know the chance of each, and their delays where they are known."""
    day = first
    while day <= last:
        draw = np.random.default_rng(day.toordinal())
        logit = draw.normal(-0.5, spread, ROWS)
        chance = 1 / (1 + np.exp(-logit))
        late = draw.random(ROWS) < chance
        about = flights(day, ROWS)
        log(store, about, chance.tolist(), part=str(day))
        if day <= labelled_until:
            delays = pl.Series("arr_delay", np.where(late, 30.0, -5.0))
            store.replace_partition("validated/flights.flights", day, about.with_columns(delays))
        day += timedelta(days=1)


def certificate(store: MemoryStore, value: float = 0.75) -> None:
    days = [DayValue(first=FIRST, day=FIRST, rows=900, metrics={"roc_auc": value})] * 30
    profile = TrainingProfile(version=3, rows=1000, test_days=days)
    store.put(store_paths.training_profile(MODEL, "3"), profile.model_dump_json().encode())


def estimate(store: MemoryStore, day: date) -> EstimatedPerformanceResult:
    return estimate_performance.run(EstimateRequest(model=MODEL, day=day, version="3"), ports(catalog(), store=store))


@pytest.fixture(scope="module")
def weekly() -> tuple[MemoryStore, list[EstimatedPerformanceResult]]:
    """A store in which one day of each of fourteen weeks was estimated, with labels up to three days before."""
    store = MemoryStore()
    stream(store, FIRST, DAY, labelled_until=DAY)
    certificate(store)
    days = [DAY - timedelta(days=7 * n) for n in reversed(range(WEEKS - 3))]
    return store, [estimate(store, day) for day in days]


def test_an_estimate_is_near_the_truth_that_comes_later(
    weekly: tuple[MemoryStore, list[EstimatedPerformanceResult]],
) -> None:
    store, results = weekly
    stored = Estimate.model_validate_json(store.get(store_paths.estimate(MODEL, DAY - timedelta(days=7))))
    assert stored.truth is not None
    assert stored.value == pytest.approx(stored.truth, abs=0.07)
    assert results[-1].estimate == pytest.approx(stored.value, abs=0.05)


def test_the_band_grows_out_of_past_windows_whose_truth_is_known(
    weekly: tuple[MemoryStore, list[EstimatedPerformanceResult]],
) -> None:
    _, results = weekly
    assert [result.past_errors for result in results] == list(range(len(results)))
    assert [result.half_width is not None for result in results] == [n >= SMALLEST_ERRORS for n in range(len(results))]
    verdict = judge_estimate(results[-1], catalog().model(MODEL))
    assert (verdict.outcome, verdict.facts["state"]) == (Outcome.PASS, "fine")
    assert verdict.findings[0].startswith("version 3: estimated roc_auc 0.7")


def test_the_first_weeks_say_what_is_missing(weekly: tuple[MemoryStore, list[EstimatedPerformanceResult]]) -> None:
    verdict = judge_estimate(weekly[1][0], catalog().model(MODEL))
    assert verdict.outcome is Outcome.UNKNOWN
    assert any("the truth of 0 past estimates is known" in reason for reason in verdict.reasons)


def test_rows_that_become_harder_are_foreseen_before_their_labels_and_to_watch(
    weekly: tuple[MemoryStore, list[EstimatedPerformanceResult]],
) -> None:
    former, _ = weekly
    store = MemoryStore()
    store.files, store.tables = dict(former.files), {name: dict(parts) for name, parts in former.tables.items()}
    first = DAY + timedelta(days=1)
    stream(store, first, DAY + timedelta(days=7), spread=0.15, labelled_until=DAY)
    verdict = judge_estimate(estimate(store, DAY + timedelta(days=7)), catalog().model(MODEL))
    assert verdict.facts["state"] == "watch"
    assert verdict.facts["estimate"] < 0.62  # type: ignore[operator]


def test_a_truth_is_not_taken_from_fewer_than_half_of_the_labels() -> None:
    store = MemoryStore()
    stream(store, FIRST, DAY, labelled_until=DAY - timedelta(days=14))
    certificate(store)
    estimate(store, DAY - timedelta(days=7))
    assert estimate(store, DAY).past_errors == 0


@pytest.mark.parametrize(
    ("errors", "half_width"),
    [([0.01] * 7, None), ([0.01 * n for n in range(1, 9)], 0.08), ([0.01 * n for n in range(1, 20)], 0.18)],
)
def test_the_band_is_the_split_conformal_quantile_of_the_errors(errors: list[float], half_width: float | None) -> None:
    assert band_half_width(errors) == (None if half_width is None else pytest.approx(half_width))
