"""Nothing that serves any data knows the demonstration's: its columns and sources are named in demo/ alone."""

from __future__ import annotations

import re

from pipelines.settings import REPOSITORY
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.plain_yaml import load
from tests.declared import INCLUDE
from tests.house.test_one_truth import SOURCES, name_of

GENERAL = {
    *("year", "month", "day", "hour", "minute", "origin", "distance", "name", "type", "model", "engine", "engines"),
    *("speed", "weather", "pressure", "temp", "alt", "lat", "lon", "tz", "manufacturer", "seats", "dest", "flight"),
    *("carrier", "dst", "purchases", "customer_id", "date", "amount"),
}
"""Words of the data that are words of anything else, too."""
DATASETS = [DatasetSpec.model_validate(load(path.read_text())) for path in (INCLUDE / "datasets").glob("*.yaml")]
SOURCES_OF_DATA = {name: source for dataset in DATASETS for name, source in dataset.sources.items()}
NAMES = {*SOURCES_OF_DATA, *(name for source in SOURCES_OF_DATA.values() for name in source.columns)}
PACKAGES = ("nycflights", r"nycflights\d+", "lifetimes", "CDNOW")
DISTINCTIVE = re.compile(rf"\b(?:{'|'.join(sorted(NAMES - GENERAL))}|EWR|JFK|LGA|{'|'.join(PACKAGES)})\b")


def test_no_name_of_the_demonstrations_data_stands_in_code_for_any_data() -> None:
    named = [
        f"{name_of(path)}:{number}: {line.strip()}"
        for path in SOURCES
        if not path.is_relative_to(REPOSITORY / "pipelines" / "demo")
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if DISTINCTIVE.search(line)
    ]
    assert named == []


def test_the_names_that_are_looked_for_are_those_of_the_data() -> None:
    for name in ("dep_delay", "arr_delay", "tailnum", "time_hour", "air_time", "flights", "planes", "airports", "cds"):
        assert DISTINCTIVE.search(f'"{name}"')
    assert not DISTINCTIVE.search("the weather of preflight checks in_flight")
