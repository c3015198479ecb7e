"""Small, deliberately awkward flights, weather and planes, and the plain answers a feature must agree with."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from pipelines.spec.catalog import Catalog
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import Constraints, FeatureView
from pipelines.spec.model import ModelSpec
from tests.declared import shipped_model, shipped_view

NEW_YORK = "America/New_York"
INCLUDE = Path(__file__).parents[2] / "include"
VIEW = shipped_view()
LEAD = timedelta(hours=2)


def limited(**limits: Constraints) -> FeatureView:
    """The view with these constraints and no others, which the random values below break."""
    features = {
        name: feature.model_copy(update={"constraints": limits.get(name, Constraints())})
        for name, feature in VIEW.features.items()
    }
    return VIEW.model_copy(update={"features": features})


WEATHER = ["temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
Row = dict[str, Any]
MOMENT = pl.Datetime("us", "UTC")
FLIGHT_SCHEMA: dict[str, Any] = {
    "day": pl.Date,
    "time_hour": MOMENT,
    "minute": pl.Int64,
    "carrier": pl.String,
    "flight": pl.Int64,
    "tailnum": pl.String,
    "origin": pl.String,
    "dest": pl.String,
    "dep_delay": pl.Int64,
    "arr_delay": pl.Int64,
    "air_time": pl.Int64,
    "distance": pl.Int64,
}
WEATHER_SCHEMA: dict[str, Any] = {"day": pl.Date, "origin": pl.String, "time_hour": MOMENT} | dict.fromkeys(
    WEATHER, pl.Float64
)
PLANE_SCHEMA: dict[str, Any] = {"day": pl.Date, "tailnum": pl.String, "year": pl.Int64, "seats": pl.Int64}


def utc(text: str) -> datetime:
    """``"2013-03-01 10:05"`` as a moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def flight(moment: str | datetime, number: int, *, delay: int | None = 0, **other: Any) -> Row:
    """One flight by its scheduled moment (UTC); lands five minutes later than it left unless said otherwise."""
    when = utc(moment) if isinstance(moment, str) else moment
    arrival = None if delay is None else delay + 5
    row = {
        "day": when.astimezone(ZoneInfo(NEW_YORK)).date(),
        "time_hour": when.replace(minute=0),
        "minute": when.minute,
        "carrier": "UA",
        "flight": number,
        "tailnum": "N1",
        "origin": "EWR",
        "dest": "BOS",
        "dep_delay": delay,
        "arr_delay": arrival,
        "air_time": None if delay is None else 60,
        "distance": 200,
    }
    return row | other


def observation(moment: str | datetime, origin: str = "EWR", **values: float | None) -> Row:
    when = utc(moment) if isinstance(moment, str) else moment
    row: Row = {"day": when.astimezone(ZoneInfo(NEW_YORK)).date(), "origin": origin, "time_hour": when}
    return row | dict.fromkeys(WEATHER, 1.0) | values


def tables(flights: Sequence[Row], weather: Sequence[Row] = (), planes: Sequence[Row] = ()) -> dict[str, pl.DataFrame]:
    return {
        "flights": pl.DataFrame(list(flights), schema=FLIGHT_SCHEMA),
        "weather": pl.DataFrame(list(weather), schema=WEATHER_SCHEMA),
        "planes": pl.DataFrame(list(planes), schema=PLANE_SCHEMA),
    }


def random_days(seed: int, first: date, days: int, per_day: int) -> dict[str, pl.DataFrame]:
    """Flights with nulls, cancellations, ties, very early and very late departures; weather with gaps and nulls."""
    chance = random.Random(seed)
    midnight = datetime(first.year, first.month, first.day, tzinfo=ZoneInfo(NEW_YORK)).astimezone(UTC)
    flights, weather = [], []
    for number in range(days * per_day):
        when = midnight + timedelta(minutes=5 * chance.randrange(days * 24 * 12))
        delay = chance.choice([None, -130, -120, -119, -7, 0, 0, 15, 45, 90, 600, 1320, 1321, chance.randrange(200)])
        other = {
            "carrier": chance.choice(["UA", "B6"]),
            "tailnum": chance.choice([None, "N1", "N2", "N3", "N9"]),
            "origin": chance.choice(["EWR", "JFK"]),
        }
        flights.append(flight(when, number, delay=delay, **other))
    for hour in range(days * 24):
        for origin in ("EWR", "JFK"):
            if chance.random() < 0.25:
                values = {name: chance.choice([None, round(chance.random() * 50, 2)]) for name in WEATHER}
                weather.append(observation(midnight + timedelta(hours=hour), origin, **values))
    planes = [
        {
            "day": first + timedelta(days=copy),
            "tailnum": f"N{number}",
            "year": 1990 + number + copy,
            "seats": 100 + copy,
        }
        for copy in (0, 2)
        for number in (1, 2, 3)
    ]
    return tables(flights, weather, planes)


