"""A real Prometheus scrapes a real gateway and the exporter: every chart of the dashboard gets data."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from wsgiref.simple_server import make_server

import httpx
import pytest
import yaml
from prometheus_client import CollectorRegistry, make_wsgi_app

from pipelines.cli.alert_rules import rules_text
from pipelines.observability import grafana_dashboard
from pipelines.observability.alert_rules import rule_groups
from pipelines.observability.collector import InstallationCollector
from pipelines.settings import REPOSITORY
from pipelines.spec.worth import Worth
from pipelines.testing.ports import FixedClock, MemoryLedger
from pipelines.wiring import open_ports
from tests.debian import debian_program
from tests.free_port import free_port
from tests.observability.installation import StandingAirflow, StandingIncidents, lines_of_a_model
from tests.serving.gateway_process import ROWS, Gateway, write_bundle

CONNECTIONS = 20
MODEL = "flight_delay"


@contextmanager
def served(application: Any) -> Iterator[str]:
    with make_server("127.0.0.1", 0, application) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus that has scraped both for some seconds, once a second."""
    program = debian_program("prometheus", "prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    config = folder / "gateway.yaml"
    config.write_text(yaml.safe_dump({"schema": 1, "limits": {"connections": CONNECTIONS}}))
    gateway = Gateway(folder / "gateway", extra=["--config", str(config)]).start()
    address = f"127.0.0.1:{free_port()}"
    process = None
    try:
        for version in ("1", "2"):
            assert gateway.release(version, write_bundle(folder / "bundles", version)).status_code == 200, gateway.log
        ledger = MemoryLedger(FixedClock(datetime.now(UTC)))
        lines_of_a_model(ledger, MODEL)
        incidents, airflow = StandingIncidents(datetime.now(UTC), MODEL), StandingAirflow(datetime.now(UTC))
        worth = Worth(right_answer=1, wrong_answer=2, training_hour=4, serving_day=8)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(InstallationCollector(ledger, incidents, airflow, {MODEL: worth}))
        with served(make_wsgi_app(registry)) as exporter:
            process = _start(
                program, folder, address, {"airworthy-gateway": f"127.0.0.1:{gateway.port}", "airworthy": exporter}
            )
            _cause_traffic(gateway, address)
            yield f"http://{address}"
    finally:
        if process is not None:
            process.terminate()
            process.wait(60)
        gateway.stop()


def _start(program: str, folder: Path, address: str, jobs: dict[str, str]) -> subprocess.Popen[bytes]:
    rules = rule_groups({MODEL: open_ports().catalog.model(MODEL).monitoring.serving})
    for group in rules["groups"]:
        group["interval"] = "1s"
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))
    scrapes = [{"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in jobs.items()]
    config = {"global": {"scrape_interval": "1s"}, "rule_files": ["rules.yml"], "scrape_configs": scrapes}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "prometheus.log").open("wb") as log:
        return subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)


def _cause_traffic(gateway: Gateway, prometheus: str) -> None:
    """Requests of all kinds until Prometheus has several samples of each, with an unknown category and a crowd."""
    rows = {"dataframe_split": {"columns": ["carrier", "distance", "hour"], "data": ROWS}}
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for _ in range(5):
            assert httpx.post(f"{gateway.base}/models/{MODEL}/invocations", json=rows).status_code == 200
        crowd = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(CONNECTIONS + 5)]
        time.sleep(0.2)
        for connection in crowd:
            connection.close()
        time.sleep(0.8)
        answers = [query(prometheus, expression) for expression in dashboard_queries()]
        if all(answers):
            return


def dashboard_queries() -> list[str]:
    """The expressions as Grafana sends them for all models."""
    return [expression.replace("$model", ".*") for expression in grafana_dashboard.queries()]


def query(prometheus: str, expression: str) -> list[dict[str, Any]]:
    """The samples of an expression now; none if Prometheus does not answer yet."""
    try:
        answer = httpx.get(f"http://{prometheus.removeprefix('http://')}/api/v1/query", params={"query": expression})
    except httpx.HTTPError:
        return []
    assert answer.status_code == 200 or answer.status_code == 503, answer.text
    return answer.json()["data"]["result"] if answer.status_code == 200 else []


@pytest.mark.parametrize("expression", dashboard_queries())
def test_every_chart_gets_data(expression: str, prometheus: str) -> None:
    """No chart is empty once its subject exists."""
    assert query(prometheus, expression), expression


def test_prometheus_scrapes_gateway_and_exporter_without_a_fault(prometheus: str) -> None:
    """Both texts are what Prometheus takes, and no rule fails."""
    assert {sample["value"][1] for sample in query(prometheus, "up")} == {"1"}
    groups = httpx.get(f"{prometheus}/api/v1/rules").json()["data"]["groups"]
    assert [rule["lastError"] for group in groups for rule in group["rules"] if rule.get("lastError")] == []


def test_an_alert_that_fires_in_prometheus_names_model_and_severity(prometheus: str) -> None:
    """The ledger of the tests holds a version that is a fifth worse than its certificate."""
    alerts = {
        alert["labels"]["alertname"]: alert
        for alert in httpx.get(f"{prometheus}/api/v1/alerts").json()["data"]["alerts"]
    }
    lost = alerts["AirworthyPerformanceLost"]
    assert (lost["labels"]["model"], lost["labels"]["severity"], lost["state"]) == (MODEL, "critical", "firing")
    assert "20% worse in roc_auc" in lost["annotations"]["summary"]


def test_the_dashboard_in_the_repository_is_the_one_of_the_code() -> None:
    """`python -m pipelines.observability.grafana_dashboard` was run after the last change."""
    assert grafana_dashboard.FILE.read_text() == grafana_dashboard.dashboard_json()
    assert {panel["type"] for panel in json.loads(grafana_dashboard.FILE.read_text())["panels"]} == {
        "row",
        "timeseries",
    }


def test_the_rules_in_the_repository_are_those_of_its_models() -> None:
    """`airworthy alert-rules --into deploy/monitoring/rules.yml` was run after the last change."""
    assert (REPOSITORY / "deploy" / "monitoring" / "rules.yml").read_text() == rules_text(open_ports())
