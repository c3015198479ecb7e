"""Collects the metrics of the installation at each scrape; what does not answer is a metric, not an error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from pipelines.errors import AirworthyError
from pipelines.observability.airflow_metrics import airflow_metrics
from pipelines.observability.incident_metrics import incident_metrics
from pipelines.observability.ledger_metrics import ledger_metrics
from pipelines.observability.model_worth import read_worth
from pipelines.observability.worth_metrics import worth_metrics
from pipelines.ports import Incidents, Ledger
from pipelines.spec.worth import Worth

KEEP_SECONDS = 10.0
"""Two scrapes within this time get the same numbers, so that several Prometheus servers cost no more than one."""
RUNS_OF = timedelta(days=1)


class AirflowFacts(Protocol):
    """What is asked of Airflow's API. Raises ``Unavailable`` or ``Refused``."""

    def health(self) -> dict[str, Any]: ...

    def runs(self, dag_id: str, **filters: Any) -> list[dict[str, Any]]: ...

    def unanswered_requests(self, dag_id: str) -> list[dict[str, Any]]: ...

    def import_errors(self) -> list[dict[str, Any]]: ...


class InstallationCollector(Collector):
    """``airflow`` None: no account of Airflow is declared, and its metrics are left out.

    ``worth``: declared model to what it declares of its worth; of a model that is not there nothing is told of this.
    """

    def __init__(
        self,
        ledger: Ledger,
        incidents: Incidents,
        airflow: AirflowFacts | None,
        worth: Mapping[str, Worth | None] | None = None,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger, self._incidents, self._airflow = ledger, incidents, airflow
        self._worth = worth or {}
        self._now, self._monotonic = now, monotonic
        self._kept: list[Metric] = []
        self._kept_until = float("-inf")

    def describe(self) -> Iterator[Metric]:
        """Nothing: names are known once they are collected, and registering must ask nobody."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """All metrics, at most ``KEEP_SECONDS`` old."""
        if self._monotonic() >= self._kept_until:
            self._kept = [*self._of_ledger(), *self._of_airflow()]
            self._kept_until = self._monotonic() + KEEP_SECONDS
        yield from self._kept

    def _of_ledger(self) -> list[Metric]:
        return _with_presence(
            "airworthy_ledger_up", "1 if the database of ledger and incidents answers.", self._read_ledger
        )

    def _read_ledger(self) -> list[Metric]:
        lines, incidents, now = self._ledger.entries(), self._incidents.read(), self._now()
        worth = {
            model: read_worth(
                [line for line in lines if line.model == model],
                [incident for incident in incidents if incident.model == model],
                declared,
                now,
            )
            for model, declared in self._worth.items()
        }
        active = [incident for incident in incidents if incident.is_active]
        return [
            *ledger_metrics(lines, now),
            *incident_metrics(active, self._incidents.waiting(), now),
            *worth_metrics(worth),
        ]

    def _of_airflow(self) -> list[Metric]:
        airflow = self._airflow
        if airflow is None:
            return []

        def read() -> list[Metric]:
            since = (self._now() - RUNS_OF).isoformat()
            return list(
                airflow_metrics(
                    airflow.health(),
                    airflow.runs("~", run_after_gte=since),
                    airflow.unanswered_requests("~"),
                    len(airflow.import_errors()),
                    self._now(),
                )
            )

        return _with_presence("airworthy_airflow_up", "1 if Airflow's API answers.", read)


def _with_presence(name: str, help_text: str, read: Callable[[], list[Metric]]) -> list[Metric]:
    """The metrics that ``read`` returns and one that says whether it could."""
    try:
        metrics, answers = read(), 1
    except AirworthyError:
        metrics, answers = [], 0
    presence = GaugeMetricFamily(name, help_text)
    presence.add_metric([], answers)
    return [presence, *metrics]
