"""The 99th percentile of a champion's latency in the minute before, by which slow answers of both arms are counted."""

from __future__ import annotations

import math

QUANTILE = 0.99
WINDOW_SECONDS = 60.0
MINIMUM_ANSWERS = 100
"""Answers in a window from which its 99th percentile is taken; a window with fewer goes on."""
BUCKETS_PER_OCTAVE = 16
"""A bucket is 4.4 % wide."""
BUCKET_COUNT = 36 * BUCKETS_PER_OCTAVE
"""From a microsecond to more than nine hours."""


class LatencyPercentile:
    """``limit_ms``: the percentile of the last complete window in milliseconds; infinite before there was one.

    It is known before the requests that it is held against are assigned, so it is as fair to one arm as to the other,
    however the latency changes from minute to minute.
    """

    __slots__ = ("_answers", "_buckets", "_ends", "limit_ms")

    def __init__(self) -> None:
        self.limit_ms = math.inf
        self._buckets = [0] * BUCKET_COUNT
        self._answers = 0
        self._ends = math.inf

    def add(self, seconds: float, now: float) -> None:
        """Count one answer of the champion at the time ``now`` in seconds."""
        if self._answers >= MINIMUM_ANSWERS and now >= self._ends:
            self._complete_window()
        if not self._answers:
            self._ends = now + WINDOW_SECONDS
        octaves = math.log2(max(seconds * 1e6, 1.0))
        self._buckets[min(int(octaves * BUCKETS_PER_OCTAVE), BUCKET_COUNT - 1)] += 1
        self._answers += 1

    def _complete_window(self) -> None:
        slower, place = self._answers * (1 - QUANTILE), BUCKET_COUNT - 1
        while self._buckets[place] <= slower:
            slower -= self._buckets[place]
            place -= 1
        self.limit_ms = 2 ** ((place + 1) / BUCKETS_PER_OCTAVE) / 1000
        self._buckets = [0] * BUCKET_COUNT
        self._answers = 0
