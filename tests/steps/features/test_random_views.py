"""Whatever a view declares, each value is the one that its meaning gives by hand, and one day alone gives the same."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.durations import parse_duration
from pipelines.spec.features import FeatureView
from pipelines.spec.partitions import first_instant
from pipelines.steps.features.aggregates.answers import Aggregation
from pipelines.steps.features.compute import compute_features
from pipelines.steps.features.source_days import days_read
from tests.declared import feature_view
from tests.steps.features.aggregates.by_hand import answer

Row = dict[str, Any]
ZONE = "Africa/Cairo"
FIRST = date(2024, 4, 24)
"""Two days later the clocks skip midnight, so the day before has 23 hours."""
DAYS = [FIRST + timedelta(days=number) for number in range(4)]
HOUR, TICK = timedelta(hours=1), timedelta(microseconds=1)
RIDES: dict[str, Any] = {
    "files": "{source}/{partition}/rides.csv",
    "key": ["at", "ride"],
    "event_time": "at + extra",
    "known": {"before": "1d"},
    "known_columns": {"wait": {"after": "wait"}, "fare": {"after": "wait + 30"}},
    "columns": {
        "at": "timestamp",
        "extra": "integer",
        "ride": "integer",
        "city": "string or null",
        "car": "integer or null",
        "wait": "integer or null",
        "fare": "number or null",
    },
}
RAIN: dict[str, Any] = {
    "files": "{source}/{partition}/rain.csv",
    "key": ["on", "city"],
    "columns": {"on": "date", "city": "string", "mm": "number or null"},
}
CARS: dict[str, Any] = {
    "files": "{source}/{partition}/cars.csv",
    "cadence": "reference",
    "key": ["car"],
    "columns": {"car": "integer", "seats": "integer or null"},
}
MOMENT = pl.Datetime("us", "UTC")
RIDE_TYPES = {"at": MOMENT, "extra": pl.Int64, "ride": pl.Int64, "city": pl.String, "car": pl.Int64}
RIDE_TYPES |= {"wait": pl.Int64, "fare": pl.Float64, "day": pl.Date}


def dataset(copies_known: str | None) -> DatasetSpec:
    cars = CARS | ({"known": copies_known} if copies_known else {})
    return DatasetSpec.model_validate(
        {
            "schema": 2,
            "dataset": "city",
            "partition": {"every": "day", "start": f"{FIRST}", "timezone": ZONE, "due": "6h"},
            "sources": {"rides": RIDES, "rain": RAIN, "cars": cars},
        }
    )


def midnight(day: date) -> datetime:
    return first_instant(day, ZoneInfo(ZONE))


@st.composite
def frames(draw: st.DrawFn) -> dict[str, pl.DataFrame]:
    start, rides = midnight(FIRST), []
    for number in range(draw(st.integers(1, 14))):
        moment = start + draw(st.integers(38, 56)) * HOUR  # around the midnight that is skipped, so that many meet
        extra = draw(st.sampled_from([0, 0, 30]))
        rides.append(
            {
                "at": moment,
                "extra": extra,
                "ride": number,
                "city": draw(st.sampled_from(["a", "a", "b", None])),
                "car": draw(st.sampled_from([1, 2, 9, None])),
                "wait": draw(st.sampled_from([None, -60, 0, 59, 60, 61, 119, 120, 600])),
                "fare": draw(st.sampled_from([None, 0.1, 0.2, 1e12, 1e-3, -3.5])),
                "day": (moment + timedelta(minutes=extra)).astimezone(ZoneInfo(ZONE)).date(),
            }
        )
    rain = [
        {"on": day, "city": city, "mm": draw(st.sampled_from([None, 0.0, 2.5])), "day": day}
        for day in DAYS
        for city in ("a", "b")
        if draw(st.booleans())
    ]
    cars = [
        {"car": car, "seats": draw(st.sampled_from([None, 2, 4])), "day": day}
        for day in (FIRST - timedelta(days=1), DAYS[1], DAYS[2])
        for car in (1, 2)
        if draw(st.booleans())
    ]
    return {
        "rides": pl.DataFrame(rides, schema=RIDE_TYPES),
        "rain": pl.DataFrame(rain, schema={"on": pl.Date, "city": pl.String, "mm": pl.Float64, "day": pl.Date}),
        "cars": pl.DataFrame(cars, schema={"car": pl.Int64, "seats": pl.Int64, "day": pl.Date}),
    }


@st.composite
def aggregate_forms(draw: st.DrawFn) -> Row:
    of_numbers = st.sampled_from(["sum", "mean", "min", "max", "std", "first", "last", "count", "count_distinct"])
    texts = st.builds("{}({})".format, of_numbers, st.sampled_from(["fare", "wait"]))
    form = {
        "aggregate": draw(texts | st.sampled_from(["count", "exists", "since_last", "share"])),
        "by": draw(st.sampled_from(["city", "car", ["city", "car"], []])),
        "window": draw(st.sampled_from(["1h", "2h", "26h"])),
    }
    where = draw(st.sampled_from([None, None, "wait >= 60", "city = 'a' or fare > 0", "hour(at) < 12"]))
    if where or form["aggregate"] == "share":
        form["where"] = where or "wait > 0"
    if draw(st.booleans()) and ("wait" in repr(form) or "fare" in repr(form)):
        form |= {"clock": "known", "max_delay": draw(st.sampled_from(["1h", "2h"]))}
    return form


@st.composite
def feature_forms(draw: st.DrawFn) -> dict[str, Any]:
    forms: dict[str, Any] = {}
    for number in range(draw(st.integers(1, 4))):
        form = draw(aggregate_forms())
        forms[f"some{number}_{form['window']}"] = form
    forms["mm"] = {"latest": "rain", "by": "city", "max_age": draw(st.sampled_from(["6h", "30h", "54h"]))}
    forms["seats"] = {"lookup": "cars"}
    forms["part_of_day"] = {"calendar": draw(st.sampled_from(["hour", "weekday", "day_of_month"]))}
    forms["seats_and_hour"] = "coalesce(cars.seats, 0) * 100 + hour(t)"
    forms["place"] = {"own": "city"}
    return forms


def happens(ride: Row) -> datetime:
    moment: datetime = ride["at"] + timedelta(minutes=ride["extra"])
    return moment


def known(ride: Row, columns: list[str]) -> datetime | None:
    """The latest of the declared times; None: not yet."""
    times = []
    for column in columns:
        if column in ("wait", "fare"):
            if ride["wait"] is None:
                return None
            times.append(happens(ride) + timedelta(minutes=ride["wait"] + (30 if column == "fare" else 0)))
        else:
            times.append(happens(ride) - timedelta(days=1))
    return max(times, default=happens(ride))


def entity(row: Row, by: list[str]) -> tuple[Any, ...] | None:
    values = tuple(row[name] for name in by)
    return None if None in values else values


CONDITIONS: dict[str, Callable[[Row], bool | None]] = {
    "wait >= 60": lambda ride: None if ride["wait"] is None else ride["wait"] >= 60,
    "wait > 0": lambda ride: None if ride["wait"] is None else ride["wait"] > 0,
    "hour(at) < 12": lambda ride: ride["at"].astimezone(ZoneInfo(ZONE)).hour < 12,
    "city = 'a' or fare > 0": lambda ride: either(
        None if ride["city"] is None else ride["city"] == "a", None if ride["fare"] is None else ride["fare"] > 0
    ),
}


def either(one: bool | None, other: bool | None) -> bool | None:
    """``or`` with null as unknown."""
    return True if True in (one, other) else None if None in (one, other) else False


def aggregate_by_hand(form: Row, ride: Row, t: datetime, lead: timedelta, rides: list[Row]) -> Any:
    by = [form["by"]] if isinstance(form["by"], str) else form["by"]
    function, _, column = form["aggregate"].rstrip(")").partition("(")
    where, clock = form.get("where"), form.get("clock", "event")
    read = [*([column] if column else []), *by]
    read += [name for name in ("wait", "city", "fare", "at") if where and name in where]
    events = []
    for other in sorted(rides, key=lambda other: (other["at"], other["ride"])):
        at, when = happens(other), known(other, read)
        late = when is not None and -lead < when - at <= parse_duration(form.get("max_delay", "0m"))
        if clock == "known" and not late:
            continue
        holds = CONDITIONS[where](other) if where else None
        events.append(
            {**other, "entity": entity(other, by), "event": at, "known": when, "row": other["ride"], "holds": holds}
        )
    question = {"entity": entity(ride, by), "time": t, "row": ride["ride"]}
    window, condition = parse_duration(form["window"]), "holds" if where else None
    item: Any = Aggregation("asked", function, column or None, window, condition)  # type: ignore[arg-type]
    value = answer(question, events, item, clock)
    return value / timedelta(days=1) if isinstance(value, timedelta) else value


def by_hand(forms: Row, ride: Row, lead: timedelta, tables: dict[str, list[Row]], copies_known: str | None) -> Row:
    """Every feature of one ride, by looking at every other row."""
    t, zone = happens(ride) - lead, ZoneInfo(ZONE)
    values: Row = {"place": ride["city"]}
    for name, form in forms.items():
        if isinstance(form, dict) and "aggregate" in form:
            values[name] = aggregate_by_hand(form, ride, t, lead, tables["rides"])
    seen = [
        (midnight(row["on"] + timedelta(days=1)) - TICK, row)
        for row in tables["rain"]
        if row["city"] == ride["city"] and midnight(row["on"] + timedelta(days=1)) + 6 * HOUR <= t
    ]
    fresh = [(at, row) for at, row in seen if t - at <= parse_duration(forms["mm"]["max_age"])]
    values["mm"] = max(fresh, key=lambda pair: pair[0])[1]["mm"] if fresh else None
    copies = {
        row["day"]: midnight(row["day"]) if copies_known else midnight(row["day"] + timedelta(days=1)) + 6 * HOUR
        for row in tables["cars"]
    }
    newest = max((day for day, at in copies.items() if at <= t), default=None)
    [seats] = [
        row["seats"] for row in tables["cars"] if row["day"] == newest and row["car"] == ride["car"]
    ] or [None]  # fmt: skip
    values["seats"] = seats
    values["seats_and_hour"] = (seats or 0) * 100 + t.astimezone(zone).hour
    local = happens(ride).astimezone(zone)
    parts = {"hour": local.hour, "weekday": local.isoweekday(), "day_of_month": local.day}
    values["part_of_day"] = parts[forms["part_of_day"]["calendar"]]
    values["long"] = None if ride["wait"] is None else ride["wait"] >= 60
    return values


def assert_same(value: Any, expected: Any, name: str) -> None:
    if isinstance(expected, float | Fraction) and not isinstance(expected, bool):
        assert value is not None, name
        assert abs(Fraction(value) - Fraction(expected)) <= abs(Fraction(expected)) * Fraction(1, 10**9), name
    else:
        assert value == expected, (name, value, expected)


@settings(max_examples=12, deadline=None)
@given(
    tables=frames(),
    forms=feature_forms(),
    lead=st.sampled_from(["0m", "1h", "2h"]),
    copies_known=st.sampled_from([None, "partition_start"]),
)
def test_every_value_is_the_one_by_hand(
    tables: dict[str, pl.DataFrame], forms: dict[str, Any], lead: str, copies_known: str | None
) -> None:
    declared = dataset(copies_known)
    view = view_of(forms, lead, declared)
    whole = compute_features(view, tables, DAYS, declared)
    rows = {source: frame.to_dicts() for source, frame in tables.items()}
    computed = {row["ride"]: row for row in whole.to_dicts()}
    assert len(computed) == tables["rides"].height
    for ride in rows["rides"]:
        for name, expected in by_hand(forms, ride, parse_duration(lead), rows, copies_known).items():
            assert_same(computed[ride["ride"]][name], expected, name)
    for day in DAYS:
        read = {
            source: frame.filter(pl.col("day").is_in(days_read(view, source, day, set(frame["day"]), declared)))
            for source, frame in tables.items()
        }
        alone = compute_features(view, {name: frame.reverse() for name, frame in read.items()}, [day], declared)
        assert_frame_equal(alone, whole.filter(day=day), check_exact=True)


def view_of(forms: dict[str, Any], lead: str, declared: DatasetSpec) -> FeatureView:
    fields = {
        "schema": 2,
        "view": "rides",
        "entity": ["at", "ride"],
        "rows": {"per": "rides", "lead": lead},
        "label": {"long": "wait >= 60"},
        "features": forms,
    }
    return feature_view(fields, declared)


def test_rows_whose_windows_would_begin_before_the_data_are_left_out_where_a_warm_up_is_declared() -> None:
    times = [midnight(FIRST) + hours * HOUR for hours in (0, 25, 26, 40)]
    rides = [
        {"at": at, "extra": 0, "ride": number, "day": at.astimezone(ZoneInfo(ZONE)).date()}
        for number, at in enumerate(times)
    ]
    declared = dataset(None)
    view = view_of({"place": {"own": "city"}}, "1h", declared).model_copy(update={"warm_up": 25 * HOUR})
    rows = compute_features(view, {"rides": pl.DataFrame(rides, schema=RIDE_TYPES)}, DAYS, declared)
    assert rows["ride"].to_list() == [2, 3]
    assert rows["prediction_time"].min() == datetime(2024, 4, 24, 23, tzinfo=UTC)
