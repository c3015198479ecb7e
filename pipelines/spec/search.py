"""Which parameters a training searches, and in which ranges."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from pipelines.spec.declared import DeclarationBlock


class SearchRange(DeclarationBlock):
    """One searched parameter: a range (``low``, ``high``, optionally ``log``) or ``choices``."""

    low: float | None = None
    high: float | None = None
    integer: bool = False
    log: bool = False
    choices: list[Any] | None = None

    @model_validator(mode="after")
    def check_range_or_choices(self) -> Self:
        ranged = self.low is not None and self.high is not None
        if ranged == (self.choices is not None):
            raise ValueError("give either low and high, or choices")
        if self.low is not None and self.high is not None:
            if self.low > self.high:
                raise ValueError(f"low {self.low:g} is above high {self.high:g}; swap them")
            if self.log and self.low <= 0:
                raise ValueError(f"low {self.low:g} has no logarithm; give a low above 0, or remove log")
        return self


class Search(DeclarationBlock):
    trials: int = Field(ge=1)
    space: dict[str, SearchRange] = Field(min_length=1)
    timeout_minutes: float | None = Field(default=None, gt=0)
