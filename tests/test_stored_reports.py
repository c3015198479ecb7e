"""Reports and pictures of the store, shown to those who may see the DAG of their dataset or model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import airflow.api_fastapi.app
import pytest
from airflow.api_fastapi.core_api.security import get_user
from fastapi.testclient import TestClient

import stored_reports
from pipelines import store_paths
from pipelines.messages.incident import Incident
from pipelines.rules.incident_text import links
from pipelines.spec.alerts import AlertsSpec
from practices._operators.links import STORE_PAGES
from stored_reports import SHOWN
from tests.practices.landing import DAY
from tests.practices.practice_harness import MODEL, PracticeHarness

REPORT = store_paths.data_docs("flights", DAY)
PICTURE = store_paths.rollout(MODEL, "1b4e28ba-2fa1", "load_test.png")


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PracticeHarness:
    made = PracticeHarness.open(tmp_path, monkeypatch)
    made.store.put(REPORT, b"<h1>flights 2013-01-05</h1>")
    made.store.put(PICTURE, b"\x89PNG")
    made.store.put(store_paths.rollout(MODEL, "1b4e28ba-2fa1", "load_test.json"), b"{}")
    made.store.put(store_paths.receipt("flights", DAY), b"{}")
    return made


@pytest.fixture
def readable(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The DAGs that the user may see; Airflow's own auth manager is tried in the e2e tests."""
    dags = {"flights__validate", f"{MODEL}__deploy"}

    def is_authorized(*, method: str, details: Any, user: Any) -> bool:
        return method == "GET" and details.id in dags

    manager = SimpleNamespace(is_authorized_dag=is_authorized)
    monkeypatch.setattr(airflow.api_fastapi.app, "get_auth_manager", lambda: manager)
    return dags


@pytest.fixture
def pages(harness: PracticeHarness, readable: set[str]) -> Iterator[TestClient]:
    app = stored_reports.make_app()
    app.dependency_overrides[get_user] = lambda: SimpleNamespace(username="ada")
    with TestClient(app) as client:
        yield client


def test_a_report_is_shown_with_an_origin_of_its_own(pages: TestClient) -> None:
    answer = pages.get(f"/store/{REPORT}")
    assert (answer.status_code, answer.text) == (200, "<h1>flights 2013-01-05</h1>")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_folder_shows_its_pictures_and_links_to_its_other_files_without_a_script(pages: TestClient) -> None:
    answer = pages.get(f"/store/{PICTURE.rpartition('/')[0]}/")
    assert "<img src='load_test.png'" in answer.text
    assert "<a href='load_test.json'>" in answer.text
    assert "script" not in answer.headers["content-security-policy"]
    assert pages.get(f"/store/{PICTURE}").headers["content-type"] == "image/png"


def recorded(harness: PracticeHarness, kind: str, version: str, **details: str) -> None:
    harness.ledger.append(kind, MODEL, version, details, actor="test")


def test_a_folder_is_headed_by_its_version_and_the_verdicts_on_it_and_by_no_number_alone(
    pages: TestClient, harness: PracticeHarness, readable: set[str]
) -> None:
    readable.add(f"{MODEL}__evaluate")
    folder, picture = PICTURE.rpartition("/")[0], store_paths.plot(MODEL, "5", "roc")
    harness.store.put(picture, b"\x89PNG")
    assert f"<title>{MODEL}/1b4e28ba-2fa1</title>" in pages.get(f"/store/{folder}/").text
    assert f"<title>{MODEL}</title>" in pages.get(f"/store/rollouts/{MODEL}/").text
    for outcome, rule, rollout in (
        ("unknown", "load_test", "1b4e28ba-2fa1"),
        ("pass", "candidate_preparation", "1b4e28ba-2fa1"),
        ("pass", "rollout_rollback", "1b4e28ba-2fa1"),
        ("pass", "canary_step", "another"),
    ):
        recorded(harness, "rollout", "5", rollout_id=rollout, rule=rule, outcome=outcome)
    recorded(harness, "gate", "5", rule="slice_gate", gate="slice_gate", outcome="fail")
    recorded(harness, "gate", "5", rule="release_rollback", gate="release_rollback", outcome="fail")
    recorded(harness, "gate", "6", rule="slice_gate", gate="slice_gate", outcome="pass")
    shown = pages.get(f"/store/{folder}/").text
    assert f"<title>{MODEL} version 5, rollout 1b4e28ba-2fa1: load test: UNKNOWN</title>" in shown
    assert "<li>load test: UNKNOWN</li>" in shown
    assert "<li>candidate preparation: PASS</li>" in shown
    assert "canary" not in shown
    assert "rollout rollback" not in shown
    title = f"<title>{MODEL} version 5, evaluation: slice gate: FAIL</title>"
    assert title in pages.get(f"/store/{picture.rpartition('/')[0]}/").text


