"""One promise about a verdict, and what a simulation measured of it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

ERRORS_ALLOWED = 3.0
"""A line is red where it misses its promise by more than so many standard errors."""


@dataclass(frozen=True)
class Line:
    """``low`` and ``high``: the promise, None without an end there; ``error``: the standard error of ``measured``."""

    what: str
    data: str
    measured: float
    error: float
    low: float | None = None
    high: float | None = None
    unit: str = "%"
    """``%``: the numbers are shares; else they are shown as they are, with this unit."""

    @property
    def holds(self) -> bool:
        slack = ERRORS_ALLOWED * self.error
        above = self.low is None or self.measured >= self.low - slack
        return above and (self.high is None or self.measured <= self.high + slack)

    def row(self) -> str:
        """A row of the table in ``docs/statistics.md``."""
        result = f"{self._text(self.measured)} ± {self._text(self.error)}"
        return f"| {self.what} | {self.data} | {self._promise()} | {result if self.holds else f'**{result}**'} |"

    def fields(self) -> dict[str, Any]:
        return asdict(self)

    def _promise(self) -> str:
        if self.low is None and self.high is None:
            return ""
        if self.low is None:
            return f"≤ {self._text(self.high)}"
        if self.high is None:
            return f"≥ {self._text(self.low)}"
        return f"{self._text(self.low)} to {self._text(self.high)}"

    def _text(self, value: float | None) -> str:
        assert value is not None
        return f"{100 * value:.3g} %" if self.unit == "%" else f"{value:.3g} {self.unit}".rstrip()


def share_line(what: str, data: str, hits: int, runs: int, low: float | None = None, high: float | None = None) -> Line:
    """A line on a share of runs, with its binomial error (of one hit more, where there was none or nothing else)."""
    smoothed = (hits + 1) / (runs + 2)
    return Line(what, data, hits / runs, math.sqrt(smoothed * (1 - smoothed) / runs), low, high)
