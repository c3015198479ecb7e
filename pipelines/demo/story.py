"""`airworthy demo` lands real flights, triggers every DAG of the models' life cycle, and waits for each to end."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Mapping
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
from pipelines.demo.people import DemoUsers
from pipelines.demo.planted import HUMIDITY_AS_SHARE, drift_verdict, planted_days
from pipelines.demo.rollout import RolloutDemo
from pipelines.errors import Refused
from pipelines.incidents.record import take_over
from pipelines.ledger.run_verdicts import refusal_text
from pipelines.ledger.version_state import State, known_as, read_versions, versions_in
from pipelines.ports import LedgerEntry, Ports
from pipelines.settings import Settings
from pipelines.spec.model import ModelSpec
from pipelines.wiring import open_ports

DATASET = "flights"
HYPOTHESIS = "Weather and the delays of the last hours tell late flights from punctual ones."
ENDED_RUN_STATES = {"success", "failed"}
STAGES = ("train", "evaluate", "deploy")
LIVE_STAGES = {"arrive", "monitor"}


def add_parser(subparsers: Any) -> None:
    demo = subparsers.add_parser("demo", help="land real flights and run a model's whole life cycle in Airflow")
    demo.add_argument("--first", type=arguments.day, default=date(2013, 1, 1), help="first day of history")
    demo.add_argument("--last", type=arguments.day, default=date(2013, 2, 28), help="last day of history")
    demo.add_argument("--live", type=arguments.count, default=14, help="days that arrive one by one after the history")
    demo.set_defaults(run=lambda options, ports: run(options, ports.settings))


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Run all parts of the demonstration; each skips what an earlier run has done."""
    progress = Progress(open_console())
    progress.begin_part("Starting Airflow, MLflow and the gateway")
    stack.start(settings, progress.console)
    ports = open_ports()  # again: the first start has just chosen the ports
    airflow = AirflowApi(f"http://127.0.0.1:{stack_ports(settings)['airflow']}", "admin", passwords(settings)["admin"])
    story = Demonstration(options, ports, airflow, DemoUsers(settings, progress), progress)
    story.unpause_dags()
    story.backfill_history()
    story.train_and_release()
    story.serve_live_days()
    story.wait_until_idle()
    story.deploy_next_version()
    return story.summarize()


