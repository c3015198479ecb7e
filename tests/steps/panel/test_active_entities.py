"""An entity is active at a moment if it has an event within the span that was known by then, whatever came when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.demo.purchases import purchases_file
from pipelines.spec.partitions import PartitionCalendar
from pipelines.steps.features.aggregates.answers import Aggregation
from pipelines.steps.features.aggregates.compute import EVENT, KNOWN, TIME
from pipelines.steps.panel.active_entities import active_entities
from pipelines.steps.panel.future_window import LABEL_TIME, HeldPartitions, future_window
from pipelines.tables.column_types import UTC_TIMESTAMP

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR, TICK, SPAN = timedelta(hours=1), timedelta(microseconds=1), timedelta(hours=5)
SCHEMA = {"shop": pl.String, "customer": pl.Int64, EVENT: UTC_TIMESTAMP, KNOWN: UTC_TIMESTAMP}
Row = tuple[str | None, int | None, datetime | None, datetime | None]


@st.composite
def event_row(draw: st.DrawFn) -> Row:
    event = draw(
        st.none() | st.builds(lambda n, tick: START + n * HOUR + tick * TICK, st.integers(0, 20), st.integers(-1, 1))
    )
    delays = [-HOUR, timedelta(0), HOUR, SPAN - TICK, SPAN, SPAN + TICK]
    known = draw(st.none() | st.sampled_from(delays).map(lambda delay: (event or START) + delay))
    return draw(st.sampled_from(["a", "b", None])), draw(st.sampled_from([1, 2, None])), event, known


def by_hand(rows: list[Row], moments: list[datetime]) -> list[tuple[Any, ...]]:
    active = {
        (t, shop, customer)
        for t in moments
        for shop, customer, event, known in rows
        if None not in (shop, customer, event, known) and t - SPAN < event <= t and known <= t  # type: ignore[operator]
    }
    return sorted(active)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(event_row(), max_size=12), hours=st.sets(st.integers(-2, 30), max_size=12))
def test_the_rows_are_those_by_hand(rows: list[Row], hours: set[int]) -> None:
    moments = [START + hour * HOUR for hour in sorted(hours)]
    events = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    panel = active_entities(events, ["shop", "customer"], moments, SPAN)
    assert panel.schema == {TIME: UTC_TIMESTAMP, "shop": pl.String, "customer": pl.Int64}
    assert panel.rows() == by_hand(rows, moments)


def purchases() -> pl.DataFrame:
    lines = [line.split() for line in purchases_file().decode().splitlines()]
    days = pl.Series([line[2] for line in lines]).str.to_datetime("%Y%m%d", time_unit="us", time_zone="UTC")
    return pl.DataFrame({"customer": [line[1] for line in lines], "day": days}).with_columns(
        (pl.col("day") + pl.duration(days=1) - pl.duration(microseconds=1)).alias(EVENT),
        (pl.col("day") + pl.duration(days=1, hours=6)).alias(KNOWN),
    )


@pytest.mark.parametrize(
    "at", [timedelta(hours=6), timedelta(hours=18)], ids=["when files are due", "twelve hours later"]
)
def test_a_year_and_a_half_of_purchases_has_the_customer_mondays_and_labels_counted_by_hand(at: timedelta) -> None:
    first, last = datetime(1997, 1, 1, tzinfo=UTC).date(), datetime(1998, 6, 30, tzinfo=UTC).date()
    weeks = PartitionCalendar("week", first, last).partitions(last)
    events = purchases()
    rows = active_entities(events, ["customer"], [week.begin + at for week in weeks], timedelta(days=365))
    days = PartitionCalendar("day", first, last)
    held = HeldPartitions(days, timedelta(hours=6), {day.key for day in days.partitions(last)})
    counted = [Aggregation("purchases", "count")]
    labels = future_window(rows, events, ["customer"], counted, timedelta(days=30), held)
    assert (rows.height, labels[LABEL_TIME].null_count()) == (140_821, 4_235)
    assert labels["purchases"].null_count() == 4_235
    assert (labels["purchases"] >= 1).mean() == pytest.approx(0.094336, abs=1e-6)
