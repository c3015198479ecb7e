"""The buttons of a task lead to what it measured, and there is none that leads nowhere."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException, DagRunTriggerException

from practices._operators import links
from practices.drift_check import DriftCheck
from practices.quarantine import Quarantine
from practices.retrain_request import RetrainRequest
from tests.practices.landing import DAY, dataset
from tests.practices.practice_harness import MODEL, PracticeHarness
from tests.practices.test_drift_check import drifted
from tests.practices.test_quarantine import audit
from tests.practices.test_retrain_request import saw

STORE = "http://airflow.example/airworthy/store/"


@pytest.fixture(autouse=True)
def address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "airflow_address", lambda: "http://airflow.example")


def shown(operator: Any) -> dict[str, str]:
    """The buttons that Airflow shows for a try: label to address, without the empty ones."""
    addresses = {link.name: link.get_link(operator, ti_key=operator) for link in operator.operator_extra_links}
    return {name: address for name, address in addresses.items() if address}


def test_a_refused_day_leads_to_its_validation_report(harness: PracticeHarness) -> None:
    harness.catalog.datasets["flights"] = dataset()
    harness.answers["audit_partition"] = audit(quarantined=900)
    harness.answers["publish_partition"] = lambda request: request
    operator = Quarantine(task_id="publish_partition", dataset="flights")
    with pytest.raises(Exception, match="quarantined"):
        operator.execute(harness.context("validate", "publish_partition", partition_key=f"{DAY}"))
    assert shown(operator) == {"Validation report": f"{STORE}reports/validation/flights/2013-01-05.html"}


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("report", ["memory://reports/drift/x.html", None])
def test_a_drift_check_leads_to_its_report_where_one_was_written(harness: PracticeHarness, report: str | None) -> None:
    harness.answers["measure_drift"] = drifted(0.05).model_copy(update={"report": report})
    operator = DriftCheck(task_id="check_drift", model=MODEL)
    operator.execute(harness.context("monitor", "check_drift", partition_key="2013-03-07"))
    page = {"Drift report": f"{STORE}reports/drift/{MODEL}/2013-03-07.html"}
    assert shown(operator) == (page if report else {})


def test_a_retrain_request_leads_to_the_run_that_it_started_and_else_nowhere(harness: PracticeHarness) -> None:
    harness.registry.add("4")
    harness.registry.name(champion="4")
    operators = []
    days = (("pass", AirflowSkipException), ("pass", AirflowSkipException), ("fail", DagRunTriggerException))
    for number, (outcome, ends) in enumerate(days):
        saw(harness, number, outcome)
        operators.append(RetrainRequest(task_id="request_retraining", model=MODEL))
        context = harness.context("monitor", "request_retraining", partition_key=f"2013-03-0{number + 1}")
        with pytest.raises(ends):
            operators[-1].execute(context)
    run = f"http://airflow.example/dags/{MODEL}__train/runs/retrain_request__2013-03-03"
    assert list(map(shown, operators)) == [{}, {}, {"Started run": run}]


@pytest.mark.parametrize(
    ("tracking", "page"),
    [
        ("http://mlflow:5500/", "http://mlflow:5500/#/models/m/versions/3?workflowType=machine_learning"),
        ("https://ann:se@cret@mlflow/base", "https://mlflow/base/#/models/m/versions/3?workflowType=machine_learning"),
        ("sqlite:///mlflow.db", None),
    ],
)
def test_mlflow_is_linked_where_it_has_pages(tracking: str, page: str | None) -> None:
    assert links.mlflow_page(tracking, "models", "m", "versions", "3") == page


def test_every_link_has_a_stored_name_and_a_label_of_its_own() -> None:
    declared = [link for link in vars(links).values() if isinstance(link, links.TaskLink)]
    assert len({link.xcom_key for link in declared}) == len({link.name for link in declared}) == len(declared) >= 8