class Demonstration:
    """The parts of the demonstration. DAGs make every change; this class lands files, sends requests and waits."""

    def __init__(
        self, options: argparse.Namespace, ports: Ports, airflow: AirflowApi, people: DemoUsers, progress: Progress
    ) -> None:
        self.ports, self.airflow, self.people, self.progress = ports, airflow, people, progress
        count = (options.last - options.first).days + 1
        self.history = [options.first + timedelta(days=number) for number in range(count)]
        self.live = [options.last + timedelta(days=number + 1) for number in range(options.live)]
        self.models: list[ModelSpec] = list(ports.catalog.models.values())
        self.view = self.models[0].view
        self.unshown: list[str] = []
        """What did not end as the demonstration has it, with why."""

    def unpause_dags(self) -> None:
        """Wait until every DAG is there, then unpause all but those that only the live days need.

        Monitoring has nothing to watch yet, and each day of 2013 is late: the arrival watcher would ingest it, too.
        """
        expected = {f"{DATASET}__{stage}" for stage in ("ingest", "arrive", "validate")} | {
            f"{model.model}__{stage}"
            for model in self.models
            for stage in ("train", "evaluate", "deploy", "rollback", "monitor")
        }
        expected |= {f"{model.model}__drill" for model in self.models if model.deployment.rollback.drill}

        def parsed() -> tuple[bool, str]:
            dag_ids = {dag["dag_id"] for dag in self.airflow.dags()}
            return expected <= dag_ids, f"{len(expected & dag_ids)} of {len(expected)} DAGs are parsed"

        self.progress.wait(parsed, timeout=180, what="parsing the DAGs")
        for error in self.airflow.import_errors():
            self.progress.print_note(f"import error in {error['filename']}: {error['stack_trace'][-300:]}")
        self._unpause(lambda stage: stage not in LIVE_STAGES)

    def _unpause(self, is_selected: Callable[[str], bool]) -> None:
        for dag in self.airflow.dags():
            if dag["is_paused"] and is_selected(dag["dag_id"].rpartition("__")[2]):
                self.airflow.unpause(dag["dag_id"])

    def backfill_history(self) -> None:
        """Land the history and backfill it day by day."""
        from pipelines.demo.land import land

        first, last = self.history[0], self.history[-1]
        days = set(self.history)
        self.progress.begin_part(f"History: {first} to {last}, {len(days)} days, backfilled by Airflow")
        missing = days - self._days_with_features()
        if not missing:
            self.progress.print_note("is complete already")
            return
        land(first, last, self.ports)
        dag = f"{DATASET}__ingest"
        if not any(backfill["completed_at"] is None for backfill in self.airflow.backfills(dag)):
            self.airflow.backfill(dag, min(missing), max(missing), max_active_runs=4, reprocess="failed")
        self.progress.wait(
            lambda: self._history_progress(days), timeout=1200, what="ingesting, validating and building features"
        )

    def _days_with_features(self) -> set[date]:
        return set(self.ports.store.days(store_paths.features(self.view)))

    def _history_progress(self, days: set[date]) -> tuple[bool, str]:
        built = self._days_with_features() & days
        states = Counter(run["state"] for run in self.airflow.runs(f"{DATASET}__ingest"))
        refused = {run["partition_key"] for run in self.airflow.runs(f"{DATASET}__validate", state="failed")}
        ended = states["failed"] + len(refused) + len(built) >= len(days)
        return ended, f"{len(built)} of {len(days)} days have features, {states['failed'] + len(refused)} failed"

    def train_and_release(self) -> None:
        """Train each model that is not live yet on all that is known by the end of the history."""
        self.progress.begin_part("First models: train, evaluate, approve, release")
        waiting = [model.model for model in self.models if not self.ports.endpoint.state(model.model).version]
        failed_before = {run["dag_run_id"] for model in waiting for run in self._failed_runs(model).values()}
        for model in waiting:
            self._train_or_deploy(model)
        if waiting:

            def released() -> tuple[bool, str]:
                for model in waiting:
                    self.people.answer(f"{model}__deploy")
                return self._release_progress(waiting, failed_before)

            self.progress.wait(released, timeout=900, what="training and releasing")
        else:
            self.progress.print_note("were live already")

    def _train_or_deploy(self, model: str) -> None:
        """Start what a model that is not live lacks; nothing while one of its runs is active."""
        runs = [run for stage in STAGES for run in self.airflow.runs(f"{model}__{stage}")]
        if any(run["state"] not in ENDED_RUN_STATES for run in runs):
            return
        known = read_versions(self.ports.ledger.entries(model))
        if approved := versions_in(known, State.APPROVED, State.FAILED_BEFORE_TRAFFIC):
            self.progress.print_note(f"version {approved[0]} of {model} is approved and not live; it is deployed again")
            self.airflow.trigger(f"{model}__deploy", {"version": approved[0]})
        else:
            self.people.train(model, {"hypothesis": HYPOTHESIS, "as_of": self.history[-1].isoformat()})

    def _failed_runs(self, model: str) -> dict[str, dict[str, Any]]:
        """DAG to its newest run, of the stages whose newest run has failed."""
        newest = {f"{model}__{stage}": self.airflow.runs(f"{model}__{stage}")[:1] for stage in STAGES}
        return {dag_id: run for dag_id, runs in newest.items() for run in runs if run["state"] == "failed"}

    def _release_progress(self, models: list[str], failed_before: set[str]) -> tuple[bool, str]:
        live = {model: self.ports.endpoint.state(model).version for model in models}
        stages = {model: self._stage_status(model) for model in models}
        failed = [
            f"{dag_id}: {self._refusal(model, dag_id, run) or 'its log says why'}"
            for model in models
            for dag_id, run in self._failed_runs(model).items()
            if run["dag_run_id"] not in failed_before
        ]
        if failed:
            raise Refused("the first models were not deployed; `make demo` tries what failed again", failed)
        rejected = {model for model in models if not live[model] and self._is_rejected(model)}
        statuses = {
            model: "live" if live[model] else "refused by a gate" if model in rejected else stages[model]
            for model in models
        }
        ended = all(live[model] or model in rejected for model in models)
        return ended, ", ".join(f"{model}: {what}" for model, what in statuses.items())

    def _refusal(self, model: str, dag_id: str, run: Mapping[str, Any]) -> str:
        return refusal_text(self.ports.ledger.entries(model), f"{dag_id}/{run['dag_run_id']}")

    def _is_rejected(self, model: str) -> bool:
        """Whether a gate rejected the newest candidate, after which no DAG follows."""
        newest = self.ports.registry.versions(model)[:1]
        runs = self.airflow.runs(f"{model}__evaluate")[:1]
        ended = bool(runs) and runs[0]["state"] in ENDED_RUN_STATES
        known = read_versions(self.ports.ledger.entries(model))
        return ended and bool(newest) and known_as(known.get(newest[0].version), State.REJECTED)

    def _stage_status(self, model: str) -> str:
        for stage in reversed(STAGES):
            if runs := self.airflow.runs(f"{model}__{stage}"):
                return f"{stage} {runs[0]['state']}"
        return "waiting"

    def serve_live_days(self) -> None:
        """For each day: predict its flights before they depart, then land its files; plant one fault and mend it."""
        from pipelines.demo.land import land
        from pipelines.demo.replay import replay

        self.progress.begin_part(
            f"Live: {self.live[0]} to {self.live[-1]}, predictions first, then the day's files arrive"
        )
        self._unpause(lambda stage: stage in LIVE_STAGES)
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
        return day in self._days_with_features() or bool(
            refused
        ), f"{day} was answered and landed; Airflow is picking it up"

    def wait_until_idle(self) -> None:
        """Wait until no run is queued or running: neither monitoring nor what it triggers."""
        self.progress.begin_part("Monitoring, and the runs that it triggers")
        idle_polls = 0

        def idle() -> tuple[bool, str]:
            nonlocal idle_polls
            busy = Counter(
                run["dag_id"]
                for dag in self.airflow.dags()
                if not dag["dag_id"].endswith("__arrive")
                for state in ("running", "queued")
                for run in self.airflow.runs(dag["dag_id"], state=state)
            )
            idle_polls = 0 if busy else idle_polls + 1
            return idle_polls >= 6, ", ".join(f"{count} x {dag}" for dag, count in busy.items()) or "all runs ended"

        self.progress.wait(idle, timeout=600, what="the last runs to end")

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
