"""The embedded stack under a real scheduler: days arrive, are refused or corrected, and no kill loses one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import httpx
import polars as pl
import pytest

from pipelines import store_paths
from pipelines.demo.land import land
from pipelines.demo.past_days import take_days
from pipelines.settings import Settings
from pipelines.store_paths import MANIFEST
from pipelines.wiring import RealPorts, open_ports
from tests.e2e.installation import AIRFLOW, Installation, ended

pytestmark = pytest.mark.e2e

FIRST = date(2013, 1, 1)
DAYS = [FIRST + timedelta(days=number) for number in range(4)]
PAUSED = [FIRST + timedelta(days=number) for number in range(4, 7)]
LATE = FIRST + timedelta(days=7)
BAD = FIRST + timedelta(days=9)
TABLES = [
    "raw/flights.flights",
    "raw/flights.weather",
    "validated/flights.flights",
    "validated/flights.weather",
    "features/flight_delay",
]


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, migrated: Settings) -> Iterator[Installation]:
    home = tmp_path_factory.mktemp("stack")
    no_model = {"AIRWORTHY_PRELOAD": "great_expectations"}
    made = Installation(Settings.from_environment({"AIRWORTHY_HOME": str(home)}), variables=no_model, parts=AIRFLOW)
    made.take_database(migrated)
    made.up()
    try:
        made.unpause("flights__ingest", "flights__validate")
        yield made
    finally:
        made.down()


def busy(installation: Installation) -> bool:
    dags = {f"flights__{stage}" for stage in ("ingest", "arrive", "validate")}
    return any(run["dag_id"] in dags for run in installation.airflow.runs("~", state=["queued", "running"]))


def backfill(installation: Installation, again: str = "none", days: Sequence[date] = DAYS) -> None:
    airflow = installation.airflow
    installation.until(lambda: all(b["completed_at"] for b in airflow.backfills("flights__ingest")), "a free place")
    airflow.backfill("flights__ingest", days[0], days[-1], max_active_runs=4, reprocess=again)


def content(ports: RealPorts, days: Sequence[date] = DAYS) -> dict[str, pl.DataFrame]:
    frames = {table: ports.store.read(table, days=days) for table in TABLES}
    return {table: frame.select(sorted(frame.columns)).sort(pl.all()) for table, frame in frames.items()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> RealPorts:
    """The same days by the steps alone, one after the other, with no scheduler, no kill and no pause."""
    home = tmp_path_factory.mktemp("undisturbed")
    ports = open_ports(Settings.from_environment({"AIRWORTHY_HOME": str(home)}))
    take_days([*DAYS, *PAUSED], ports, "flights")
    return ports


def test_a_backfill_whose_scheduler_and_tasks_are_killed_ends_as_if_nothing_had_happened(
    installation: Installation, undisturbed: RealPorts
) -> None:
    land(DAYS[0], DAYS[-1], installation.ports)
    backfill(installation)
    installation.until(lambda: bool(installation.ports.store.days("raw/flights.flights")), "the first day")
    installation.kill("scheduler")
    installation.up()
    installation.until(lambda: installation.built() == DAYS, "features of all days")
    installation.until(lambda: not busy(installation), "quiet")
    expected = content(undisturbed)
    for table, frame in content(installation.ports).items():
        assert frame.equals(expected[table]), table


def test_a_backfill_of_the_same_days_again_leaves_identical_tables(installation: Installation) -> None:
    before = content(installation.ports)
    backfill(installation, again="completed")
    installation.until(lambda: busy(installation), "the second backfill")
    installation.until(lambda: not busy(installation), "its end")
    after = content(installation.ports)
    assert all(after[table].equals(before[table]) for table in TABLES)


def test_days_that_are_backfilled_and_delivered_twice_while_validation_is_paused_end_as_if_nothing_had_happened(
    installation: Installation, undisturbed: RealPorts
) -> None:
    """Airflow drops the events of a paused DAG; the ledger knows which days were not audited."""
    airflow, store = installation.airflow, installation.ports.store
    airflow.pause("flights__validate")
    land(PAUSED[0], PAUSED[-1], installation.ports)
    backfill(installation, days=PAUSED)
    installation.until(lambda: set(PAUSED) <= set(store.days("raw/flights.flights")), "raw days")
    backfill(installation, again="completed", days=PAUSED[1:2])
    installation.until(lambda: all(b["completed_at"] for b in airflow.backfills("flights__ingest")), "the backfills")
    assert not set(PAUSED) & set(installation.built())
    installation.unpause("flights__validate")
    installation.until(lambda: set(PAUSED) <= set(installation.built()), "the paused days")
    installation.until(lambda: not busy(installation), "quiet")
    expected = content(undisturbed, [*DAYS, *PAUSED])
    for table, frame in content(installation.ports, [*DAYS, *PAUSED]).items():
        assert frame.equals(expected[table]), table
    named = [(run["dag_run_id"], run["partition_key"]) for run in airflow.runs("flights__validate")]
    assert [(run_id, key) for run_id, key in named if f"__{key}__" not in run_id] == []


def test_a_task_that_a_person_marks_as_success_hands_nothing_on_and_shows_why_it_was_refused(
    installation: Installation,
) -> None:
    airflow, store, ledger = installation.airflow, installation.ports.store, installation.ports.ledger
    land(BAD, BAD, installation.ports)
    path, manifest = (
        store_paths.landing("flights", "flights", BAD, "flights.csv"),
        store_paths.landing("flights", "flights", BAD, MANIFEST),
    )
    good = store.get(path)
    store.put(path, good.replace(b"dep_delay", b"delay_at_departure", 1))
    run = airflow.trigger("flights__ingest", {"day": f"{BAD}"})
    assert ended(installation, "flights__ingest", run)["ingest_partition"] == "failed"
    airflow.set_task_state("flights__ingest", run, "ingest_partition", "success")

    rows = pl.read_csv(good, infer_schema=False).with_columns(dep_delay=pl.lit("99999"))
    listed = json.loads(store.get(manifest))
    store.put(path, text := rows.write_csv().encode())
    listed["files"][0]["sha256"] = hashlib.sha256(text).hexdigest()
    store.put(manifest, json.dumps(listed).encode())
    run = airflow.trigger("flights__ingest", {"day": f"{BAD}"})
    assert ended(installation, "flights__ingest", run)["ingest_partition"] == "success"
    installation.until(lambda: bool(airflow.runs("flights__validate", state="failed")), "the red day")
    [red] = [each["dag_run_id"] for each in airflow.runs("flights__validate") if each["partition_key"] == f"{BAD}"]
    airflow.set_task_state("flights__validate", red, "publish_partition", "success")
    installation.until(
        lambda: ended(installation, "flights__validate", red)["build_features_flight_delay"] == "failed", "the features"
    )
    assert BAD not in store.days("validated/flights.flights")
    assert BAD not in installation.built()
    lines = [line.details for line in ledger.entries("flights", kind="data_verdict")]
    verdicts = [(each["check"], each["outcome"]) for each in lines if each["day"] == f"{BAD}"]
    assert verdicts == [("contract_check", "fail"), ("contract_check", "pass"), ("quarantine", "fail")]

    at = f"/dags/flights__validate/dagRuns/{red}/taskInstances"
    for task in ("publish_partition", "build_features_flight_delay"):
        log = "\n".join(str(line) for line in airflow._call("GET", f"{at}/{task}/logs/1")["content"])
        assert "rows quarantined" in log
        assert "Traceback" not in log
        assert "error_detail" not in log
    kept = airflow._call("GET", f"{at}/publish_partition/xcomEntries")["xcom_entries"]
    assert {"reasons", "facts"} <= {entry["key"] for entry in kept}
    link = airflow._call("GET", f"{at}/publish_partition/links")["extra_links"]["Validation report"]
    assert httpx.get(link).status_code == httpx.codes.UNAUTHORIZED
    page = httpx.get(link, headers={"Authorization": airflow._client.headers["Authorization"]})
    assert (page.status_code, f"flights day {BAD}" in page.text) == (httpx.codes.OK, True)


@pytest.mark.parametrize(
    ("conf", "key", "state"),
    [
        ({"day": f"{FIRST}"}, None, "success"),
        ({}, f"{FIRST}", "success"),
        ({"day": f"{FIRST}"}, f"{DAYS[1]}", "failed"),
        ({}, f"{FIRST:%Y%m%d}", "failed"),
    ],
    ids=["form", "key", "both differ", "another spelling"],
)
def test_a_day_is_validated_by_hand_by_its_form_or_its_key_and_by_nothing_that_is_unclear(
    installation: Installation, conf: dict[str, str], key: str | None, state: str
) -> None:
    before = content(installation.ports)
    run = installation.airflow.trigger("flights__validate", conf, partition_key=key)
    assert ended(installation, "flights__validate", run)["publish_partition"] == state
    assert all(content(installation.ports)[table].equals(before[table]) for table in TABLES)


def test_a_late_day_that_breaks_its_contract_is_refused_and_taken_up_by_itself_once_mended(
    installation: Installation,
) -> None:
    store = installation.ports.store
    installation.unpause("flights__arrive")
    land(LATE, LATE, installation.ports)
    installation.until(lambda: LATE in installation.built(), "the late day")

    spoilt = LATE + timedelta(days=1)
    land(spoilt, spoilt, installation.ports, sources=["flights"])
    path = store_paths.landing("flights", "flights", spoilt, "flights.csv")
    good = store.get(path)
    store.put(path, good.replace(b"dep_delay", b"delay_at_departure", 1))
    land(spoilt, spoilt, installation.ports, sources=["weather"])
    installation.until(lambda: bool(installation.airflow.runs("flights__arrive", state="failed")), "the refusal")
    line = installation.ports.ledger.entries(model="flights", kind="data_verdict")[-1]
    assert line.details["outcome"] == "fail"
    assert any("'dep_delay' is missing" in reason for reason in line.details["reasons"])
    assert any("sha256" in reason for reason in line.details["reasons"])
    assert spoilt not in store.days("raw/flights.flights")
    assert LATE in installation.built()

    store.delete(store_paths.landing("flights", "flights", spoilt, MANIFEST))
    land(spoilt, spoilt, installation.ports, sources=["flights"], force=True)
    installation.until(lambda: spoilt in installation.built(), "the mended day")
