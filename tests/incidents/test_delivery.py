"""Messages reach their channels once and in order: through floods, dead channels and senders that are killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines import store_paths
from pipelines.adapters.incidents.sql import SqlIncidents
from pipelines.adapters.notifier.file import FileNotifier
from pipelines.errors import Unavailable
from pipelines.incidents.delivery import deliver
from pipelines.incidents.look import look
from pipelines.incidents.record import take, take_over
from pipelines.messages.incident import Finding, Notice
from pipelines.settings import REPOSITORY
from pipelines.spec.alerts import AlertsSpec
from pipelines.testing.ports import FakePorts

ADDRESS = "http://airflow"


class KeptNotices:
    """A channel that keeps what it takes; ``down``: it takes nothing."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.down = False

    def send(self, notice: Notice) -> None:
        if self.down:
            raise Unavailable("the channel does not answer")
        self.notices.append(notice)


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    made = FakePorts.make(tmp_path, incidents=SqlIncidents(f"sqlite:///{tmp_path}/ledger.db"))
    made.notifiers = {"log": KeptNotices()}
    return made


def declare(ports: FakePorts, **alerts: Any) -> None:
    ports.catalog = ports.catalog.__class__(
        ports.catalog.datasets, ports.catalog.views, ports.catalog.models, {}, {}, AlertsSpec.model_validate(alerts)
    )


def finding(ports: FakePorts, subject: str = "price", model: str = "churn", **changes: Any) -> Finding:
    usual = {"model": model, "kind": "drift_fault", "subject": subject, "firing": True, "at": ports.clock()}
    return Finding.model_validate({**usual, "severity": "warning", "what": f"{subject} broke", **changes})


def test_a_message_says_what_since_when_what_was_done_and_what_to_do_with_links(ports: FakePorts) -> None:
    take(
        ports,
        [
            finding(
                ports,
                done="nothing was changed",
                run="churn__monitor/r 1",
                report=ports.store.uri(store_paths.drift_report("churn", date(2013, 3, 1))),
                numbers={"weight": 0.02},
            )
        ],
    )
    assert deliver(ports, "me", airflow=ADDRESS) == 1
    [notice] = ports.notifiers["log"].notices
    assert notice.title == "[warning] churn: price broke"
    for line in (
        "What: price broke",
        "Affects: the live version is asked with a broken column",
        "Since: 2013-03-01 06:00 UTC",
        "Done already: nothing was changed",
        "(docs/incidents.md#drift-fault)",
        f"Run: {ADDRESS}/dags/churn__monitor/runs/r%201",
        f"Report: {ADDRESS}/airworthy/store/reports/drift/churn/2013-03-01.html",
        "Numbers: weight 0.02",
        'airworthy incidents ack 1 --why "…"',
    ):
        assert line in notice.body


def test_ten_thousand_findings_about_fifty_models_are_one_message_a_model_and_none_is_lost(ports: FakePorts) -> None:
    flood = [finding(ports, f"c{number // 50}", f"m{number % 50}") for number in range(10_000)]
    for start in range(0, len(flood), 2_500):
        take(ports, flood[start : start + 2_500])
    sent = deliver(ports, "me", airflow=ADDRESS)
    notices = ports.notifiers["log"].notices
    assert sent == len(notices) == 50
    assert sum(len(notice.incidents) for notice in notices) == 10_000
    assert notices[0].title == "[warning] m0: 200 incidents"
    assert len(notices[0].body.splitlines()) == 22
    assert ports.incidents.waiting() == {}


def test_what_comes_within_the_minute_waits_for_the_next_message_about_the_model(ports: FakePorts) -> None:
    for subject in ("price", "age", "sex"):
        take(ports, [finding(ports, subject)])
        deliver(ports, "me", airflow=ADDRESS)
        ports.clock.advance(timedelta(seconds=10))
    assert [len(notice.incidents) for notice in ports.notifiers["log"].notices] == [1]
    ports.clock.advance(timedelta(seconds=60))
    deliver(ports, "me", airflow=ADDRESS)
    assert [len(notice.incidents) for notice in ports.notifiers["log"].notices] == [1, 2]


