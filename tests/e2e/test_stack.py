"""The embedded stack under a real scheduler: days arrive, are refused or corrected, and no kill loses one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipelines import store_paths
from pipelines.demo.land import land
from pipelines.settings import Settings
from pipelines.store_paths import MANIFEST
from pipelines.wiring import RealPorts, open_ports
from tests.e2e.installation import Installation, build_days

pytestmark = pytest.mark.e2e

FIRST = date(2013, 1, 1)
DAYS = [FIRST + timedelta(days=number) for number in range(4)]
LATE = FIRST + timedelta(days=4)
TABLES = ["raw/flights", "raw/weather", "validated/flights", "validated/weather", "features/flight_delay"]


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    home = tmp_path_factory.mktemp("stack")
    made = Installation(Settings.from_environment({"AIRWORTHY_HOME": str(home)}))
    made.up()
    try:
        made.until(lambda: len(made.airflow.dags()) >= 3, "parsing")
        made.until(lambda: "flights__validate" in {dag["dag_id"] for dag in made.airflow.dags()}, "parsing")
        for stage in ("ingest", "validate"):
            made.airflow.unpause(f"flights__{stage}")
        yield made
    finally:
        made.down()


def busy(installation: Installation) -> bool:
    dags = [f"flights__{stage}" for stage in ("ingest", "arrive", "validate")]
    return any(installation.airflow.runs(dag, state=state) for dag in dags for state in ("queued", "running"))


def backfill(installation: Installation, again: str = "none") -> None:
    airflow = installation.airflow
    installation.until(lambda: all(b["completed_at"] for b in airflow.backfills("flights__ingest")), "a free place")
    airflow.backfill("flights__ingest", DAYS[0], DAYS[-1], max_active_runs=4, reprocess=again)


def content(ports: RealPorts) -> dict[str, pl.DataFrame]:
    frames = {table: ports.store.read(table, days=DAYS) for table in TABLES}
    return {table: frame.select(sorted(frame.columns)).sort(pl.all()) for table, frame in frames.items()}


def undisturbed(home: Path) -> dict[str, pl.DataFrame]:
    """The same days by the steps alone, one after the other, with no scheduler and no kill."""
    ports = open_ports(Settings.from_environment({"AIRWORTHY_HOME": str(home)}))
    build_days(DAYS, ports)
    return content(ports)


def test_a_backfill_whose_scheduler_and_tasks_are_killed_ends_as_if_nothing_had_happened(
    installation: Installation, tmp_path: Path
) -> None:
    land(DAYS[0], DAYS[-1], installation.ports)
    backfill(installation)
    installation.until(lambda: bool(installation.ports.store.days("raw/flights")), "the first day")
    installation.kill("scheduler")
    installation.up()
    installation.until(lambda: installation.built() == DAYS, "features of all days")
    installation.until(lambda: not busy(installation), "quiet")
    expected = undisturbed(tmp_path)
    for table, frame in content(installation.ports).items():
        assert frame.equals(expected[table]), table


def test_a_backfill_of_the_same_days_again_leaves_identical_tables(installation: Installation) -> None:
    before = content(installation.ports)
    backfill(installation, again="completed")
    installation.until(lambda: busy(installation), "the second backfill")
    installation.until(lambda: not busy(installation), "its end")
    after = content(installation.ports)
    assert all(after[table].equals(before[table]) for table in TABLES)


def test_a_late_day_that_breaks_its_contract_is_refused_and_taken_up_by_itself_once_mended(
    installation: Installation,
) -> None:
    store = installation.ports.store
    installation.airflow.unpause("flights__arrive")
    land(LATE, LATE, installation.ports)
    installation.until(lambda: LATE in installation.built(), "the late day")

    spoilt = LATE + timedelta(days=1)
    land(spoilt, spoilt, installation.ports, sources=["flights"])
    path = store_paths.landing("flights", spoilt, "flights.csv")
    good = store.get(path)
    store.put(path, good.replace(b"dep_delay", b"delay_at_departure", 1))
    land(spoilt, spoilt, installation.ports, sources=["weather"])
    installation.until(lambda: bool(installation.airflow.runs("flights__arrive", state="failed")), "the refusal")
    line = installation.ports.ledger.entries(model="flights", kind="data_verdict")[-1]
    assert line.details["outcome"] == "fail"
    assert any("'dep_delay' is missing" in reason for reason in line.details["reasons"])
    assert any("sha256" in reason for reason in line.details["reasons"])
    assert spoilt not in store.days("raw/flights")
    assert LATE in installation.built()

    store.delete(store_paths.landing("flights", spoilt, MANIFEST))
    land(spoilt, spoilt, installation.ports, sources=["flights"], force=True)
    installation.until(lambda: spoilt in installation.built(), "the mended day")
