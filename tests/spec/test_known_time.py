"""When a value is known is declared per column, and follows from the calendar where it is not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.known_time import KnownTime

TYPES = {"delay": "integer", "air_time": "number", "name": "string"}
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("declared", "known", "written"),
    [
        ("partition_start", KnownTime("partition_start"), "partition_start"),
        ({"before": "1d"}, KnownTime("event", -24 * HOUR), {"before": "1d"}),
        ({"after": "0m"}, KnownTime("event"), {"after": "0m"}),
        ({"after": "delay"}, KnownTime("event", minutes=("delay",)), {"after": "delay"}),
        (
            {"after": "delay + air_time + 60"},
            KnownTime("event", HOUR, ("delay", "air_time")),
            {"after": "delay + air_time + 1h"},
        ),
        ({"after": "delay + 2h + 30m"}, KnownTime("event", 2.5 * HOUR, ("delay",)), {"after": "delay + 2h30m"}),
        ({"after": "2h + 30m"}, KnownTime("event", 2.5 * HOUR), {"after": "2h30m"}),
    ],
)
def test_a_known_time_is_read_and_written_alike(declared: Any, known: KnownTime, written: Any) -> None:
    assert KnownTime.parse(declared) == known
    assert known.written() == written
    assert KnownTime.parse(written) == known
    assert known.faults(TYPES, has_event_time=True) == []


@pytest.mark.parametrize(
    ("declared", "fault"),
    [
        ("at once", "is no known time; write {before: 1d}, {after: 2h}"),
        ({}, "is no known time"),
        ({"before": "1d", "after": "2h"}, "is no known time"),
        ({"later": "2h"}, "is no known time"),
        ({"after": "delay +"}, "is no known time"),
        ({"after": 60}, "a duration needs its unit; write 60m, 60h or 60d"),
        ({"after": "60"}, "a duration needs its unit; write 60m, 60h or 60d"),
        ({"after": "22:30"}, "write 22h30m"),
        ({"before": "delay"}, "is no duration"),
    ],
)
def test_what_is_no_known_time_is_refused_with_what_to_write(declared: Any, fault: str) -> None:
    with pytest.raises(ValueError, match=r".+") as error:
        KnownTime.parse(declared)
    assert fault in str(error.value)


@pytest.mark.parametrize(
    ("declared", "has_event_time", "faults"),
    [
        ({"after": "delay"}, False, ["before and after are of an event: declare event_time"]),
        ("partition_start", False, []),
        ({"after": "delays"}, True, ["'delays' is no column of the source"]),
        ({"after": "name"}, True, ["'name' is string; what is added to a time must be a number of minutes"]),
    ],
)
def test_a_known_time_that_cannot_be_computed_is_refused(
    declared: Any, has_event_time: bool, faults: list[str]
) -> None:
    assert KnownTime.parse(declared).faults(TYPES, has_event_time=has_event_time) == faults


def test_the_digest_changes_with_the_meaning_and_not_with_the_spelling() -> None:
    same = [{"after": "delay + air_time + 60"}, {"after": "air_time + 1h + delay"}]
    others = [{"after": "delay + air_time"}, {"after": "1h"}, {"before": "1h"}, "partition_start"]
    assert len({KnownTime.parse(declared).digest for declared in same}) == 1
    assert len({KnownTime.parse(declared).digest for declared in [*same, *others]}) == 5


def trips(**source: Any) -> DatasetSpec:
    columns = {"at": "timestamp", "trip": "integer", "delay": "integer or null"}
    files = "{source}/{partition}/trips.csv"
    return DatasetSpec.model_validate(
        {
            "schema": 2,
            "dataset": "trips",
            "description": "Trips",
            "owner": "data",
            "partition": {"every": "day", "start": "2013-01-01", "due": "3h"},
            "sources": {"trips": {"files": files, "key": ["at", "trip"], "columns": columns, **source}},
        }
    )


def test_a_column_is_known_as_it_declares_else_as_its_source_else_when_the_partition_is_due() -> None:
    due = KnownTime("partition_end", 3 * HOUR)
    assert trips().known_time("trips", "delay") == due
    spec = trips(known={"before": "1d"}, known_columns={"delay": {"after": "delay"}})
    assert spec.known_time("trips", "trip") == KnownTime("event", -24 * HOUR)
    assert spec.known_time("trips", "delay") == KnownTime("event", minutes=("delay",))
