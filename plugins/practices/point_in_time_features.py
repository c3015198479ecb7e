"""Builds a view's features from what was known at each row's prediction time, and publishes what satisfies its rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Refused, Unavailable
from pipelines.messages.features import (
    BuiltPartition,
    FeaturesRequest,
    FeaturesResult,
    PublishFeaturesRequest,
    PublishFeaturesResult,
)
from pipelines.ports import Ports
from pipelines.rules.point_in_time_features import judge_features
from pipelines.rules.quarantine import publication_faults
from pipelines.spec.features import FeatureView
from pipelines.spec.partitions import named_partition
from pipelines.verdict import Verdict
from practices._connections import installation
from practices._operators import step_runner
from practices._operators.defaults import asset
from practices._operators.partition import add_partition_key, day_of_rows, record_partition
from practices._operators.record_verdict import append_verdict, log_verdict
from practices._operators.step import StepPractice

MAX_REBUILDS, MAX_DAYS = 100, 31
"""How often days whose inputs were replaced are built again, before the task raises ``Unavailable``, and how many."""


@dataclass(frozen=True)
class Build:
    """Partitions as built, each with its verdict, and what became of them."""

    judged: list[tuple[BuiltPartition, Verdict]]
    published: PublishFeaturesResult


class PointInTimeFeatures(StepPractice):
    """Build a view's features of one day, of later days whose windows include it, and of all that are stale.

    Stale are days of which a validated table was replaced since they were built, also by ``airworthy restore``.
    A day whose newest audit on the ledger did not pass is refused, whatever the state of the task before this one.
    A definition that changed without a new version is refused before anything is built. A partition that violates a
    constraint is not published, and a former content of it is removed: nothing trains on it. The verdict of each is on
    the ledger. The task fails if that of its own day is refused. Of a panel it builds the period that is due with the
    day, and again those that read it; it is skipped where there is neither. Returns the ``PublishFeaturesResult``.
    """

    template_fields = ("view", "day")
    ui_color = "#d0e0e3"

    def __init__(self, *, view: str, day: str | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.view, self.day = view, day

    def execute(self, context: Context) -> dict[str, Any]:
        ports = installation.open_ports()
        view = ports.catalog.view(self.view)
        day = day_of_rows(view, ports.catalog.dataset(view.dataset), self.day, context)
        self._check_published(view.dataset, view.partition_key(day), ports)
        builds, due = self._build_until_inputs_rest(day, view, ports), view.due_with(day)
        if not any(build.judged for build in builds):
            raise AirflowSkipException(f"no rows of {self.view} are due with {day}, and none that were built read it")
        self._record(builds, day, due, context, ports)
        for key in sorted({*due, *(other for build in builds for other in build.published.appeared)}):
            add_partition_key(context, asset(self.view, "features"), view.partition_key(key))
        return builds[-1].published.model_dump(mode="json", by_alias=True)

    def _record(self, builds: Sequence[Build], day: date, due: Sequence[date], context: Context, ports: Ports) -> None:
        """The verdicts of the partitions that were built; ``Refused`` unless those that were due pass."""
        changed = {other for build in builds for other in build.published.changed}
        judged = {built.day: (built, verdict) for build in builds for built, verdict in build.judged}
        for other in sorted(judged.keys() - set(due)):
            if other in changed or not judged[other][1].passed:
                self._record_rebuilt(*judged[other], day, context, ports)
        for own in due:
            built, verdict = judged[own]
            key = ports.catalog.view(self.view).partition_key(own)
            facts = {"table_version": builds[-1].published.version, "rows_digest": built.digest}
            subject = f"the features {self.view} of {key}"
            record_partition(verdict, key, context, subject=subject, name=self.view, **facts)

    def _build_until_inputs_rest(self, day: date, view: FeatureView, ports: Ports) -> list[Build]:
        """Every build that was necessary, the last one last."""
        request, builds = FeaturesRequest(view=self.view, day=day), []
        while True:
            build = self._build(request, view, ports)
            builds.append(build)
            if not build.published.outdated:
                return builds
            if request.attempt == MAX_REBUILDS:
                raise Unavailable(f"inputs of {self.view} kept changing while {day} was built {MAX_REBUILDS} times")
            days = build.published.outdated[:MAX_DAYS]
            request = FeaturesRequest(view=self.view, day=day, days=days, attempt=request.attempt + 1)

    def _build(self, request: FeaturesRequest, view: FeatureView, ports: Ports) -> Build:
        """Build, judge and publish once."""
        runner = ports.catalog.dataset(view.dataset).runner
        result = step_runner.run_step("build_features", request, FeaturesResult, runner=runner)
        judged = [(built, judge_features(built, view)) for built in result.partitions]
        if not judged:
            return Build([], PublishFeaturesResult(view=view.view, table=result.table, version=None))
        refused = {built.day: [*verdict.reasons] for built, verdict in judged if not verdict.passed}
        publish = PublishFeaturesRequest(view=self.view, partitions=result.partitions, refused=refused)
        published = step_runner.run_step("publish_features", publish, PublishFeaturesResult, runner=runner)
        return Build(judged, published)

    def _record_rebuilt(
        self, built: BuiltPartition, verdict: Verdict, cause: date, context: Context, ports: Ports
    ) -> None:
        """The verdict on another day than the run's own: its incident tells of a refusal, and the task goes on."""
        details = {"check": verdict.rule, **named_partition(f"{built.day}"), "rebuilt_for": f"{cause}"}
        result = f"{built.day} {built.digest}"
        append_verdict(verdict, "data_verdict", self.view, None, ports, context, details, result)
        log_verdict(verdict, f"the features {self.view} of {built.day}, built again for {cause}")

    def _check_published(self, dataset: str, key: str, ports: Ports) -> None:
        """``Refused`` unless the ledger says that the partition was audited and published."""
        lines = ports.ledger.entries(model=dataset, kind="data_verdict")
        if faults := publication_faults((line.details for line in lines), key):
            hint = "clear publish_partition: marking it as success publishes nothing"
            raise Refused(f"{dataset} of {key} was not published; {self.view} is not built", [*faults, hint])
