"""A label over a future window counts each event once, and is null until all that the window covers is held."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.spec.partitions import PartitionCalendar
from pipelines.steps.features.aggregates.answers import Aggregation
from pipelines.steps.features.aggregates.compute import EVENT, KNOWN, TIME
from pipelines.steps.panel.future_window import LABEL_TIME, HeldPartitions, future_window
from pipelines.tables.column_types import UTC_TIMESTAMP

START = date(2024, 3, 28)  # Berlin's clocks are changed on the 31st: a day of 23 hours
END = date(2024, 4, 5)
DAYS = PartitionCalendar("day", START, END, "Europe/Berlin")
KEYS = [day.key for day in DAYS.partitions(END)]
DUE, HOUR, DAY, TICK = timedelta(hours=6), timedelta(hours=1), timedelta(days=1), timedelta(microseconds=1)
ZERO = datetime(2024, 3, 27, 23, tzinfo=UTC)
SCHEMA = {"id": pl.String, EVENT: UTC_TIMESTAMP, KNOWN: UTC_TIMESTAMP, "amount": pl.Float64}
ITEMS = [Aggregation("count", "count"), Aggregation("total", "sum", "amount"), Aggregation("exists", "exists")]
Row = tuple[str | None, datetime | None, datetime | None, float | None]


def labels(moments: list[datetime], events: list[Row], keys: list[str], within: timedelta) -> pl.DataFrame:
    rows = pl.DataFrame({"id": ["a"] * len(moments), TIME: moments}, schema={"id": pl.String, TIME: UTC_TIMESTAMP})
    frame = pl.DataFrame(events, schema=SCHEMA, orient="row")
    return future_window(rows, frame, ["id"], ITEMS, within, HeldPartitions(DAYS, DUE, keys))


def by_hand(t: datetime, events: list[Row], keys: list[str], within: timedelta) -> tuple[Any, ...]:
    """Looks at every partition of the calendar, and at every instant that the window could hold by the hour."""
    covering = [day for day in DAYS.partitions(END) if day.end > t + TICK and day.begin <= t + within]
    reaches_beyond = t + TICK < ZERO or not covering or t + within >= covering[-1].end
    if reaches_beyond or any(day.key not in keys for day in covering):
        return None, None, None, None
    inside = [row for row in events if row[0] == "a" and row[1] and row[2] and t < row[1] <= t + within]
    known = [t + within, covering[-1].end + DUE, *(row[2] for row in inside if row[2])]
    return len(inside), sum(row[3] for row in inside if row[3] is not None), bool(inside), max(known)


@st.composite
def event_row(draw: st.DrawFn) -> Row:
    event = draw(st.none() | st.integers(-3, 9 * 24).map(lambda hour: ZERO + hour * HOUR))
    known = draw(st.none() | st.sampled_from([-HOUR, HOUR, DAY, 20 * DAY]).map(lambda delay: (event or ZERO) + delay))
    return draw(st.sampled_from(["a", "a", "b", None])), event, known, draw(st.sampled_from([None, 1.0, 0.5]))


@settings(max_examples=80, deadline=None)
@given(
    hours=st.lists(st.integers(-30, 9 * 24), min_size=1, max_size=6),
    events=st.lists(event_row(), max_size=10),
    absent=st.sets(st.sampled_from(KEYS), max_size=1),
    within=st.sampled_from([HOUR, DAY, 2 * DAY + HOUR, 3 * DAY]),
)
def test_the_labels_are_those_by_hand(hours: list[int], events: list[Row], absent: set[str], within: timedelta) -> None:
    moments = [ZERO + hour * HOUR for hour in hours]
    keys = [key for key in KEYS if key not in absent]
    result = labels(moments, events, keys, within)
    assert result.columns == ["count", "total", "exists", LABEL_TIME]
    assert result.rows() == [by_hand(t, events, keys, within) for t in moments]


def test_a_window_begins_after_its_moment_and_holds_its_end() -> None:
    t = ZERO + DAY
    events: list[Row] = [
        ("a", t, t, 1.0),
        ("a", t + TICK, t, 2.0),
        ("a", t + DAY, t, 4.0),
        ("a", t + DAY + TICK, t, 8.0),
    ]
    assert labels([t], events, KEYS, DAY).rows() == [(2, 6.0, True, ZERO + 3 * DAY + DUE)]


@pytest.mark.parametrize("absent", KEYS[1:4])
def test_the_label_is_null_while_any_day_of_its_window_is_not_held(absent: str) -> None:
    t, keys = ZERO + DAY + HOUR, [key for key in KEYS if key != absent]
    assert labels([t], [], keys, 2 * DAY).rows() == [(None, None, None, None)]
    assert labels([t], [], KEYS, 2 * DAY)["count"].to_list() == [0]


def test_a_window_that_reaches_beyond_the_calendar_never_has_a_label() -> None:
    last = list(DAYS.partitions(END))[-1].end
    inside, beyond = labels([last - DAY - TICK, last - DAY], [], KEYS, DAY).rows()
    assert inside[0] == 0
    assert beyond == (None, None, None, None)


def test_a_label_is_known_when_the_last_of_its_events_is() -> None:
    t, known = ZERO + DAY, ZERO + 40 * DAY
    [(count, *_, label_time)] = labels([t], [("a", t + HOUR, known, 1.0)], KEYS, DAY).rows()
    assert (count, label_time) == (1, known)


def test_an_event_that_is_never_known_does_not_count() -> None:
    t = ZERO + DAY
    assert labels([t], [("a", t + HOUR, None, 1.0)], KEYS, DAY)["count"].to_list() == [0]
