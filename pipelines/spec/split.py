"""Declares which rows of a training table are train, validation and test, and what may not lie on both sides."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, Self

from pydantic import Field, model_validator

from pipelines.spec.declared import DeclarationBlock
from pipelines.spec.durations import Duration


class SplitSpec(DeclarationBlock):
    """Shares of train, validation and test. ``time_ordered``: no row is later than a row of the next part."""

    strategy: Literal["time_ordered", "stratified", "random"] = "time_ordered"
    gap: Duration | None = Field(default=None, exclude_if=lambda declared: declared is None)
    """Between the parts of ``time_ordered``: rows whose labels tell of the time of a later part are in none. None: as
    wide as the window of the view's label. Left out of digests where it is not declared."""
    group: str | None = Field(default=None, exclude_if=lambda declared: declared is None)
    """A column of the entity, for ``random``: all rows of one value are in one part. None: each row is drawn."""
    train: float = Field(default=0.70, gt=0, lt=1)
    validation: float = Field(default=0.15, gt=0, lt=1)
    test: float = Field(default=0.15, gt=0, lt=1)

    @model_validator(mode="after")
    def check_shares_sum_to_one(self) -> Self:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"split shares sum to {total:.4f}; make train + validation + test = 1")
        return self

    @model_validator(mode="after")
    def check_fields_suit_the_strategy(self) -> Self:
        if self.gap is not None and self.strategy != "time_ordered":
            raise ValueError(f"gap is between parts in order of time, and strategy is {self.strategy}; remove gap")
        if self.group is not None and self.strategy != "random":
            raise ValueError(
                f"group needs strategy random, and it is {self.strategy}; remove group, or change strategy"
            )
        return self

    def with_gap(self, horizon: timedelta | None) -> SplitSpec:
        """The split of rows whose labels tell of so long a time after them, where no wider gap is declared."""
        if not horizon or self.strategy != "time_ordered":
            return self
        return self.model_copy(update={"gap": max(horizon, self.gap or horizon)})
