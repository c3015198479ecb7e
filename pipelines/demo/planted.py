"""The fault that the demonstration plants and announces: for two days the weather service reports another unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from pipelines.ports import LedgerEntry

if TYPE_CHECKING:
    import polars as pl

FIRST_PLANTED, PLANTED_DAYS = 8, 2
"""Of the live days; a fault is found on its second day."""
DRIFT_CHECK = "drift_check"


@dataclass(frozen=True)
class UnitChange:
    """A source reports ``column`` multiplied by ``factor``, within what its contract and expectations allow."""

    source: str
    column: str
    factor: float
    text: str

    def apply(self, source: str, rows: pl.DataFrame) -> pl.DataFrame:
        """The delivered rows, all text, as the source would send them with this fault."""
        import polars as pl

        if source != self.source:
            return rows
        number = pl.col(self.column).cast(pl.Float64, strict=False) * self.factor
        changed = pl.when(number.is_null()).then(pl.col(self.column)).otherwise(number.cast(pl.String))
        return rows.with_columns(changed.alias(self.column))


HUMIDITY_AS_SHARE = UnitChange(
    "weather", "humid", 0.01, "the weather service reports humidity as a share (0 to 1) instead of per cent"
)


def planted_days(live: Sequence[date]) -> list[date]:
    """The days of the fault; none where the live days are too few to show it mended."""
    days = list(live[FIRST_PLANTED : FIRST_PLANTED + PLANTED_DAYS])
    return days if len(live) > FIRST_PLANTED + PLANTED_DAYS else []


def drift_verdict(lines: Sequence[LedgerEntry], day: date, after: int = 0) -> LedgerEntry | None:
    """The newest verdict of the drift check on a day among lines numbered above ``after``."""
    of_day = [
        line
        for line in lines
        if line.kind == "monitoring_verdict"
        and line.number > after
        and (line.details.get("check"), line.details.get("day")) == (DRIFT_CHECK, day.isoformat())
    ]
    return of_day[-1] if of_day else None
