"""Builds a view's features of one day from what was known at each row's prediction time, and checks them."""

from __future__ import annotations

from datetime import date
from typing import Any

from airflow.sdk import Context

from pipelines.errors import Refused
from pipelines.messages.features import FeaturesRequest, FeaturesResult
from pipelines.ports import Ports
from pipelines.rules.point_in_time_features import judge_features
from pipelines.rules.quarantine import publication_faults
from practices._connections import installation
from practices._operators import run_context, step_runner
from practices._operators.defaults import asset
from practices._operators.partition import add_partition_key, record_partition
from practices._operators.step import StepPractice


class PointInTimeFeatures(StepPractice):
    """Build a view's features of one day, and rebuild those of later days whose windows include it.

    A day whose newest audit on the ledger did not pass is refused, whatever the state of the task before this one.
    A definition that changed without a new version is refused before anything is written. A violated constraint
    (range, share of nulls) fails the task with every reason after the rows were written: no asset event is emitted,
    but the rows stay in the table. Returns the ``FeaturesResult``.
    """

    template_fields = ("view", "day")
    ui_color = "#d0e0e3"

    def __init__(self, *, view: str, day: str | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.view, self.day = view, day

    def execute(self, context: Context) -> dict[str, Any]:
        ports = installation.open_ports()
        day = run_context.parse_day(self.day, "day") if self.day else run_context.day(context)
        view, request = ports.catalog.view(self.view), FeaturesRequest(view=self.view, day=day)
        self._check_published(view.dataset, day, ports)
        runner = ports.catalog.dataset(view.dataset).runner
        result = step_runner.run_step("build_features", request, FeaturesResult, runner=runner)
        verdict, subject = judge_features(result, view), f"the features {self.view} of {day}"
        record_partition(verdict, f"{day}", context, subject=subject, name=self.view, table_version=result.version)
        add_partition_key(context, asset(self.view, "features"), f"{day}")
        return result.model_dump(mode="json", by_alias=True)

    def _check_published(self, dataset: str, day: date, ports: Ports) -> None:
        """``Refused`` unless the ledger says that the day was audited and published."""
        lines = ports.ledger.entries(model=dataset, kind="data_verdict")
        if faults := publication_faults((line.details for line in lines), f"{day}"):
            hint = "clear publish_partition: marking it as success publishes nothing"
            raise Refused(f"{dataset} of {day} was not published; {self.view} is not built", [*faults, hint])
