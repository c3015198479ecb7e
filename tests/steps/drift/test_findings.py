"""Columns that break are found by what anyone can see of them, on the second day, and calm ones are left alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipelines.messages.monitoring import ColumnFinding
from pipelines.steps.drift.findings import find_moved_columns
from pipelines.tables.profile import TableProfile, profile_frame

FIRST = date(2013, 1, 1)
DAYS, ROWS = 70, 400
CATEGORIES = ["EWR", "JFK", "LGA", "SWF"]
Change = Callable[[pl.DataFrame], pl.DataFrame]


def day_rows(number: int) -> pl.DataFrame:
    """A mean that wanders, values in whole tenths, 5 % nulls, and a rare category."""
    rng = np.random.default_rng(number)
    mean = 50 + 5 * np.sin(number / 9)
    value = pl.Series("value", rng.normal(mean, 10, ROWS).round(1))
    empty = pl.Series(rng.random(ROWS) < 0.05)
    frame = pl.DataFrame({"value": value, "origin": rng.choice(CATEGORIES, ROWS, p=[0.5, 0.28, 0.2, 0.02])})
    return frame.with_columns(value=pl.when(empty).then(None).otherwise(pl.col("value")))


def profile(rows: pl.DataFrame) -> TableProfile:
    return profile_frame(rows, categorical=["origin"], numeric=["value"])


CALM = [profile(day_rows(number)) for number in range(DAYS)]


def found(change: Change | None = None, *, first: int = DAYS - 2, last: int = DAYS) -> list[ColumnFinding]:
    """What is found at the end of day ``last`` if the rows change from day ``first`` on."""
    days: list[tuple[date, TableProfile | None]] = []
    for number in range(last):
        changed = change is not None and number >= first
        day = profile(change(day_rows(number))) if changed and change else CALM[number]
        days.append((FIRST + timedelta(days=number), day))
    return find_moved_columns(days, ["value", "origin"], CALM[0], {"value": 0.1, "origin": 0.05})


def faults(change: Change, **days: int) -> list[str]:
    return [finding.column for finding in found(change, **days) if finding.lane == "fault"]


def of_value(change: Callable[[pl.Expr], Any]) -> Change:
    return lambda rows: rows.with_columns(value=change(pl.col("value")))


def empty_every(step: int) -> Change:
    return lambda rows: rows.with_columns(
        value=pl.when(pl.int_range(pl.len()) % step == 0).then(None).otherwise(pl.col("value"))
    )


BROKEN: dict[str, tuple[Change, str, str]] = {
    "unit": (of_value(lambda value: value / 1.8), "value", "mean 49.12 → 30.48"),
    "seconds": (of_value(lambda value: value * 60), "value", "far outside of"),
    "spread": (of_value(lambda value: 50 + (value - 50) * 3), "value", "spread 10.51 → "),
    "nulls": (of_value(lambda value: pl.lit(None, pl.Float64)), "value", "100.0% of the rows have no value"),
    "some nulls": (empty_every(5), "value", "share without a value"),
    "sentinel": (
        lambda rows: rows.with_columns(
            value=pl.when(pl.int_range(pl.len()) % 20 == 0).then(9999.0).otherwise(pl.col("value"))
        ),
        "value",
        "5.2% of the rows lie far outside",
    ),
    "stuck": (of_value(lambda value: pl.lit(51.3)), "value", "one value has 100% of the rows for 2 days"),
    "renamed": (
        lambda rows: rows.with_columns(pl.col("origin").replace({"LGA": "KLGA"})),
        "origin",
        "values never seen (KLGA) have",
    ),
    "a rare one renamed": (
        lambda rows: rows.with_columns(pl.col("origin").replace({"SWF": "KSWF"})),
        "origin",
        "values never seen (KSWF) have",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_column_that_breaks_is_found_on_its_second_day_and_not_on_its_first(name: str) -> None:
    change, column, sign = BROKEN[name]
    assert faults(change, first=DAYS - 1) == []
    [finding] = [finding for finding in found(change) if finding.lane == "fault"]
    assert (finding.column, finding.since) == (column, FIRST + timedelta(days=DAYS - 2))
    assert [text for text in finding.signs if sign in text], finding.signs


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("days", [5, 12])
def test_a_column_stays_broken_until_it_is_mended_and_is_then_well_at_once(name: str, days: int) -> None:
    change, column, _ = BROKEN[name]
    assert faults(change, first=DAYS - days) == [column]

    def mended(rows: pl.DataFrame) -> pl.DataFrame:
        return rows if rows.equals(day_rows(DAYS - 1)) else change(rows)

    assert faults(mended, first=DAYS - days) == []


def test_calm_days_have_no_fault() -> None:
    for last in range(DAYS - 20, DAYS + 1):
        assert [finding for finding in found(last=last) if finding.lane == "fault"] == []


def test_a_new_category_that_replaces_none_and_a_known_one_that_is_gone_are_no_rename() -> None:
    def split(rows: pl.DataFrame) -> pl.DataFrame:
        half = pl.int_range(pl.len()) % 2 == 0
        return rows.with_columns(
            origin=pl.when(half & (pl.col("origin") == "EWR")).then(pl.lit("NEW")).otherwise("origin")
        )

    assert faults(split) == []
    assert faults(lambda rows: rows.filter(pl.col("origin") != "LGA")) == []


def test_a_mix_of_categories_that_jumps_is_to_watch_and_no_fault() -> None:
    findings = found(lambda rows: rows.with_columns(pl.col("origin").replace({"EWR": "JFK"})))
    assert [(finding.column, finding.lane) for finding in findings] == [("origin", "watch")]
    assert any("share of EWR 50" in text and "→ 0.0%" in text for text in findings[0].signs)


def test_the_weight_of_a_finding_is_what_moved_times_the_influence_of_its_column() -> None:
    change, _, _ = BROKEN["stuck"]
    [finding] = found(change)
    assert finding.moved == pytest.approx(0.5, abs=0.15)
    assert finding.weight == pytest.approx((finding.moved or 0) * 0.1)
    [renamed] = found(BROKEN["renamed"][0])
    assert renamed.moved == pytest.approx(0.2, abs=0.04)


def test_the_weightiest_fault_comes_first() -> None:
    def both(rows: pl.DataFrame) -> pl.DataFrame:
        return BROKEN["renamed"][0](BROKEN["seconds"][0](rows))

    assert [finding.column for finding in found(both)] == ["value", "origin"]


def test_a_day_without_a_profile_finds_nothing_and_one_before_it_hides_nothing_for_long() -> None:
    change, column, _ = BROKEN["seconds"]
    days = [(FIRST + timedelta(days=number), CALM[number]) for number in range(DAYS - 4)]
    broken = [(FIRST + timedelta(days=number), profile(change(day_rows(number)))) for number in range(DAYS - 4, DAYS)]
    gap: list[tuple[date, TableProfile | None]] = [*days, broken[0], (broken[1][0], None), *broken[2:]]
    [finding] = find_moved_columns(gap, ["value"], CALM[0], {})
    assert (finding.column, finding.since) == (column, broken[2][0])
    assert find_moved_columns([*gap, (date(2013, 3, 12), None)], ["value"], CALM[0], {}) == []


def test_a_column_that_is_nearly_always_one_value_is_not_called_stuck() -> None:
    def dry(number: int) -> TableProfile:
        rng = np.random.default_rng(number)
        rain = np.where(rng.random(ROWS) < (0.2 if number % 5 == 0 else 0.01), rng.exponential(1, ROWS), 0.0)
        return profile_frame(pl.DataFrame({"rain": rain}), categorical=[], numeric=["rain"])

    days = [(FIRST + timedelta(days=number), dry(number)) for number in range(66)]
    days += [(FIRST + timedelta(days=number), dry(number * 5 + 1)) for number in range(66, 70)]
    assert [
        finding for finding in find_moved_columns(days, ["rain"], dry(0), {}) if "one value" in str(finding.signs)
    ] == []


def test_a_column_of_which_most_is_missing_anyway_breaks_when_all_of_it_is() -> None:
    def sparse(number: int, share: float) -> TableProfile:
        rng = np.random.default_rng(number)
        value = pl.Series(rng.normal(size=ROWS))
        frame = pl.DataFrame({"gust": value}).with_columns(
            gust=pl.when(pl.Series(rng.random(ROWS) < share)).then(None).otherwise(pl.col("gust"))
        )
        return profile_frame(frame, categorical=[], numeric=["gust"])

    shares = [0.05 if number % 3 else 0.6 for number in range(68)]
    for last, columns in ((0.65, []), (1.0, ["gust"])):
        days = [(FIRST + timedelta(days=n), sparse(n, share)) for n, share in enumerate([*shares, last, last])]
        findings = find_moved_columns(days, ["gust"], days[0][1], {})
        assert [finding.column for finding in findings if finding.lane == "fault"] == columns


def test_with_too_short_a_past_nothing_is_found() -> None:
    change, _, _ = BROKEN["seconds"]
    assert faults(change, first=27, last=29) == []
    assert faults(change, first=28, last=30) == ["value"]
