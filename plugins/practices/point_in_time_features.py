"""Builds a view's features of one day from what was known at each row's prediction time, and checks them."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from pipelines.messages.features import FeaturesRequest, FeaturesResult
from pipelines.rules.point_in_time_features import judge_features
from practices._connections import installation
from practices._operators import step_runner
from practices._operators.defaults import asset
from practices._operators.partition import add_partition_key, day_of, record_day
from practices._operators.step import StepPractice


class PointInTimeFeatures(StepPractice):
    """Build a view's features of one day, and rebuild those of later days whose windows include it.

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
        ports, day = installation.open_ports(), day_of(self.day, context)
        view, request = ports.catalog.view(self.view), FeaturesRequest(view=self.view, day=day)
        runner = ports.catalog.dataset(view.dataset).runner
        result = step_runner.run_step("build_features", request, FeaturesResult, runner=runner)
        verdict, subject = judge_features(result, view), f"the features {self.view} of {day}"
        record_day(verdict, day, context, subject=subject, name=self.view, table_version=result.version)
        add_partition_key(context, asset(self.view, "features"), day)
        return result.model_dump(mode="json", by_alias=True)
