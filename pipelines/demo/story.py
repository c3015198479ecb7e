"""`airworthy demo` lands real flights, triggers every DAG of the models' life cycle, and waits for each to end."""

from __future__ import annotations

import argparse
import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pipelines import store_paths
from pipelines.adapters.airflow_rest import AirflowApi
from pipelines.adapters.notifier.file import alerts_file, read_alerts
from pipelines.cli import arguments, stack
from pipelines.cli.components import passwords
from pipelines.cli.components import ports as stack_ports
from pipelines.cli.progress import Progress, open_console
from pipelines.demo.airflow_dags import models_of, stage_dag_ids, unpause, wait_for_dags, wait_until_idle
from pipelines.demo.backfilled_days import BackfilledDays
from pipelines.demo.customers import CustomersDemo
from pipelines.demo.first_releases import ENDED_RUN_STATES, FirstReleases
from pipelines.demo.people import DemoUsers
from pipelines.demo.planted import HUMIDITY_AS_SHARE, drift_verdict, planted_days
from pipelines.demo.rollout import RolloutDemo
from pipelines.demo.source_systems import DATASETS
from pipelines.incidents.record import take_over
from pipelines.ports import LedgerEntry, Ports
from pipelines.settings import Settings
from pipelines.wiring import open_ports

DATASET = "flights"
HYPOTHESIS = "Weather and the delays of the last hours tell late flights from punctual ones."
LIVE_STAGES = {"arrive", "monitor"}


