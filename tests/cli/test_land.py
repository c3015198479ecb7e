"""Days are landed as the source systems would deliver them: once, whole, the manifest last."""

from __future__ import annotations

import hashlib
import io
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from pipelines.cli.land import MANIFEST, land
from pipelines.errors import Refused
from pipelines.messages import Manifest
from pipelines.testing import FakePorts

FIRST = date(2013, 1, 1)


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    return FakePorts.make(tmp_path)


def test_each_daily_source_lands_a_folder_a_day_and_a_reference_one_copy(ports: FakePorts) -> None:
    landed = land(FIRST, date(2013, 1, 3), ports)
    days = [(manifest.source, manifest.day.day) for manifest in landed]
    daily = [(source, day) for source in ("flights", "weather") for day in (1, 2, 3)]
    assert sorted(days) == sorted([*daily, ("planes", 1), ("airports", 1)])


def test_the_manifest_tells_the_truth_about_the_file(ports: FakePorts) -> None:
    manifest = next(found for found in land(FIRST, FIRST, ports) if found.source == "flights")
    content = ports.store.get("landing/flights/2013-01-01/flights.csv")
    assert manifest.files[0].sha256 == hashlib.sha256(content).hexdigest()
    assert manifest.files[0].rows == 842 == pl.read_csv(io.BytesIO(content), infer_schema=False).height
    stored = Manifest.model_validate_json(ports.store.get(f"landing/flights/2013-01-01/{MANIFEST}"))
    assert stored == manifest


def test_a_file_holds_the_flights_of_its_own_local_day_and_no_other(ports: FakePorts) -> None:
    land(date(2013, 3, 10), date(2013, 3, 10), ports)
    text = pl.read_csv(io.BytesIO(ports.store.get("landing/flights/2013-03-10/flights.csv")), infer_schema=False)
    assert text.select("year", "month", "day").unique().rows() == [("2013", "3", "10")]
    assert "NA" in text["dep_time"].to_list()


def test_what_was_landed_before_is_left_alone_unless_forced(ports: FakePorts) -> None:
    land(FIRST, FIRST, ports)
    ports.store.put("landing/flights/2013-01-01/flights.csv", b"mended by hand")
    assert land(FIRST, FIRST, ports) == []
    assert ports.store.get("landing/flights/2013-01-01/flights.csv") == b"mended by hand"
    assert len(land(FIRST, FIRST, ports, force=True)) == 4


def test_a_day_without_weather_lands_a_file_without_rows(ports: FakePorts) -> None:
    manifest = next(found for found in land(date(2013, 12, 31), date(2013, 12, 31), ports, sources=["weather"]))
    assert manifest.files[0].rows == 0
    assert ports.store.get("landing/weather/2013-12-31/weather.csv").startswith(b"origin,year")


def test_impossible_wishes_are_refused_all_at_once_and_nothing_is_written(ports: FakePorts) -> None:
    with pytest.raises(Refused) as refused:
        land(date(2014, 1, 2), date(2014, 1, 1), ports, sources=["trains"])
    assert len(refused.value.reasons) == 3
    assert ports.store.list("landing") == []
