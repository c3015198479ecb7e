"""A model of another kind lives beside those of the flights: customers and weeks, with labels that are known later."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

from pipelines import store_paths
from pipelines.adapters.airflow_rest import AirflowApi
from pipelines.cli.progress import Progress
from pipelines.demo.airflow_dags import models_of, stage_dag_ids, unpause, wait_until_idle
from pipelines.demo.backfilled_days import BackfilledDays
from pipelines.demo.first_releases import ENDED_RUN_STATES, FirstReleases
from pipelines.demo.people import DemoUsers
from pipelines.demo.purchases import DATASET, SOURCE
from pipelines.ports import LedgerEntry, Ports

MODEL = "buys_again"
FIRST, FIRST_BACKFILLED, RELEASE = date(1997, 1, 1), date(1997, 6, 30), date(1997, 7, 7)
"""The first day of the purchases, that from which Airflow takes them, and the Monday from which callers ask."""
WEEKS = 7
"""Mondays about which callers ask; on the last one the labels of the first two are known."""
HYPOTHESIS = "Who bought lately and often buys again."


class CustomersDemo:
    """Purchases day by day, a version that learns from the labels known at the begin of July, and seven Mondays.

    The days before July are taken by the steps alone, since Airflow would spend minutes on their thousand tasks.
    """

    def __init__(self, ports: Ports, airflow: AirflowApi, people: DemoUsers, progress: Progress) -> None:
        self.ports, self.airflow, self.people, self.progress = ports, airflow, people, progress
        self.mondays = [RELEASE + timedelta(weeks=number) for number in range(WEEKS)]
        days = [FIRST + timedelta(days=number) for number in range((self.mondays[-1] - FIRST).days)]
        self.past = [day for day in days if day < FIRST_BACKFILLED]
        life = [day for day in days if day >= FIRST_BACKFILLED]
        self.backfilled = BackfilledDays(life, ports.catalog.view_of(MODEL), ports, airflow, progress)

    @property
    def dataset(self) -> str:
        return DATASET

    @property
    def dag_ids(self) -> set[str]:
        return stage_dag_ids(DATASET, models_of(DATASET, self.ports))

    def begin_history(self) -> None:
        """Take the past, and have Airflow take the days after it while the demonstration goes on."""
        from pipelines.demo.past_days import take_days
        from pipelines.steps.labels.read_labels import held_days

        life = self.backfilled.days
        self.progress.begin_part(f"Customers: purchases of {self.past[0]} to {life[-1]}")
        held = held_days(self.ports.store, store_paths.validated(DATASET, SOURCE))
        if missing := [day for day in self.past if f"{day}" not in held]:
            take_days(missing, self.ports, DATASET)
        self.progress.print_note(f"{self.past[0]} to {self.past[-1]} were taken by the steps alone, without Airflow")
        self.progress.print_note(f"{life[0]} to {life[-1]} are backfilled by Airflow")
        unpause([DATASET], lambda stage: stage in ("ingest", "validate"), self.airflow)
        self.backfilled.start()

    def run(self) -> None:
        """Release the model, ask about each customer on each Monday, and hold the answers to what was bought."""
        self.progress.begin_part(f"{MODEL}: a row per customer and Monday, and its label thirty days later")
        self.backfilled.wait()
        unpause([MODEL], lambda stage: stage != "monitor", self.airflow)
        as_of = RELEASE - timedelta(days=1)
        FirstReleases([MODEL], as_of, HYPOTHESIS, self.ports, self.airflow, self.people, self.progress).run()
        if self.ports.endpoint.state(MODEL).version is None:
            return
        self._ask()
        self._monitor(self.mondays[-1])
        wait_until_idle([DATASET, MODEL], self.airflow, self.progress)
        unpause([DATASET, MODEL], lambda _: True, self.airflow)

    def _ask(self) -> None:
        from pipelines.demo.replay import replay

        if self._asked.exists():
            return
        summary = replay(self.mondays, [MODEL], self.ports)
        self._asked.touch()
        first, last = self.mondays[0], self.mondays[-1]
        self.progress.print_note(
            f"callers asked {summary.answered[MODEL]:,} times, about each active customer on each Monday from {first}"
            f" to {last}, with what was known on it"
        )

    @property
    def _asked(self) -> Path:
        """Marks that callers have asked."""
        return self.ports.settings.home / "run" / "asked_customers"

    def _monitor(self, monday: date) -> None:
        """Start monitoring of a Monday and wait until each check has said something."""
        dag_id = f"{MODEL}__monitor"
        unpause([MODEL], lambda stage: stage == "monitor", self.airflow)
        if self._verdicts(monday):
            return
        run = self.airflow.trigger(dag_id, {"day": f"{monday}"})

        def ended() -> tuple[bool, str]:
            state = next(each["state"] for each in self.airflow.runs(dag_id) if each["dag_run_id"] == run)
            return state in ENDED_RUN_STATES, f"monitoring of {monday}: {state}"

        self.progress.wait(ended, timeout=300, what="monitoring")
        for line in self._verdicts(monday):
            self.progress.print_note(f"{line.details['check']}: {line.details['outcome']}")
        for line in self.ports.ledger.entries(MODEL, kind="retrain_request")[-1:]:
            self.progress.print_note(f"a retraining is asked for: {'; '.join(line.details.get('reasons', []))}")

    def _verdicts(self, monday: date) -> Sequence[LedgerEntry]:
        lines = self.ports.ledger.entries(MODEL, kind="monitoring_verdict")
        return [line for line in lines if line.details.get("day") == f"{monday}"]
