"""Every aggregate equals what its meaning gives by hand, whatever events there are and in whatever order they come."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, Literal, get_args

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipelines.steps.features.aggregates.answers import MOMENTS, Aggregation, Function
from pipelines.steps.features.aggregates.compute import EVENT, KNOWN, ROW, TIME, aggregate
from tests.steps.features.aggregates.by_hand import Row, answer

SMALLEST, LARGEST = Fraction(5e-324), Fraction(1.7976931348623157e308)
START = datetime(2024, 3, 30, tzinfo=UTC)
WINDOW = timedelta(hours=3)
MOMENT = pl.Datetime("us", "UTC")
TICK = timedelta(microseconds=1)
DELAYS = [None, timedelta(0), -timedelta(hours=1), timedelta(hours=1), WINDOW - TICK, WINDOW, WINDOW + TICK]
NUMBERS = st.one_of(
    st.sampled_from(
        [None, 0.0, -0.0, 1e12, 1e-3, 1e12 + 1e-3, -1e12, 4e-7, 0.1, 1.1, 2.2, 3.3, 1e308, -1.7e308, 5e-324]
    )
    | st.sampled_from([float("nan"), float("inf"), float("-inf")]),
    st.floats(-1e6, 1e6),
)
WHOLE = st.sampled_from([None, 0, 1, -1, 7, 2**53 + 1, -(2**53) - 1, 2**62, 2**63 - 1, -(2**63)]) | st.integers(-9, 9)


@st.composite
def event_rows(draw: st.DrawFn) -> list[Row]:
    count = draw(st.integers(0, 14))
    moments = [START + timedelta(minutes=30 * draw(st.integers(0, 12))) for _ in range(count)]
    delays = [draw(st.sampled_from(DELAYS)) for _ in range(count)]
    return [
        {
            "entity": draw(st.sampled_from([None, "a", "a", "b"])),
            "event": draw(st.sampled_from([moment, moment, moment, None])),
            "known": None if delay is None else moment + delay,
            "row": number,
            "number": draw(NUMBERS),
            "whole": draw(WHOLE),
            "word": draw(st.sampled_from([None, "x", "y", "None"])),
            "flag": draw(st.sampled_from([None, True, False])),
        }
        for number, (moment, delay) in enumerate(zip(moments, delays, strict=True))
    ]


@st.composite
def question_rows(draw: st.DrawFn) -> list[Row]:
    edges = [timedelta(0), TICK, -TICK]
    return [
        {
            "entity": draw(st.sampled_from([None, "a", "b", "c"])),
            "time": START + timedelta(minutes=30 * draw(st.integers(0, 20))) + draw(st.sampled_from(edges)),
            "row": draw(st.none() | st.integers(0, 14)),
        }
        for _ in range(draw(st.integers(0, 8)))
    ]


@st.composite
def aggregations(draw: st.DrawFn) -> list[Aggregation]:
    return [
        Aggregation(
            name=f"a{number}",
            function=(function := draw(st.sampled_from(get_args(Function)))),
            column=_column(draw, function),
            window=draw(st.sampled_from([WINDOW, WINDOW, timedelta(hours=1), TICK, None])),
            where="flag" if function == "share" else draw(st.sampled_from([None, None, "flag"])),
        )
        for number in range(draw(st.integers(1, 6)))
    ]


def _column(draw: st.DrawFn, function: str) -> str | None:
    if function in ("share", "exists", "since_last"):
        return None
    if function in (*MOMENTS, "min", "max"):
        return draw(st.sampled_from(["number", "whole"]))
    return draw(st.sampled_from(["number", "whole", "word", *([None] if function == "count" else [])]))


def frames(questions: list[Row], events: list[Row]) -> tuple[pl.DataFrame, pl.DataFrame]:
    asked = pl.DataFrame(questions, schema={"entity": pl.String, "time": MOMENT, "row": pl.Int64})
    kinds: dict[str, Any] = {"entity": pl.String, "event": MOMENT, "known": MOMENT, "row": pl.Int64}
    kinds |= {"number": pl.Float64, "whole": pl.Int64, "word": pl.String, "flag": pl.Boolean}
    told = pl.DataFrame(events, schema=kinds)
    return asked.rename({"time": TIME, "row": ROW}), told.rename({"event": EVENT, "known": KNOWN, "row": ROW})


def is_same(value: Any, expected: Any) -> bool:
    if value is None or expected is None:
        return value is expected or (isinstance(expected, Fraction) and abs(expected) > LARGEST)
    if isinstance(expected, float | Fraction) and not isinstance(expected, bool):
        exact = Fraction(expected)
        return abs(Fraction(value) - exact) <= abs(exact) / 10**12 + SMALLEST
    return bool(value == expected)


@pytest.mark.parametrize("clock", ["event", "known"])
@settings(max_examples=100, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(questions=question_rows(), events=event_rows(), items=aggregations(), seed=st.integers(0, 99))
def test_every_aggregate_is_what_it_means_whatever_the_order_of_the_rows(
    clock: Literal["event", "known"], questions: list[Row], events: list[Row], items: list[Aggregation], seed: int
) -> None:
    asked, told = frames(questions, events)
    found = aggregate(asked, told, ["entity"], items, clock=clock, ties=[ROW])
    assert found.columns == [item.name for item in items]
    for item in items:
        for question, value in zip(questions, found[item.name], strict=True):
            expected = answer(question, events, item, clock)
            assert is_same(value, expected), f"{item} at {question}: {value!r}, by hand {expected!r}"
    order = random.Random(seed)
    shuffled_events, shuffled_questions = [order.sample(range(len(rows)), len(rows)) for rows in (events, questions)]
    again = aggregate(asked[shuffled_questions], told[shuffled_events], ["entity"], items, clock=clock, ties=[ROW])
    assert_frame_equal(again, found[shuffled_questions], check_exact=True)
