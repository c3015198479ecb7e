"""A real Alertmanager has one alert an incident, which worsens, ends, and is unchanged by a repeat."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.adapters.notifier.alertmanager import AlertmanagerNotifier
from pipelines.errors import Refused, Unavailable
from pipelines.messages.incident import Event, Incident
from pipelines.rules.incident_text import notice
from pipelines.spec.alerts import AlertsSpec
from tests.debian import debian_command
from tests.free_port import free_port

CONFIGURATION = "route: {receiver: none, group_wait: 0s}\nreceivers: [{name: none}]\n"


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    command = debian_command("prometheus-alertmanager", "prometheus-alertmanager")
    folder, port = tmp_path_factory.mktemp("alertmanager"), free_port()
    (folder / "config.yml").write_text(CONFIGURATION)
    options = [f"--config.file={folder}/config.yml", f"--storage.path={folder}/data", "--cluster.listen-address="]
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *options, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log
        )
        try:
            wait_until_ready(process, url, folder / "log")
            yield url
        finally:
            process.terminate()
            process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"{url}/-/ready").is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def incident(**changes: Any) -> Incident:
    now = datetime.now(UTC)
    made = {"model": "churn", "kind": "drift_fault", "subject": "price", "status": "open", "severity": "warning"}
    times = dict.fromkeys(("first_seen", "opened", "last_seen"), now)
    return Incident.model_validate({**made, **times, "what": "price broke", "number": 7, **changes})


def send(url: str, told: Incident, event: Event) -> None:
    AlertmanagerNotifier(url).send(notice("am", 1, [(told, event)], AlertsSpec(), "http://airflow"))


def active(url: str) -> list[dict[str, Any]]:
    alerts: list[dict[str, Any]] = httpx.get(f"{url}/api/v2/alerts").json()
    return [alert for alert in alerts if alert["endsAt"] > datetime.now(UTC).isoformat()]


def test_an_incident_is_one_alert_from_its_beginning_to_its_end(alertmanager: str) -> None:
    told = incident()
    send(alertmanager, told, "opened")
    send(alertmanager, told, "opened")
    [alert] = active(alertmanager)
    assert alert["labels"] == {
        "alertname": "drift_fault",
        "model": "churn",
        "subject": "price",
        "severity": "warning",
        "incident": "7",
    }
    assert alert["annotations"]["summary"] == "price broke"
    worse = told.model_copy(update={"severity": "critical", "last_seen": datetime.now(UTC)})
    send(alertmanager, worse, "worse")
    assert [one["labels"]["severity"] for one in active(alertmanager)] == ["critical"]
    send(alertmanager, worse.model_copy(update={"status": "resolved", "resolved": datetime.now(UTC)}), "resolved")
    assert active(alertmanager) == []


def test_an_alertmanager_that_refuses_an_alert_says_why(alertmanager: str) -> None:
    told = incident()
    backwards = told.model_copy(update={"resolved": told.opened.replace(year=2000)})
    with pytest.raises(Refused, match="refused 1 alert"):
        send(alertmanager, backwards, "resolved")


def test_an_alertmanager_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        send(f"http://127.0.0.1:{free_port()}", incident(), "opened")
