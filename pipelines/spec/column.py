"""A column declares its type, its limits, and whether it holds personal data."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from pipelines.spec.declared import DeclarationBlock

ColumnType = Literal["integer", "number", "string", "timestamp"]
NUMERIC = ("integer", "number")


class ColumnSpec(DeclarationBlock):
    """The contract of one column. ``minimum`` and ``maximum`` are inclusive."""

    type: ColumnType
    nullable: bool = False
    allowed: list[str | int | float] | None = Field(default=None, min_length=1)
    """Its categories, of its type. A word that is one of ``null_values``, too, is a value of this column."""
    minimum: int | float | None = None
    maximum: int | float | None = None
    pii: bool = False
    description: str = ""

    @model_validator(mode="after")
    def check_limits_suit_the_type(self) -> Self:
        limits = [name for name in ("minimum", "maximum") if getattr(self, name) is not None]
        if limits and self.type not in NUMERIC:
            raise ValueError(f"{' and '.join(limits)} limit integers and numbers, not {self.type}; remove them")
        if not all(math.isfinite(getattr(self, name)) for name in limits):
            raise ValueError(f"{' and '.join(limits)} must be finite numbers")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} is above maximum {self.maximum}; no value satisfies both")
        if self.allowed is not None and self.type == "timestamp":
            raise ValueError("allowed lists categories, and a timestamp has none; remove it")
        return self

    @model_validator(mode="after")
    def read_categories_in_the_type(self) -> Self:
        """``allowed: ["1", "2"]`` of an integer column are the integers 1 and 2."""
        if self.allowed is None or self.type == "timestamp":
            return self
        wrong = [value for value in self.allowed if _in_type(value, self.type) is None]
        if wrong:
            hint = "write each in quotes" if self.type == "string" else f"write each as {self.type}"
            raise ValueError(f"allowed has values that are no {self.type}: {', '.join(map(repr, wrong))}; {hint}")
        object.__setattr__(self, "allowed", [_in_type(value, self.type) for value in self.allowed])
        return self


def _in_type(value: str | int | float, kind: str) -> str | int | float | None:
    """The category as a value of its column; None if it is none."""
    if kind == "string":
        return value if isinstance(value, str) else None
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
        whole = int(value) if kind == "integer" else 0
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(number):
        return None
    if kind == "number":
        return number
    return whole if isinstance(value, str) or whole == value else None