def test_a_dead_channel_keeps_its_messages_in_order_and_the_others_tell_that_it_is_dead(ports: FakePorts) -> None:
    declare(ports, channels={"log": {"kind": "file"}, "hook": {"kind": "file"}}, default_channels=["log", "hook"])
    hook = ports.notifiers["hook"] = KeptNotices()
    hook.down = True
    for number in range(8):
        take(ports, [finding(ports, f"c{number}", f"m{number}")])
        look(ports, observer="watch", airflow=ADDRESS)
        ports.clock.advance(timedelta(minutes=20))
    told = [incident.kind for notice in ports.notifiers["log"].notices for incident in notice.incidents]
    assert told.count("channel_silent") == 1
    hook.down = False
    look(ports, observer="watch", airflow=ADDRESS)
    assert [notice.incidents[0].subject for notice in hook.notices][:8] == [f"c{number}" for number in range(8)]
    assert ports.incidents.waiting().get("hook", 0) == 0
    assert not [incident for incident in ports.incidents.read(active_only=True) if incident.kind == "channel_silent"]


def test_who_takes_an_incident_is_told_to_the_others_and_it_escalates_no_more(ports: FakePorts) -> None:
    take(ports, [finding(ports, severity="critical")])
    look(ports, observer="watch", airflow=ADDRESS)
    ports.clock.advance(timedelta(minutes=16))
    look(ports, observer="watch", airflow=ADDRESS)
    take_over(ports, 1, person="ada", because="asking the source")
    for _ in range(5):
        ports.clock.advance(timedelta(minutes=60))
        look(ports, observer="watch", airflow=ADDRESS)
    titles = [notice.title for notice in ports.notifiers["log"].notices]
    assert titles == [
        "[critical] churn: price broke",
        "[critical] nobody took it yet: churn: price broke",
        "[critical] acknowledged: churn: price broke",
    ]
    assert "Acknowledged: by ada: asking the source" in ports.notifiers["log"].notices[-1].body


def test_what_a_refused_day_causes_is_told_only_if_it_outlasts_it(ports: FakePorts) -> None:
    refused = finding(ports, "day", "flights", kind="data_refused")
    take(ports, [finding(ports, "auc", "flight_delay", kind="performance"), refused])
    look(ports, observer="watch", airflow=ADDRESS)
    assert [notice.incidents[0].kind for notice in ports.notifiers["log"].notices] == ["data_refused"]
    ports.clock.advance(timedelta(minutes=2))
    take(ports, [refused.model_copy(update={"firing": False, "at": ports.clock()})])
    look(ports, observer="watch", airflow=ADDRESS)
    kinds = [notice.incidents[0].kind for notice in ports.notifiers["log"].notices]
    assert kinds[1:] == ["data_refused", "performance"]


KILLED = """
import os, signal, sys
from pathlib import Path
from pipelines.adapters.incidents.sql import SqlIncidents
from pipelines.adapters.notifier.file import FileNotifier
from pipelines.incidents.delivery import deliver
from pipelines.testing.ports import FakePorts

folder, where = Path(sys.argv[1]), sys.argv[2]
ports = FakePorts.make(folder, incidents=SqlIncidents(f"sqlite:///{folder}/ledger.db"))
kill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
file = FileNotifier(folder / "alerts.jsonl")

class Channel:
    def send(self, notice):
        if where == "before it sends":
            kill()
        file.send(notice)
        if where == "after it sent":
            kill()

ports.notifiers = {"log": Channel()}
if where == "after it noted that":
    noted = ports.incidents.sent
    ports.incidents.sent = lambda *arguments: (noted(*arguments), kill())
deliver(ports, "killed", airflow="")
"""


@pytest.mark.parametrize("where", ["before it sends", "after it sent", "after it noted that"])
def test_a_sender_that_is_killed_loses_nothing_keeps_the_order_and_doubles_one_message_at_most(
    where: str, ports: FakePorts, tmp_path: Path
) -> None:
    for number in range(3):
        take(ports, [finding(ports, "price", f"m{number}")])
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), where],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    ports.notifiers = {"log": FileNotifier(tmp_path / "alerts.jsonl")}
    ports.clock.advance(timedelta(minutes=2))
    deliver(ports, "next", airflow="")
    ids = [json.loads(line)["id"] for line in (tmp_path / "alerts.jsonl").read_text().splitlines()]
    assert list(dict.fromkeys(ids)) == ["log-1", "log-2", "log-3"]
    assert len(ids) == 3 + (where == "after it sent")
    assert ids == sorted(ids)
    assert ports.incidents.waiting() == {}
    assert (tmp_path / "alerts.jsonl").stat().st_mode & 0o777 == 0o600