def by_hand(frames: dict[str, pl.DataFrame], row: Row) -> Row:
    """The features of one flight, found by looking at every other row, in plain Python."""
    scheduled = row["time_hour"] + timedelta(minutes=row["minute"])
    t = scheduled - LEAD
    known = []
    for other in frames["flights"].sort("time_hour", "carrier", "flight").iter_rows(named=True):
        delay = other["dep_delay"]
        if delay is not None and -120 < delay <= 1320:
            at = other["time_hour"] + timedelta(minutes=other["minute"] + delay)
            known.append((at, other))

    def within(hours: float, column: str) -> list[tuple[datetime, Row]]:
        start = t - timedelta(hours=hours)
        return [
            (at, other)
            for at, other in known
            if start < at <= t and row[column] is not None and other[column] == row[column]
        ]

    def mean(hours: float, column: str) -> float | None:
        delays = [other["dep_delay"] for _, other in within(hours, column)]
        return sum(delays) / len(delays) if delays else None

    tail = within(24, "tailnum")
    last = max(tail, key=lambda pair: (pair[0], *[pair[1][name] for name in VIEW.key])) if tail else None
    seen = [
        other
        for other in frames["weather"].iter_rows(named=True)
        if other["origin"] == row["origin"] and other["time_hour"] <= t
    ]
    newest = max(seen, key=lambda other: other["time_hour"]) if seen else None
    fresh = newest if newest and t - newest["time_hour"] <= timedelta(hours=6) else None
    zone = ZoneInfo(NEW_YORK)
    copies = [copy for copy in set(frames["planes"]["day"]) if datetime(*copy.timetuple()[:3], tzinfo=zone) <= t]
    plane: Row = {}
    for other in frames["planes"].iter_rows(named=True):
        if copies and other["day"] == max(copies) and other["tailnum"] == row["tailnum"]:
            plane = other
    local = scheduled.astimezone(ZoneInfo(NEW_YORK))
    return {
        "carrier": row["carrier"],
        "origin": row["origin"],
        "dest": row["dest"],
        "sched_hour_local": local.hour,
        "day_of_week": local.isoweekday(),
        "distance": row["distance"],
        "plane_age_years": t.astimezone(zone).year - plane["year"] if plane else None,
        "plane_seats": plane.get("seats"),
        **{name: fresh[name] if fresh else None for name in WEATHER},
        "origin_departure_delay_mean_3h": mean(3, "origin"),
        "carrier_departure_delay_mean_24h": mean(24, "carrier"),
        "tail_last_departure_delay_24h": last[1]["dep_delay"] if last else None,
        "late": None if row["arr_delay"] is None else row["arr_delay"] >= 15,
        "prediction_time": t,
    }


def _column(dtype: Any, name: str) -> dict[str, Any]:
    kinds = {pl.Int64: "integer", pl.Float64: "number", pl.String: "string"}
    return {
        "type": kinds.get(dtype, "timestamp"),
        "nullable": name not in ("time_hour", "minute", "carrier", "flight", "origin"),
    }


def _source(schema: dict[str, Any], key: list[str], cadence: str) -> dict[str, Any]:
    columns = {name: _column(dtype, name) for name, dtype in schema.items() if name != "day"}
    for name in key:
        columns[name]["nullable"] = False
    return {"files": "{source}/{partition}/rows.csv", "cadence": cadence, "key": key, "columns": columns}


FLIGHT_TIMES: dict[str, Any] = {
    "event_time": "time_hour + minute",
    "known": {"before": "1d"},
    "known_columns": {
        "dep_delay": {"after": "dep_delay"},
        "arr_delay, air_time": {"after": "dep_delay + air_time + 60"},
    },
}
"""A schedule is known a day ahead, a delay when the plane has left, the rest when it has arrived."""
DATASET = DatasetSpec.model_validate(
    {
        "schema": 2,
        "dataset": "flights",
        "description": "Flights by hand",
        "owner": "tests",
        "partition": {"every": "day", "start": "2013-01-01", "timezone": NEW_YORK},
        "sources": {
            "flights": _source(FLIGHT_SCHEMA, ["time_hour", "carrier", "flight"], "partition") | FLIGHT_TIMES,
            "weather": _source(WEATHER_SCHEMA, ["origin", "time_hour"], "partition") | {"known": {"after": "0m"}},
            "planes": _source(PLANE_SCHEMA, ["tailnum"], "reference") | {"known": "partition_start"},
        },
    }
)


def model(name: str = "flight_delay", **training: Any) -> ModelSpec:
    """The repository's own model, with other training settings."""
    spec = shipped_model(name)
    return spec.model_copy(update={"training": spec.training.model_copy(update=training)})


def catalog(*models: ModelSpec, view: FeatureView = VIEW) -> Catalog:
    return Catalog(
        datasets={"flights": DATASET},
        views={view.view: view},
        models={spec.model: spec for spec in models or [model()]},
    )
