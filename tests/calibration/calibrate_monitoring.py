"""What monitoring promises: calm columns break in no year, calm versions are alarmed in one of ten, intervals cover."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipelines.statistics.day_comparison import difference_of_days, sum_of_losses, yearly_error
from pipelines.steps.drift.shifts import find_sudden_shifts
from tests.calibration.line import Line, share_line
from tests.statistics.test_day_comparison import YEAR, days
from tests.steps.drift.test_shifts import COLUMNS, KINDS, series, stream

MODEL_YEARS = 40
YEARS = 300
WINDOW = 28
MEMORIES = {0.0: "independent days", 0.14: "days like the flights' AUC", 0.3: "days that remember 0.3"}
"""Lag-1 autocorrelation of the day values, and how such days are called."""


def lines(share: float) -> Iterator[Line]:
    yield from _false_faults(max(2, round(MODEL_YEARS * share)))
    yield from _false_alarms(max(12, round(YEARS * share)))
    yield from _coverage(max(100, round(5 * YEARS * share)))


def _false_faults(model_years: int) -> Iterator[Line]:
    for kind in KINDS:
        shifted = find_sudden_shifts(series(stream(kind, model_years * COLUMNS)), followed_days=YEAR).shifted
        hits = int(shifted.any(axis=0).reshape(model_years, COLUMNS).any(axis=1).sum())
        yield share_line("years with a false fault", f"20 {kind} columns", hits, model_years, None, 0.0)


def _false_alarms(years: int) -> Iterator[Line]:
    for memory, data in MEMORIES.items():
        for certificate_days in (14, 40):
            rng = np.random.default_rng(certificate_days)
            hits = sum(_is_alarmed(rng, certificate_days, memory) for _ in range(years))
            told = f"{data}, {certificate_days} certificate days"
            yield share_line("years with a false alarm of performance", told, hits, years, None, 0.10)


def _is_alarmed(rng: np.random.Generator, certificate_days: int, memory: float) -> bool:
    """Whether a year of daily looks at a version that lost nothing has an alarm."""
    certificate, live = days(rng, certificate_days, memory).tolist(), days(rng, YEAR, memory)
    losses = sum_of_losses(certificate, live.tolist())
    assert losses is not None
    if (losses.sums > losses.limit).any():
        return True
    confidence = 1 - 2 * yearly_error(WINDOW)
    for last in range(WINDOW, YEAR, 5):
        difference = difference_of_days(certificate, live[last - WINDOW : last].tolist(), confidence)
        if difference is not None and difference.mean + difference.half_width < 0:
            return True
    return False


def _coverage(repeats: int) -> Iterator[Line]:
    for memory, data in MEMORIES.items():
        rng, hits = np.random.default_rng(5), 0
        for _ in range(repeats):
            found = difference_of_days(days(rng, 40, memory).tolist(), days(rng, WINDOW, memory).tolist())
            hits += found is not None and abs(found.mean) <= found.half_width
        yield share_line("95 % interval of a drop covers", f"{data}, 40 + 28", hits, repeats, 0.88, 0.99)
