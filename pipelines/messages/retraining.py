"""What is known of a model's trainings when it is asked whether another is due."""

from __future__ import annotations

from datetime import date, datetime

from pydantic import BaseModel, ConfigDict


class TrainedRows(BaseModel):
    """The rows of one training. ``day``: the last one whose end its labels may come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    day: date
    rows: int


class AgeGain(BaseModel):
    """What a candidate gained over a version of the same recipe whose rows end so many days earlier."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    days: int
    gain: float
    """In the compared metric, positive is better."""
    standard_error: float


class TrainingHistory(BaseModel):
    """``trained`` and ``gains`` in the order of the ledger; ``rows_by_day``: rows of each built day of the view."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    now: datetime
    trained: list[TrainedRows] = []
    rows_by_day: dict[date, int] = {}
    gains: list[AgeGain] = []

    @property
    def newest_day(self) -> date | None:
        """The newest day whose features are built; None: none is on record."""
        return max(self.rows_by_day, default=None)
