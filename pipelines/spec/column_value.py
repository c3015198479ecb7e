"""Reads a value that a declaration names (a limit, a category) in the type of its column."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

ColumnValue = str | bool | int | float | Decimal | date | datetime
LARGEST_INTEGER = (1 << 63) - 1
DECIMAL_DIGITS = 38


def value_in_type(value: Any, kind: str) -> ColumnValue | None:
    """The value in the type of its column; None if it is none of that type.

    Numbers and dates may be written as text. A timestamp is returned in UTC, and needs a zone; a date is none.
    """
    if kind == "string":
        return value if isinstance(value, str) else None
    if kind == "boolean":
        return value if isinstance(value, bool) else {"true": True, "false": False}.get(str(value).lower())
    if kind in ("date", "timestamp"):
        return _date(value) if kind == "date" else _timestamp(value)
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        exact = Decimal(str(value))
    except InvalidOperation:
        return None
    if not exact.is_finite():
        return None
    whole = int(exact) if abs(exact) <= LARGEST_INTEGER and exact % 1 == 0 else None
    if kind == "integer":
        return whole
    if kind == "decimal":
        return exact
    number = float(exact)
    return number if whole is None and math.isfinite(number) else whole


def fits_scale(value: Decimal, scale: int) -> bool:
    """Whether a decimal of 38 digits, ``scale`` of them after the point, holds the value as it is."""
    _, digits, exponent = value.as_tuple()
    text = "".join(map(str, digits)).rstrip("0")
    decimals = -int(exponent) - (len(digits) - len(text))
    return not text or (decimals <= scale and value.adjusted() < DECIMAL_DIGITS - scale)


def _date(value: Any) -> date | None:
    if isinstance(value, str):
        try:
            return date.fromisoformat(value) if len(value) == len("2013-01-31") else None
        except ValueError:
            return None
    return value if isinstance(value, date) and not isinstance(value, datetime) else None


def _timestamp(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value) if "T" in value else None
        except ValueError:
            return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        return None
    return value.astimezone(UTC)
