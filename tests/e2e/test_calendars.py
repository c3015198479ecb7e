"""Calendars of all kinds under a real scheduler: weeks, months, half hours, a table without dates, and today's file.

A stack of its own, with the DAGs of five datasets, which take minutes to be parsed and polled beside other tests:
``make test-calendars``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from pipelines import store_paths
from pipelines.cli.deliver import split_and_deliver
from pipelines.settings import Settings
from tests import other_sources as other
from tests.declared import INCLUDE
from tests.e2e.installation import AIRFLOW, Installation, ended

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not os.environ.get("AIRWORTHY_TEST_CALENDARS"), reason="make test-calendars runs these"),
]


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, migrated: Settings) -> Iterator[Installation]:
    home = tmp_path_factory.mktemp("calendars")
    shutil.copytree(INCLUDE, home / "include")
    other.write_declarations(home / "include", datetime.now(UTC))
    no_model = {"AIRWORTHY_PRELOAD": "great_expectations"}
    settings = Settings.from_environment({"AIRWORTHY_HOME": str(home), "AIRWORTHY_INCLUDE": str(home / "include")})
    stack = Installation(settings, variables=no_model, parts=AIRFLOW)
    stack.take_database(migrated)
    stack.up()
    try:
        yield stack
    finally:
        stack.down()


def held(installation: Installation, table: str) -> list[str]:
    return installation.ports.store.partitions(f"validated/{table}")


def test_weeks_months_half_hours_and_a_table_without_dates_are_taken_whenever_their_files_land(
    installation: Installation, tmp_path: Path
) -> None:
    airflow, catalog, store = installation.airflow, installation.ports.catalog, installation.ports.store

    def split(dataset: str, source: str, name: str, content: bytes) -> list[str]:
        (tmp_path / name).write_bytes(content)
        return list(split_and_deliver(catalog.dataset(dataset), source, tmp_path / name, store))

    weeks = split("air", "weeks", "co2.csv", other.weeks_file(4))
    installation.unpause("air__ingest")
    airflow.backfill("air__ingest", date(2001, 12, 3), date(2001, 12, 10), max_active_runs=2)
    for dataset in ("air", "equipment", "patients", "meter"):
        installation.unpause(f"{dataset}__validate")
    installation.until(lambda: held(installation, "air.weeks") == weeks[:2], "the weeks of the backfill")
    months = split("equipment", "orders", "elec_equip.csv", b"".join(other.months_file().splitlines(keepends=True)[:3]))
    hours = split("meter", "readings", "a.jsonl", other.half_hours_file(other.METER_DAY, 4))
    store.put(store_paths.landing("patients", "measurements", "all", "diabetes_data_raw.csv.gz"), other.patients_file())
    for dataset in ("air", "equipment", "patients", "meter"):
        installation.unpause(f"{dataset}__arrive")
    for table, keys in (("air.weeks", weeks), ("equipment.orders", months), ("meter.readings", hours)):
        installation.until(lambda table=table, keys=keys: held(installation, table) == keys, table)
    installation.until(lambda: held(installation, "patients.measurements") == ["all"], "the table without dates")
    assert (len(weeks), len(months), len(hours)) == (4, 2, 2)
    assert store.read("validated/patients.measurements").height == 442


def test_todays_file_is_taken_within_a_minute_and_what_a_task_takes_to_start_and_a_run_waits_for_that_of_yesterday(
    installation: Installation,
) -> None:
    airflow, store = installation.airflow, installation.ports.store
    calendar = installation.ports.catalog.dataset("readings").partition_calendar
    today = calendar.partition_of(datetime.now(UTC))
    assert today is not None
    yesterday = calendar.partition_of(today.begin - timedelta(hours=1))
    assert yesterday is not None

    def path(key: str, name: str) -> str:
        return store_paths.landing("readings", "readings", key, name)

    for partition in (today, yesterday):
        store.put(path(partition.key, "a.jsonl"), other.half_hours_file(partition.begin, 2))
    for stage in ("arrive", "validate", "ingest"):
        installation.unpause(f"readings__{stage}")
    triggered = datetime.now(UTC)
    run = airflow.trigger("readings__ingest", {"day": yesterday.key})

    def state() -> str:
        tasks = {task["task_id"]: task["state"] for task in airflow.tasks("readings__ingest", run)}
        return str(tasks.get("wait_for_partition"))

    installation.until(lambda: state() == "deferred", "the wait for yesterday")
    of_the_scheduler = datetime.now(UTC) - triggered
    watched = store_paths.landing("readings", "readings", f"{date.fromisoformat(yesterday.key) - timedelta(days=5)}")
    store.put(f"{watched}a.jsonl", other.half_hours_file(yesterday.begin - timedelta(days=5), 2))
    store.put(f"{watched}_SUCCESS", b"")
    installation.until(
        lambda: len(held(installation, "readings.readings")) == 1, "a day that shows that arrivals are watched"
    )
    assert held(installation, "readings.readings") == [watched.split("/")[3]]

    landed = datetime.now(UTC)
    store.put(path(today.key, "_SUCCESS"), b"")
    installation.until(lambda: today.key in held(installation, "readings.readings"), "today")
    begun = max(datetime.fromisoformat(each["queued_at"]) for each in airflow.runs("readings__arrive"))
    assert timedelta(0) < begun - landed < timedelta(minutes=1) + of_the_scheduler
    assert state() == "deferred"
    store.put(path(yesterday.key, "_SUCCESS"), b"")
    assert ended(installation, "readings__ingest", run)["ingest_partition"] == "success"
    installation.until(lambda: yesterday.key in held(installation, "readings.readings"), "yesterday")
