"""The fault that the demonstration plants passes every check of the data, is found on its second day, and is mended."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from pipelines.demo.land import land
from pipelines.demo.nycflights import source_text
from pipelines.demo.planted import HUMIDITY_AS_SHARE, drift_verdict, planted_days
from pipelines.ports import LedgerEntry
from pipelines.steps.drift.findings import find_moved_columns
from pipelines.tables.profile import TableProfile, profile_frame
from pipelines.testing.ports import FakePorts

FIRST, LIVE = date(2013, 1, 1), [date(2013, 3, 1) + timedelta(days=number) for number in range(14)]
FAULTY = planted_days(LIVE)
COLUMNS = ["temp", "humid", "pressure", "wind_speed"]


@cache
def weather(day: date) -> pl.DataFrame:
    text = source_text("weather")
    parts = [pl.col(name).cast(pl.Int32) for name in ("year", "month", "day")]
    return text.filter(pl.date(*parts) == day)


def profile(day: date, faulty: list[date]) -> TableProfile:
    rows = weather(day)
    if day in faulty:
        rows = HUMIDITY_AS_SHARE.apply("weather", rows)
    numbers = rows.select(pl.col(COLUMNS).cast(pl.Float64, strict=False))
    return profile_frame(numbers, categorical=[], numeric=COLUMNS)


def broken(last: date, faulty: list[date]) -> list[str]:
    """Columns that are found broken at the end of this day, as monitoring finds them."""
    days = [FIRST + timedelta(days=number) for number in range((last - FIRST).days + 1)]
    profiles = [(day, profile(day, faulty)) for day in days]
    found = find_moved_columns(profiles, COLUMNS, profile(FIRST, []), {})
    return [finding.column for finding in found if finding.lane == "fault"]


def test_the_planted_days_are_two_of_the_live_ones_and_none_where_they_could_not_be_mended() -> None:
    assert [date(2013, 3, 9), date(2013, 3, 10)] == FAULTY
    assert planted_days(LIVE[:10]) == []


def test_the_fault_is_found_on_its_second_day_and_gone_once_the_days_are_delivered_again() -> None:
    assert broken(FAULTY[0], FAULTY) == []
    assert broken(FAULTY[1], FAULTY) == ["humid"]
    assert broken(FAULTY[1], FAULTY[:1]) == []
    assert broken(FAULTY[1], []) == []
    assert broken(LIVE[-1], []) == []


def test_a_delivery_with_the_fault_differs_in_one_column_alone_and_the_next_one_is_right(tmp_path: Path) -> None:
    ports = FakePorts.make(tmp_path)

    def delivered(source: str) -> pl.DataFrame:
        return pl.read_csv(
            io.BytesIO(ports.store.get(f"landing/flights/{source}/2013-03-09/{source}.csv")), infer_schema=False
        )

    land(FAULTY[0], FAULTY[0], ports, sources=["weather", "flights"])
    right, flights = delivered("weather"), delivered("flights")
    land(FAULTY[0], FAULTY[0], ports, sources=["weather", "flights"], force=True, fault=HUMIDITY_AS_SHARE)
    wrong = delivered("weather")
    assert wrong.drop("humid").equals(right.drop("humid"))
    known = right["humid"].cast(pl.Float64, strict=False)
    assert wrong["humid"].cast(pl.Float64, strict=False).to_list() == pytest.approx((known * 0.01).to_list())
    assert delivered("flights").equals(flights)
    land(FAULTY[0], FAULTY[0], ports, sources=["weather"], force=True)
    assert delivered("weather").equals(right)


def line(number: int, day: date, check: str = "drift_check") -> LedgerEntry:
    return LedgerEntry(
        number=number,
        at=datetime(2013, 3, 11, tzinfo=UTC),
        kind="monitoring_verdict",
        model="flight_delay",
        version="1",
        actor="test",
        details={"check": check, "day": day.isoformat()},
        previous="",
        digest="",
    )


def test_the_newest_verdict_of_the_drift_check_after_a_line_is_the_one_that_counts() -> None:
    lines = [line(1, FAULTY[1]), line(2, FAULTY[1]), line(3, FAULTY[0]), line(4, FAULTY[1], "performance_check")]
    assert drift_verdict(lines, FAULTY[1]) == lines[1]
    assert drift_verdict(lines, FAULTY[1], after=2) is None
    assert drift_verdict([], FAULTY[1]) is None
