"""The exporter's metrics say what ledger and Airflow say, and what does not answer is a metric of its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry, generate_latest

from pipelines.errors import Unavailable
from pipelines.observability.collector import KEEP_SECONDS, InstallationCollector
from pipelines.ports import Incidents, Ledger
from pipelines.spec.worth import Worth
from pipelines.testing.ports import FixedClock, MemoryLedger, NoIncidents
from tests.observability.installation import StandingAirflow, StandingIncidents, lines_of_a_model

NOW = datetime(2013, 3, 2, 6, tzinfo=UTC)


def scrape(
    ledger: Ledger,
    airflow: StandingAirflow | None,
    incidents: Incidents | None = None,
    worth: dict[str, Worth | None] | None = None,
) -> dict[str, float]:
    """Sample, with its labels as Prometheus writes them, to its value."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(InstallationCollector(ledger, incidents or NoIncidents(), airflow, worth, now=lambda: NOW))
    lines = generate_latest(registry).decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_runs_heartbeats_and_requests_of_airflow_are_counted_and_aged() -> None:
    """A part without a heartbeat has no age; of several requests the oldest counts."""
    samples = scrape(MemoryLedger(), StandingAirflow(NOW))
    assert samples["airworthy_airflow_up"] == 1
    ages = {name: value for name, value in samples.items() if "heartbeat" in name}
    assert ages == {
        'airworthy_airflow_heartbeat_age_seconds{component="scheduler"}': 4,
        'airworthy_airflow_heartbeat_age_seconds{component="triggerer"}': 9,
    }
    assert samples['airworthy_airflow_runs{dag_id="m__deploy",state="queued"}'] == 1
    assert samples['airworthy_airflow_run_seconds{dag_id="m__train"}'] == 600
    assert samples['airworthy_airflow_waiting_seconds{dag_id="m__deploy"}'] == 3000
    assert samples['airworthy_airflow_waiting_requests{dag_id="m__deploy"}'] == 2


def test_the_ledgers_lines_are_counted_and_its_newest_verdicts_are_shown() -> None:
    """Per model: how often it was trained, released and taken back, and how it does beside its certificate."""
    ledger = MemoryLedger(FixedClock(NOW - timedelta(hours=2)))
    lines_of_a_model(ledger, "m")
    samples = scrape(ledger, None)
    assert samples['airworthy_releases_total{model="m"}'] == 2
    assert samples['airworthy_rollbacks_total{model="m"}'] == 1
    assert samples['airworthy_gates_total{model="m",outcome="PASS"}'] == 2
    assert samples['airworthy_release_age_seconds{model="m"}'] == 7200
    loss = samples['airworthy_performance_loss_share{metric="roc_auc",model="m",version="1"}']
    assert round(loss, 6) == 0.2
    assert samples['airworthy_drift_columns{kind="differs",model="m",version="1"}'] == 2
    assert not any(name.startswith("airworthy_airflow") for name in samples)


def test_worth_is_told_of_declared_models_alone_and_amounts_with_their_currency() -> None:
    """What is not measured has no sample: another model has no line on the ledger, and declares no amounts."""
    ledger = MemoryLedger(FixedClock(NOW - timedelta(hours=2)))
    lines_of_a_model(ledger, "m")
    worth = {"m": Worth(currency="USD", right_answer=1, wrong_answer=2, training_hour=40, serving_day=12), "new": None}
    samples = scrape(ledger, None, StandingIncidents(NOW), worth)
    assert samples['airworthy_releases_a_month{model="m"}'] == 60
    assert samples['airworthy_incidents_a_month{model="m"}'] == 120, "a window is a day at least"
    assert samples['airworthy_labelled_answers{model="m",outcome="right"}'] == 700
    assert samples['airworthy_answers_value_a_day{currency="USD",model="m"}'] == 50
    assert samples['airworthy_training_cost{currency="USD",model="m"}'] == 2
    assert samples['airworthy_serving_cost{currency="USD",model="m"}'] == 1
    assert samples['airworthy_time_to_recover_seconds{model="m"}'] == 3 * 3600
    assert not any("new" in name for name in samples)


def test_incidents_that_are_not_over_are_counted_and_aged_and_waiting_messages_told() -> None:
    """By model, severity and status; the oldest of several gives the age."""
    samples = scrape(MemoryLedger(), None, StandingIncidents(NOW))
    labels = '{model="m",severity="critical",status="open"}'
    assert samples[f"airworthy_incidents{labels}"] == 2
    assert samples[f"airworthy_incident_age_seconds{labels}"] == 7200
    assert samples['airworthy_incidents{model="m",severity="warning",status="acknowledged"}'] == 1
    assert samples['airworthy_messages_waiting{channel="pager"}'] == 3


def test_what_does_not_answer_leaves_out_its_own_metrics_alone() -> None:
    """Airflow is down: the ledger's metrics stay, and the other way round."""

    class LostLedger(MemoryLedger):
        def entries(self, *_: object, **__: object) -> list[object]:  # type: ignore[override]
            raise Unavailable("the database does not answer")

    ledger = MemoryLedger()
    lines_of_a_model(ledger, "m")
    without_airflow = scrape(ledger, StandingAirflow(NOW, answers=False))
    assert (without_airflow["airworthy_airflow_up"], without_airflow["airworthy_ledger_up"]) == (0, 1)
    assert 'airworthy_trainings_total{model="m"}' in without_airflow
    without_ledger = scrape(LostLedger(), StandingAirflow(NOW))
    assert (without_ledger["airworthy_airflow_up"], without_ledger["airworthy_ledger_up"]) == (1, 0)


def test_scrapes_within_ten_seconds_ask_once() -> None:
    """Two Prometheus servers cost the ledger and Airflow no more than one."""
    asked, seconds = [], [0.0]

    class CountedLedger(MemoryLedger):
        def entries(self, *_: object, **__: object) -> list[object]:  # type: ignore[override]
            asked.append(seconds[0])
            return []

    collector = InstallationCollector(CountedLedger(), NoIncidents(), None, monotonic=lambda: seconds[0])
    for moment in (0.0, KEEP_SECONDS - 1, KEEP_SECONDS, KEEP_SECONDS + 1):
        seconds[0] = moment
        list(collector.collect())
    assert asked == [0.0, KEEP_SECONDS]