def add_parser(subparsers: Any) -> None:
    demo = subparsers.add_parser("demo", help="land real data and run models' whole life cycle in Airflow")
    demo.add_argument("--first", type=arguments.day, default=date(2013, 1, 1), help="first day of history")
    demo.add_argument("--last", type=arguments.day, default=date(2013, 2, 28), help="last day of history")
    demo.add_argument("--live", type=arguments.count, default=14, help="days that arrive one by one after the history")
    demo.add_argument("--only", choices=DATASETS, help="only the models of this dataset; none: all")
    demo.set_defaults(run=lambda options, ports: run(options, ports.settings))


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Run all parts of the demonstration; each skips what an earlier run has done."""
    progress = Progress(open_console())
    progress.begin_part("Starting Airflow, MLflow and the gateway")
    stack.start(settings, progress.console)
    ports = open_ports()  # again: the first start has just chosen the ports
    airflow = AirflowApi(f"http://127.0.0.1:{stack_ports(settings)['airflow']}", "admin", passwords(settings)["admin"])
    people = DemoUsers(settings, progress)
    flights = Demonstration(options, ports, airflow, people, progress)
    customers = CustomersDemo(ports, airflow, people, progress)
    if options.only == customers.dataset:
        wait_for_dags(customers.dag_ids, airflow, progress)
        customers.begin_history()
        customers.run()
        return flights.summarize()
    wait_for_dags(flights.dag_ids | (set() if options.only else customers.dag_ids), airflow, progress)
    flights.unpause_dags()
    flights.backfill_history()
    flights.train_and_release()
    if options.only is None:
        customers.begin_history()
    flights.serve_live_days()
    flights.wait_until_idle()
    if options.only is None:
        customers.run()
    flights.deploy_next_version()
    return flights.summarize()


class Demonstration:
    """The parts of the demonstration. DAGs make every change; this class lands files, sends requests and waits."""

    def __init__(
        self, options: argparse.Namespace, ports: Ports, airflow: AirflowApi, people: DemoUsers, progress: Progress
    ) -> None:
        self.ports, self.airflow, self.people, self.progress = ports, airflow, people, progress
        count = (options.last - options.first).days + 1
        self.history = [options.first + timedelta(days=number) for number in range(count)]
        self.live = [options.last + timedelta(days=number + 1) for number in range(options.live)]
        self.models = models_of(DATASET, ports)
        self.dag_subjects = [DATASET, "airworthy", *(model.model for model in self.models)]
        self.view = self.models[0].view
        self.unshown: list[str] = []
        """What did not end as the demonstration has it, with why."""

    @property
    def dag_ids(self) -> set[str]:
        return stage_dag_ids(DATASET, self.models)

    def unpause_dags(self) -> None:
        """Unpause all but those that only the live days need.

        Monitoring has nothing to watch yet, and each day of 2013 is late: the arrival watcher would ingest it, too.
        """
        unpause(self.dag_subjects, lambda stage: stage not in LIVE_STAGES, self.airflow)

    def backfill_history(self) -> None:
        """Land the history and backfill it day by day."""
        first, last = self.history[0], self.history[-1]
        self.progress.begin_part(f"History: {first} to {last}, {len(self.history)} days, backfilled by Airflow")
        view = self.ports.catalog.view(self.view)
        backfilled = BackfilledDays(self.history, view, self.ports, self.airflow, self.progress)
        backfilled.start()
        backfilled.wait()

    def train_and_release(self) -> None:
        """Train each model that is not live yet on all that is known by the end of the history."""
        self.progress.begin_part("First models: train, evaluate, approve, release")
        self.first_releases().run()

    def first_releases(self) -> FirstReleases:
        models = [model.model for model in self.models]
        return FirstReleases(models, self.history[-1], HYPOTHESIS, self.ports, self.airflow, self.people, self.progress)

    def serve_live_days(self) -> None:
        """For each day: predict its flights before they depart, then land its files; plant one fault and mend it."""
        from pipelines.demo.land import land
        from pipelines.demo.replay import replay

        self.progress.begin_part(
            f"Live: {self.live[0]} to {self.live[-1]}, predictions first, then the day's files arrive"
        )
        unpause(self.dag_subjects, lambda stage: stage in LIVE_STAGES, self.airflow)
        answered = self._read_answered_days()
        for model in self.staged_models if len(answered) < len(self.live) else []:  # its next version is deployed last
            self.progress.wait(lambda model=model: self._deploy_status(model), timeout=300, what="deployments to end")  # type: ignore[misc]
            self.airflow.pause(f"{model}__deploy")
        for day in self.live:
            if day.isoformat() not in answered:
                replay([day], [model.model for model in self.models], self.ports)
                answered.append(day.isoformat())
                self._answered_days_file().write_text(json.dumps(answered))
            faulty = planted_days(self.live)
            if faulty and day == faulty[0] and not self._fault_marker.exists():
                self.progress.print_note(
                    f"planted: {HUMIDITY_AS_SHARE.text}, {faulty[0]} to {faulty[-1]}; every check of the data allows it"
                )
            land(day, day, self.ports, fault=HUMIDITY_AS_SHARE if day in faulty else None)
            self.progress.wait(lambda day=day: self._arrival_progress(day), timeout=300, what=f"{day} to arrive")  # type: ignore[misc]
            if faulty and day == faulty[-1] and not self._fault_marker.exists():
                self._mend_planted_fault(faulty)

    @property
    def _fault_marker(self) -> Path:
        """Marks that the planted fault was found and mended."""
        return self.ports.settings.home / "run" / "fault_mended"

    def _mend_planted_fault(self, days: list[date]) -> None:
        """Wait until monitoring names the column that broke, deliver its days as they should be, and wait again."""
        from pipelines.demo.land import land

        model, fault = self.models[0].model, HUMIDITY_AS_SHARE

        def lines() -> list[LedgerEntry]:
            return self.ports.ledger.entries(model, kind="monitoring_verdict")

        def checked(after: int, faulty: bool) -> tuple[bool, str]:
            verdict = drift_verdict(lines(), days[-1], after)
            broken = verdict is not None and fault.column in (verdict.details.get("facts") or {}).get("faults", [])
            what = f"{fault.column} is to {'break' if faulty else 'be well again'}"
            return verdict is not None and broken is faulty, f"drift check of {days[-1]}: {what}"

        if self.ports.endpoint.state(model).version is None:
            self.progress.print_note(f"{model} is not live, so nothing watches the fault; it is mended all the same")
        else:
            self.progress.wait(lambda: checked(0, faulty=True), timeout=300, what=f"monitoring to find {fault.column}")
        verdict = drift_verdict(lines(), days[-1])
        for reason in verdict.details.get("reasons", []) if verdict else []:
            self.progress.print_note(f"found by check_drift: {reason}")
        if verdict is not None:
            self._show_incident(model, fault.column)
        land(days[0], days[-1], self.ports, sources=[fault.source], force=True)
        self.progress.print_note(f"answered: {fault.source} of {days[0]} to {days[-1]} is delivered again, in per cent")
        if verdict is not None:
            after = verdict.number
            self.progress.wait(
                lambda: checked(after, faulty=False), timeout=300, what=f"{fault.column} to be well again"
            )
        self._fault_marker.touch()

    def _show_incident(self, model: str, column: str) -> None:
        """Wait until people were told of the column, show the message, and take the incident."""
        home = self.ports.settings.home

        def titles() -> list[str]:
            return [str(notice["title"]) for notice in read_alerts(home)]

        def is_told() -> tuple[bool, str]:
            return any(column in title for title in titles()), f"{len(titles())} message(s) so far"

        self.progress.wait(is_told, timeout=300, what="the incident to be told")
        title = next(title for title in reversed(titles()) if column in title)
        self.progress.print_note(f"told by the channel log ({alerts_file(home)}): {title}")
        for incident in self.ports.incidents.read(active_only=True):
            if (incident.model, incident.subject, incident.status) == (model, column, "open") and incident.number:
                take_over(self.ports, incident.number, person="ml_lead", because="the source delivers the days again")
                self.progress.print_note(f"taken: airworthy incidents ack {incident.number}, by ml_lead")
        self.progress.print_note("see all: airworthy incidents --all, or the DAG airworthy__incidents")

    def _deploy_status(self, model: str) -> tuple[bool, str]:
        """Whether no deployment is active: Airflow would not continue it once its DAG is paused."""
        going_on = [run for run in self.airflow.runs(f"{model}__deploy") if run["state"] not in ENDED_RUN_STATES]
        return not going_on, f"{len(going_on)} deployment(s) of {model} are active"

    def _answered_days_file(self) -> Any:
        return self.ports.settings.home / "run" / "answered.json"

    def _read_answered_days(self) -> list[str]:
        path = self._answered_days_file()
        return json.loads(path.read_text()) if path.exists() else []

    def _arrival_progress(self, day: date) -> tuple[bool, str]:
        refused = self.airflow.runs(f"{DATASET}__validate", state="failed", partition_key_pattern=day.isoformat())
        return day in self.ports.store.days(store_paths.features(self.view)) or bool(
            refused
        ), f"{day} was answered and landed; Airflow is picking it up"

    def wait_until_idle(self) -> None:
        """Wait until no run is queued or running: neither monitoring nor what it triggers."""
        self.progress.begin_part("Monitoring, and the runs that it triggers")
        wait_until_idle(self.dag_subjects, self.airflow, self.progress)

    @property
    def staged_models(self) -> list[str]:
        return [model.model for model in self.models if model.deployment.compares_versions]

    def deploy_next_version(self) -> None:
        """Deploy in stages what was approved meanwhile, under the traffic of callers."""
        after = self.live[-1] + timedelta(days=1)
        for model in self.staged_models:
            rollouts = RolloutDemo(model, after, self.ports, self.airflow, self.people, self.progress)
            rollouts.run()
            self.unshown += rollouts.unexpected

    def summarize(self) -> int:
        """Print what happened, where to look, and what was not shown; 1 if anything was not."""
        from pipelines.cli.status import print_summary

        self.progress.begin_part("What happened")
        print_summary(self.ports, self.progress.console)
        print()
        print(stack.describe(self.ports.settings))
        for what in self.unshown:
            self.progress.print_note(f"not shown: {what}; `make demo` tries it again")
        return 1 if self.unshown else 0
