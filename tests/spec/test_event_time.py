"""The time of an event is computed from declared columns, each of the right type and never null."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.spec.event_time import EventTime

TYPES = {
    "hour": "timestamp",
    "day": "date",
    "minute": "integer",
    "share": "number",
    "name": "string",
    "late": "integer",
}
NULLABLE = {"late": True}


@pytest.mark.parametrize(
    ("text", "event_time"),
    [
        ("hour", EventTime("hour")),
        ("hour + minute", EventTime("hour", ("minute",))),
        ("hour+minute + share", EventTime("hour", ("minute", "share"))),
        ("order date", EventTime("order date")),
    ],
)
def test_an_event_time_is_a_column_and_columns_of_minutes(text: str, event_time: EventTime) -> None:
    assert EventTime.parse(text) == event_time
    assert EventTime.parse(str(event_time)) == event_time
    assert event_time.faults({**TYPES, "order date": "date"}, NULLABLE) == []


@pytest.mark.parametrize("value", ["", " + minute", "hour +", 7, None, [], {"column": "hour"}])
def test_what_is_no_event_time_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="is no event time; write a column, or one and columns of minutes"):
        EventTime.parse(value)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("time", "'time' is no column of the source"),
        ("minute", "'minute' is integer; the first column must be a timestamp or a date"),
        ("hour + name", "'name' is string; what is added to a time must be a number of minutes"),
        ("hour + hour", "'hour' is timestamp; what is added to a time must be a number of minutes"),
        ("day + minute", "'day' is a date, to which no minutes are added; name the date alone"),
        ("hour + late", "'late' may be null, and a row without a time is of no partition; remove `or null`"),
    ],
)
def test_an_event_time_that_cannot_be_computed_for_every_row_is_refused(text: str, fault: str) -> None:
    assert EventTime.parse(text).faults(TYPES, NULLABLE) == [fault]


def test_the_digest_changes_with_the_meaning_and_not_with_the_spelling() -> None:
    digests = [EventTime.parse(text).digest for text in ("hour + minute", "hour+minute", "hour", "hour + share")]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
