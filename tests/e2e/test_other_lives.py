"""Models of other kinds live their whole life under a real Airflow: customers by the week, and a table without dates.

A stack of its own, which takes minutes: ``make test-lives``.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from pipelines import store_paths
from pipelines.demo.land import land
from pipelines.demo.past_days import take_days
from pipelines.demo.replay import replay
from pipelines.settings import Settings
from pipelines.steps.ingestion.written_delivery import write_delivery
from tests.declared import INCLUDE
from tests.e2e.installation import AIRFLOW, PARSED_ONCE, Installation, ended
from tests.tumours import DECLARATIONS, ROWS

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not os.environ.get("AIRWORTHY_TEST_LIVES"), reason="make test-lives runs these"),
]

DATASET, VIEW, MODEL = "shop", "customer_week", "buys_again"
TABLE_DATASET, TABLE_VIEW, TABLE_MODEL = "clinic", "tumour", "malignancy"
SHIPPED = ("datasets/shop", "features/customer_week", "models/buys_again")
DAY, WEEK = timedelta(days=1), timedelta(days=7)
DELIVERED = 3 * DAY
"""The days before a Monday that Airflow takes; those before them are taken by the steps alone."""
FIRST, RELEASE = date(1997, 1, 1), date(1997, 7, 7)  # the Monday from which callers ask
LAST = RELEASE + 6 * WEEK
"""The Monday on which the labels of the first two weeks are known."""
CUSTOMERS = 2357


def days(first: date, last: date) -> list[date]:
    return [first + number * DAY for number in range((last - first).days + 1)]


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, migrated: Settings) -> Iterator[Installation]:
    """The stack with the customers of this repository and a table of tumours."""
    home = tmp_path_factory.mktemp("lives")
    include = home / "include"
    for name in SHIPPED:
        (include / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(INCLUDE / f"{name}.yaml", include / f"{name}.yaml")
    for name, text in DECLARATIONS.items():
        (include / f"{name}.yaml").write_text(text)
    settings = Settings.from_environment({"AIRWORTHY_HOME": str(home), "AIRWORTHY_INCLUDE": str(include)})
    stack = Installation(settings, variables=PARSED_ONCE, parts=("mlflow", "gateway", *AIRFLOW))
    stack.take_database(migrated)
    stack.up()
    try:
        stages = [f"{model}__{stage}" for model in (MODEL, TABLE_MODEL) for stage in ("train", "evaluate", "deploy")]
        stack.unpause(f"{DATASET}__validate", f"{TABLE_DATASET}__validate", *stages)
        yield stack
    finally:
        stack.down()


def deliver_table(installation: Installation, rows: pl.DataFrame) -> None:
    """The table arrives whole, and Airflow takes it and builds its rows."""
    ports, features = installation.ports, store_paths.features(TABLE_VIEW)
    before = ports.store.version(features) or 0
    content = rows.write_csv().encode()
    files = {"tumours.csv": (content, rows.height)}
    write_delivery(ports.catalog.dataset(TABLE_DATASET), "tumours", "all", files, ports.store)
    run = installation.airflow.trigger(f"{TABLE_DATASET}__arrive", {})
    assert set(ended(installation, f"{TABLE_DATASET}__arrive", run).values()) == {"success"}
    installation.until(lambda: (ports.store.version(features) or 0) > before, "the rows of the table")
    validate = f"{TABLE_DATASET}__validate"
    installation.until(
        lambda: all(each["state"] == "success" for each in installation.airflow.runs(validate)), "validation"
    )


def test_a_table_without_dates_goes_from_its_file_to_a_second_version_that_is_live(installation: Installation) -> None:
    ports, airflow = installation.ports, installation.airflow
    installation.unpause(f"{TABLE_DATASET}__arrive")
    for version, rows in (("1", ROWS), ("2", ROWS.sample(500, seed=3))):
        deliver_table(installation, rows)
        airflow.trigger(f"{TABLE_MODEL}__train", {"hypothesis": "size tells", "seed": int(version)})
        installation.until(
            lambda version=version: ports.endpoint.state(TABLE_MODEL).version == version, f"version {version} live"
        )
    gates = ports.ledger.entries(TABLE_MODEL, "2", kind="gate")
    outcomes = {line.details["gate"]: line.details["outcome"] for line in gates}
    assert outcomes["champion_comparison_gate"] == "pass", outcomes
    assert set(outcomes.values()) == {"pass"}, outcomes
    released = ports.ledger.entries(TABLE_MODEL, kind="release")
    assert [line.version for line in released] == ["1", "2"]
    assert ports.ledger.faults() == []
    row = ROWS.row(0, named=True)
    row["area_by_radius"] = row["mean_area"] / row["mean_radius"]
    names = [*ports.catalog.view(TABLE_VIEW).features]
    [answer] = ports.endpoint.predict(TABLE_MODEL, names, [[row[name] for name in names]])
    assert answer > 0.5  # the first row of the table is malignant


def deliver_last_days(installation: Installation, monday: date) -> list[date]:
    """The last days of the week before this Monday arrive, and Airflow takes them."""
    delivered = days(monday - DELIVERED, monday - DAY)
    land(delivered[0], delivered[-1], installation.ports, DATASET)
    installation.airflow.backfill(f"{DATASET}__ingest", delivered[0], delivered[-1], max_active_runs=4)
    store = installation.ports.store
    installation.until(lambda: monday in store.days(store_paths.features(VIEW)), f"the rows of {monday}")
    return delivered


def test_the_last_day_of_a_week_makes_the_rows_of_the_monday_after_it(installation: Installation) -> None:
    airflow, dag = installation.airflow, f"{DATASET}__validate"
    take_days(days(FIRST, RELEASE - DELIVERED - DAY), installation.ports, DATASET)
    installation.unpause(f"{DATASET}__ingest")
    delivered = deliver_last_days(installation, RELEASE)
    rows = installation.ports.store.read(store_paths.features(VIEW), days=[RELEASE])
    assert rows["customer_id"].n_unique() == rows.height == CUSTOMERS
    assert set(rows["prediction_time"]) == {datetime(1997, 7, 7, 6, tzinfo=UTC)}
    installation.until(lambda: len(airflow.runs(dag)) == len(delivered), "validation of each day")
    runs = {run["partition_key"]: run["dag_run_id"] for run in airflow.runs(dag)}
    built = {key: ended(installation, dag, run)[f"build_features_{VIEW}"] for key, run in runs.items()}
    assert set(built) == {f"{day}" for day in delivered}
    assert built[f"{RELEASE - DAY}"] == "success"  # the rows are due with Sunday, whichever day is taken last
    assert set(built.values()) <= {"success", "skipped"}


def test_a_version_learns_from_labels_that_are_known_passes_its_gates_and_is_live(installation: Installation) -> None:
    ports, as_of = installation.ports, RELEASE - DAY
    installation.airflow.trigger(f"{MODEL}__train", {"as_of": f"{as_of}", "hypothesis": "habits persist"})
    installation.until(lambda: ports.endpoint.state(MODEL).version == "1", "the first version to be live")
    [trained] = ports.ledger.entries(MODEL, kind="training")
    record = json.loads(ports.store.get(store_paths.snapshot(MODEL, trained.details["snapshot"], "snapshot.json")))
    until = datetime.combine(as_of + DAY, datetime.min.time(), UTC)
    assert datetime.fromisoformat(record["latest_label_time"]) <= until
    assert datetime.fromisoformat(record["parts"]["test"]["last"]) == datetime(1997, 6, 2, 6, tzinfo=UTC)
    assert 0 < record["parts"]["train"]["positives"] < record["parts"]["train"]["rows"]
    gates = {line.details["gate"]: line.details["outcome"] for line in ports.ledger.entries(MODEL, "1", kind="gate")}
    assert set(gates.values()) == {"pass"}, gates
    assert ports.ledger.faults() == []


def test_answers_are_held_to_labels_that_are_known_weeks_later_and_new_rows_ask_for_a_training(
    installation: Installation,
) -> None:
    ports, airflow = installation.ports, installation.airflow
    mondays = [RELEASE + number * WEEK for number in range(7)]
    answered = replay(mondays, [MODEL], ports).answered
    assert answered == {MODEL: 7 * CUSTOMERS}
    take_days(days(RELEASE, LAST - DELIVERED - DAY), ports, DATASET)
    monitor = f"{MODEL}__monitor"
    installation.unpause(monitor)
    deliver_last_days(installation, LAST)
    installation.until(lambda: bool(airflow.runs(monitor, partition_key_pattern=f"{LAST}")), "monitoring")
    [run] = airflow.runs(monitor, partition_key_pattern=f"{LAST}")
    tasks = ended(installation, monitor, run["dag_run_id"])
    lines = ports.ledger.entries(MODEL, kind="monitoring_verdict")
    checks = {line.details["check"]: line.details for line in lines if line.details["day"] == f"{LAST}"}
    performance, live_inputs = checks["performance_check"], checks["live_input_check"]
    assert (performance["outcome"], performance["facts"]["labelled"]) == ("pass", 2 * CUSTOMERS), performance
    assert (live_inputs["outcome"], live_inputs["facts"]["skew"]) == ("pass", 0.0), live_inputs
    assert tasks["all_is_well"] == "success"
    [request] = ports.ledger.entries(MODEL, kind="retrain_request")
    assert request.details["day"] == f"{LAST}"
    assert f"{2 * CUSTOMERS} rows since {RELEASE - DAY}" in request.details["reasons"][0]
    [training] = [run for run in airflow.runs(f"{MODEL}__train") if run["dag_run_id"] == f"retrain_request__{LAST}"]
    assert training["conf"]["as_of"] == f"{LAST}"
