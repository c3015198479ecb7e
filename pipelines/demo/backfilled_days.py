"""Days of the demonstration's data land, and a backfill of Airflow takes them until their rows are built."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date

from pipelines import store_paths
from pipelines.adapters.airflow_rest import AirflowApi
from pipelines.cli.progress import Progress
from pipelines.ports import Ports
from pipelines.spec.features import FeatureView


class BackfilledDays:
    """The ``days`` of the view's dataset, ascending and without a hole."""

    def __init__(
        self, days: Sequence[date], view: FeatureView, ports: Ports, airflow: AirflowApi, progress: Progress
    ) -> None:
        self.days, self.view, self.ports, self.airflow, self.progress = days, view, ports, airflow, progress
        self.row_days = {row_day for day in days for row_day in view.due_with(day)}
        """The days of rows that these days complete: themselves, or the periods of a panel."""

    @property
    def built(self) -> set[date]:
        return set(self.ports.store.days(store_paths.features(self.view.view))) & self.row_days

    def start(self) -> None:
        """Land the days and backfill them, unless all is built or a backfill is active."""
        from pipelines.demo.land import land

        if self.built == self.row_days:
            self.progress.print_note("is complete already")
            return
        land(self.days[0], self.days[-1], self.ports, self.view.dataset)
        dag = f"{self.view.dataset}__ingest"
        if not any(backfill["completed_at"] is None for backfill in self.airflow.backfills(dag)):
            self.airflow.backfill(dag, self.days[0], self.days[-1], max_active_runs=4, reprocess="failed")

    def wait(self) -> None:
        """Until the rows of all days are built, or a day has failed for each that are not."""
        self.progress.wait(self._progress, timeout=1200, what="ingesting, validating and building features")

    def _progress(self) -> tuple[bool, str]:
        built, dataset = self.built, self.view.dataset
        states = Counter(run["state"] for run in self.airflow.runs(f"{dataset}__ingest"))
        refused = {run["partition_key"] for run in self.airflow.runs(f"{dataset}__validate", state="failed")}
        failed = states["failed"] + len(refused)
        noun = "day" if self.view.panel is None else self.view.panel.calendar.noun
        return (
            failed + len(built) >= len(self.row_days),
            f"{len(built)} of {len(self.row_days)} {noun}s have features, {failed} failed",
        )