@pytest.mark.parametrize(
    ("check", "subject", "path"),
    [
        ("quarantine", "flights", store_paths.data_docs("flights", DAY)),
        ("drift_check", MODEL, store_paths.drift_report(MODEL, DAY)),
        ("live_input_check", MODEL, store_paths.live_input_report(MODEL, DAY)),
    ],
)
def test_a_report_says_that_its_day_was_judged_again_as_a_red_task_leads_to_it_too(
    pages: TestClient, harness: PracticeHarness, readable: set[str], check: str, subject: str, path: str
) -> None:
    readable |= {f"{MODEL}__monitor"}
    harness.store.put(path, b"<html><body class='x'><h1>no column broke</h1></body></html>")
    kind = "data_verdict" if check == "quarantine" else "monitoring_verdict"
    details = {"check": check, "day": f"{DAY}"}
    for outcome in ("fail", "pass"):
        harness.ledger.append(kind, subject, None, {**details, "outcome": outcome}, actor="test")
        harness.ledger.append(kind, subject, None, {**details, "check": "another", "outcome": "fail"}, actor="test")
        shown = pages.get(f"/store/{path}").text
        assert ("was judged 2 times, and this is the newest" in shown) == (outcome == "pass")
    assert re.search(r"<body class='x'><p>.*UTC fail, .*UTC pass</p><h1>no column broke", shown)


@pytest.mark.parametrize("root", ["/srv/reports/drift/store", "s3://bucket/reports", "relative"])
@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("data_refused", store_paths.data_docs(MODEL, DAY)),
        ("drift_fault", store_paths.drift_report(MODEL, DAY)),
        ("live_input_fault", store_paths.live_input_report(MODEL, DAY)),
    ],
)
def test_the_link_of_a_message_to_a_report_has_a_page_wherever_the_store_is(kind: str, path: str, root: str) -> None:
    now = datetime(2013, 3, 1, tzinfo=UTC)
    times = dict.fromkeys(("first_seen", "opened", "last_seen"), now)
    fields = {"model": MODEL, "kind": kind, "subject": "x", "status": "open", "severity": "warning", "what": "broke"}
    incident = Incident.model_validate({**fields, **times, "report": f"{root}/{path}"})
    address = links(incident, AlertsSpec(), "https://airflow.example")["report"]
    prefix, _, page = address.partition(STORE_PAGES)
    assert (prefix, page) == ("https://airflow.example", path)
    assert SHOWN.fullmatch(page)


@pytest.mark.parametrize(
    "path",
    [
        *(store_paths.data_docs(MODEL, key) for key in (DAY, "2013-06-01T05:00Z", "2013-W22", "2013-06", "once")),
        store_paths.drift_report(MODEL, DAY),
        store_paths.live_input_report(MODEL, DAY),
        store_paths.plot(MODEL, "3", "roc"),
        store_paths.rollout(MODEL, "r1", "shadow.png"),
    ],
)
def test_every_report_that_is_written_has_a_page(
    pages: TestClient, harness: PracticeHarness, readable: set[str], path: str
) -> None:
    readable |= {f"{MODEL}__{stage}" for stage in ("validate", "monitor", "evaluate", "deploy")}
    harness.store.put(path, b"content")
    assert pages.get(f"/store/{path}").content == b"content"


def test_what_a_user_may_not_see_in_airflow_is_not_shown_here(pages: TestClient, readable: set[str]) -> None:
    readable.clear()
    assert pages.get(f"/store/{REPORT}").status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        store_paths.receipt("flights", DAY),
        "landing/flights/flights/2013-01-05/flights.csv",
        "reports/validation/flights/../../../receipts/flights/2013-01-05.json",
        "reports/validation/flights/%2e%2e/receipts.json",
        "reports/validation/",
        "reports/validation/flights/secrets.txt",
        "rollouts//x.png",
        "",
    ],
)
def test_nothing_but_reports_and_pictures_is_shown(pages: TestClient, path: str) -> None:
    assert pages.get(f"/store/{path}").status_code == 404


def test_what_is_not_there_yet_says_so(pages: TestClient) -> None:
    answer = pages.get(f"/store/{store_paths.rollout(MODEL, 'other', '')}")
    assert (answer.status_code, "nothing is stored" in answer.text) == (404, True)


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_the_pages_have_no_documents_that_everybody_may_read(pages: TestClient, path: str) -> None:
    assert pages.get(path).status_code == 404


def test_without_a_session_nothing_is_shown(harness: PracticeHarness, readable: set[str]) -> None:
    with TestClient(stored_reports.make_app()) as client:
        assert client.get(f"/store/{REPORT}").status_code == 401
