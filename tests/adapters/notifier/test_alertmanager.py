"""A real Alertmanager has one alert an incident, which worsens, ends, and is there again after a crash."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.adapters.incidents.sql import SqlIncidents
from pipelines.adapters.notifier.alertmanager import AlertmanagerNotifier
from pipelines.errors import Refused, Unavailable
from pipelines.incidents.look import look
from pipelines.incidents.record import take_over
from pipelines.messages.incident import Event, Finding, Incident
from pipelines.rules.incident_text import notice
from pipelines.spec.alerts import AlertsSpec
from pipelines.testing.ports import FakePorts
from tests.debian import debian_command
from tests.free_port import free_port

CONFIGURATION = "route: {receiver: none, group_wait: 0s}\nreceivers: [{name: none}]\n"


class Server:
    """A real Alertmanager at an address of its own, which may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder, port = folder, free_port()
        self.url = f"http://127.0.0.1:{port}"
        (folder / "config.yml").write_text(CONFIGURATION)
        options = [f"--config.file={folder}/config.yml", f"--storage.path={folder}/data", "--cluster.listen-address="]
        command = debian_command("prometheus-alertmanager", "prometheus-alertmanager")
        self._command = [*command, *options, f"--web.listen-address=127.0.0.1:{port}"]

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        try:
            wait_until_ready(self._process, self.url, self._folder / "log")
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(tmp_path_factory.mktemp("alertmanager"))
    started.start()
    try:
        yield started
    finally:
        started.kill()


@pytest.fixture
def alertmanager(server: Server) -> str:
    return server.url


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


def test_an_alertmanager_that_was_killed_has_every_alert_again_after_the_next_look(
    server: Server, tmp_path: Path
) -> None:
    ports = FakePorts.make(tmp_path, incidents=SqlIncidents(f"sqlite:///{tmp_path}/ledger.db"))
    channels = {"am": {"kind": "alertmanager", "url": server.url}}
    alerts = AlertsSpec.model_validate({"channels": channels, "default_channels": ["am"]})
    ports.catalog = replace(ports.catalog, alerts=alerts)
    ports.clock.at = datetime.now(UTC) - timedelta(minutes=30)  # it advances faster than the server's
    ports.notifiers = {"am": AlertmanagerNotifier(server.url)}

    def look_at(*subjects: str, firing: bool = True) -> list[str]:
        ports.clock.advance(timedelta(seconds=61))
        about = {"model": "shop", "kind": "drift_fault", "severity": "warning", "at": ports.clock()}
        findings = [Finding(**about, subject=name, what=f"{name} broke", firing=firing) for name in subjects]
        look(ports, observer="watch", findings=findings)
        shop = [alert["labels"] for alert in active(server.url) if alert["labels"]["model"] == "shop"]
        return sorted(labels["subject"] for labels in shop)

    assert look_at("open", "taken", "over") == ["open", "over", "taken"]
    number = next(each.number for each in ports.incidents.read() if each.subject == "taken")
    take_over(ports, number or 0, person="ada", because="asking the source")
    assert look_at("over", firing=False) == ["open", "taken"]
    server.kill()
    server.start()
    assert active(server.url) == []
    assert look_at() == ["open", "taken"]
    assert ports.incidents.waiting() == {}
    assert look_at("open", firing=False) == ["taken"]
