"""What an aggregate means, in plain Python over fractions: slow, and without a thought of how to be quick."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

from pipelines.steps.features.aggregates.answers import Aggregation

Row = dict[str, Any]


def answer(question: Row, events: list[Row], item: Aggregation, clock: str) -> Any:
    """The answer to one question; events in the order that breaks ties."""
    seen = sorted(
        (event for event in events if _sees(question, event, item.window, clock)), key=lambda event: event[clock]
    )
    if item.function == "share":
        return Fraction(sum(event[item.where] is True for event in seen), len(seen)) if seen else None
    if item.where:
        seen = [event for event in seen if event[item.where] is True]
    values = [_value(event, item.column) for event in seen]
    there = [value for value in values if value is not None]
    match item.function:
        case "count":
            return len(there) if item.column else len(seen)
        case "exists":
            return bool(seen)
        case "count_distinct":
            return len(set(there))
        case "first":
            return values[0] if values else None
        case "last":
            return values[-1] if values else None
        case "since_last":
            return question["time"] - seen[-1][clock] if seen else None
        case "min":
            return min(there, default=None)
        case "max":
            return max(there, default=None)
        case "sum":
            return sum(map(Fraction, there), Fraction(0))
        case "mean":
            return sum(map(Fraction, there), Fraction(0)) / len(there) if there else None
        case "std":
            return _deviation(list(map(Fraction, there)))
    raise AssertionError(item.function)


def _sees(question: Row, event: Row, window: timedelta | None, clock: str) -> bool:
    t: datetime = question["time"]
    at, known = event[clock], event["known"]
    if question["entity"] is None or event["entity"] != question["entity"] or at is None or known is None:
        return False
    if question["row"] is not None and question["row"] == event["row"]:
        return False
    return known <= t and at <= t and (window is None or at > t - window)  # type: ignore[no-any-return]


def _value(event: Row, column: str | None) -> Any:
    value = event[column] if column else None
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _deviation(values: list[Fraction]) -> float | None:
    if len(values) < 2:
        return None
    mean = sum(values, Fraction(0)) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    with localcontext() as context:
        context.prec = 60
        return float((Decimal(variance.numerator) / Decimal(variance.denominator)).sqrt())
