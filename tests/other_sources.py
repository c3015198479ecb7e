"""Sources of other shapes than the flagships, from files that installed distributions ship, read as they stand."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import yaml

EQUIPMENT_INDEX = "STS.M.I7.W.TOVT.NS0016.4.000"
PATIENT_COLUMNS = ["age", "sex", "bmi", "pressure", "s1", "s2", "s3", "s4", "s5", "s6"]
METER_DAY = datetime(2024, 2, 12, tzinfo=UTC)
HEADER = {"schema": 2, "owner": "data"}


def shipped(package: str, path: str) -> bytes:
    return Path(str(distribution(package).locate_file(path))).read_bytes()


def datasets(now: datetime) -> dict[str, dict[str, Any]]:
    """Declarations of a weekly, a monthly, a dateless and two half-hourly sources, by name.

    ``readings`` has partitions by day in a zone in which ``now`` is about noon: today is not over, and yesterday is
    still waited for.
    """
    half_hours = {
        "files": {"path": "{source}/{partition}/*.jsonl", "complete": {"marker": "_SUCCESS"}},
        "key": ["at"],
        "columns": {"at": "timestamp", "spots": {"type": "decimal", "scale": 1, "min": 0}},
    }
    return {
        "air": HEADER
        | {
            "dataset": "air",
            "description": "Carbon dioxide over Mauna Loa, a mean for each week",
            "partition": {"every": "week", "start": date(1958, 3, 24), "end": date(2001, 12, 30)},
            "sources": {
                "weeks": {
                    "files": "{source}/{partition}/co2.csv",
                    "key": ["date"],
                    "columns": {"date": {"type": "date", "format": "%Y%m%d"}, "co2": "number or null"},
                }
            },
        },
        "equipment": HEADER
        | {
            "dataset": "equipment",
            "description": "Index of electrical equipment that is manufactured in the euro area",
            "partition": {"every": "month", "start": date(1995, 1, 1), "end": date(2020, 12, 31)},
            "sources": {
                "orders": {
                    "files": "{source}/{partition}/elec_equip.csv",
                    "key": ["DATE"],
                    "columns": {
                        "DATE": {"type": "date", "format": "%b-%d-%Y"},
                        EQUIPMENT_INDEX: {"type": "decimal", "scale": 2, "min": 0},
                    },
                }
            },
        },
        "patients": HEADER
        | {
            "dataset": "patients",
            "description": "Measurements of patients with diabetes, without dates",
            "partition": {"every": "once"},
            "sources": {
                "measurements": {
                    "files": {
                        "path": "{source}/{partition}/diabetes_data_raw.csv.gz",
                        "delimiter": "whitespace",
                        "header": False,
                        "complete": {"quiet": "5s"},
                    },
                    "key": "row",
                    "columns": {name: "integer" if name in ("age", "sex") else "number" for name in PATIENT_COLUMNS},
                }
            },
        },
        "meter": HEADER
        | {
            "dataset": "meter",
            "description": "A reading for each half hour, delivered by the hour",
            "partition": {"every": "hour", "start": METER_DAY.date(), "end": METER_DAY.date()},
            "sources": {"readings": half_hours},
        },
        "readings": HEADER
        | {
            "dataset": "readings",
            "description": "A reading for each half hour, delivered by the day",
            "partition": {
                "every": "day",
                "start": now.date() - timedelta(days=7),
                "wait": "2d",
                "timezone": f"Etc/GMT{now.astimezone(UTC).hour - 12:+d}",
            },
            "sources": {"readings": half_hours},
        },
    }


def write_declarations(include: Path, now: datetime) -> None:
    (include / "datasets").mkdir(parents=True, exist_ok=True)
    for name, fields in datasets(now).items():
        (include / "datasets" / f"{name}.yaml").write_text(yaml.safe_dump(fields, sort_keys=False))


def weeks_file(last: int) -> bytes:
    """The header and the newest weeks; the last is 2001-W52."""
    header, *lines = shipped("statsmodels", "statsmodels/datasets/co2/co2.csv").splitlines(keepends=True)
    return b"".join([header, *lines[-last:]])


def months_file() -> bytes:
    return shipped("statsmodels", "statsmodels/datasets/elec_equip/elec_equip.csv")


def patients_file() -> bytes:
    return shipped("scikit-learn", "sklearn/datasets/data/diabetes_data_raw.csv.gz")


def half_hours_file(begin: datetime, count: int) -> bytes:
    """Numbers of sunspots with the digits as shipped, one for each half hour since ``begin``, as JSON lines."""
    _, *lines = shipped("statsmodels", "statsmodels/datasets/sunspots/sunspots.csv").decode().split()
    spots = [line.split(",")[1] for line in lines][:count]
    times = [f"{begin + number * timedelta(minutes=30):%Y-%m-%dT%H:%M:%SZ}" for number in range(count)]
    return "".join(
        f'{{"at": {json.dumps(at)}, "spots": {value}}}\n' for at, value in zip(times, spots, strict=True)
    ).encode()
