"""Builds a view's features of one day from what was known at each row's prediction time, and checks them."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from pipelines.messages.features import FeaturesRequest, FeaturesResult
from pipelines.rules.point_in_time_features import judge_features
from practices._connections import installation
from practices._operators import step_runner
from practices._operators.defaults import asset
from practices._operators.partition import day_of, hand_on
from practices._operators.record_verdict import settle
from practices._operators.step import StepPractice


class PointInTimeFeatures(StepPractice):
    """Build a view's features of one day, and again those of later days whose windows reach into it.

    A definition that changed without a new version is refused before anything is written. A broken constraint (range,
    share of nulls) fails the task with every reason after the rows were written: no event is sent, but the rows stay
    in the table. Returns the ``FeaturesResult``.
    """

    template_fields = ("view", "day")
    ui_color = "#d0e0e3"

    def __init__(self, *, view: str, day: str | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.view, self.day = view, day

    def execute(self, context: Context) -> dict[str, Any]:
        ports, day = installation.open_ports(), day_of(self.day, context)
        request = FeaturesRequest(view=self.view, day=day)
        runner = ports.catalog.dataset(ports.catalog.view(self.view).dataset).runner
        result = step_runner.run_step("build_features", request, FeaturesResult, runner=runner)
        settle(
            judge_features(result, ports.catalog.view(self.view)),
            subject=f"the features {self.view} of {day}",
            ledger_kind="data_verdict",
            model=self.view,
            version=None,
            ports=ports,
            context=context,
            on_fail="fail",
            details={"check": "point_in_time_features", "day": day.isoformat(), "table_version": result.version},
        )
        hand_on(context, asset(self.view, "features"), day)
        return result.model_dump(mode="json", by_alias=True)
