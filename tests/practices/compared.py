"""A candidate prepared beside the champion, a clock that is told the time, and a comparison that looks again."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

from airflow.sdk.exceptions import TaskDeferred

from pipelines.messages.rollout import RolloutState, RolloutTicket
from pipelines.spec.deployment import Deployment
from pipelines.steps import measure_experiment, measure_shadow
from pipelines.testing.ports import FixedClock
from pipelines.testing.rollout_target import FakeTarget
from practices._rollouts.stage_operator import ComparisonPractice
from tests.practices.practice_harness import MODEL, NOW, PracticeHarness

TICKET = RolloutTicket(
    model=MODEL, version="5", rollout_id="r1", champion="4", bundle="b", sha256="s" * 64, model_digest="d"
)


def _run(module: Any, harness: PracticeHarness, request: Any) -> Any:
    """A request travels as JSON."""
    return module.run(type(request).model_validate_json(request.model_dump_json(by_alias=True)), harness)


class Compared:
    """Version 5 is READY beside version 4; the steps are the real ones."""

    def __init__(self, harness: PracticeHarness, practice: type[ComparisonPractice], declared: Deployment) -> None:
        self.field, self.practice, self.clock = harness, practice, FixedClock(NOW)
        harness.clock = self.clock
        harness.declare(deployment=declared)
        harness.rollouts = self.target = FakeTarget("4", clock=self.clock)
        for step, module in (("measure_shadow", measure_shadow), ("measure_experiment", measure_experiment)):
            harness.answers[step] = partial(_run, module, harness)
        plan = {"strategy": declared.strategy, "lease_seconds": declared.lease, "guard": {"max_error_rate": 0.01}}
        state = self.target.create_rollout(MODEL, "r1", plan, expect=1, key="create")
        self.target.prepare(MODEL, "r1", "5", "b", "s" * 64, expect=state.generation, key="prepare")
        self.context: Any = None

    @property
    def state(self) -> RolloutState:
        return self.target.rollout(MODEL)

    def start(self, ticket: RolloutTicket = TICKET, **run: Any) -> dict[str, Any] | None:
        """The verdict of a try that begins; None: it waits."""
        self.field.pass_checklist(ticket, run=run.get("run", "manual__1"))
        return self._tried(lambda task, context: task.execute(context), ticket, **run)

    def look(self, after: float = 0.0) -> dict[str, Any] | None:
        """The verdict of the next look, so many seconds later; None: it waits on."""
        self.clock.advance(timedelta(seconds=after))
        return self._tried(lambda task, context: task.resume(context, {"moved": False}, **self.kept), TICKET)

    def _tried(self, how: Any, ticket: RolloutTicket, **run: Any) -> dict[str, Any] | None:
        self.context = self.field.context("deploy", "compare", **run)
        task = self.practice(task_id="compare", model=MODEL, ticket=ticket.model_dump(mode="json", by_alias=True))
        try:
            result: dict[str, Any] = how(task, self.context)
        except TaskDeferred as deferred:
            self.trigger, self.kept = deferred.trigger, deferred.kwargs or {}
            return None
        return result

    def verdicts(self) -> list[tuple[str, list[str]]]:
        """Outcome and reasons of each verdict on the ledger."""
        return [(details["outcome"], details["reasons"]) for _, details in self.field.lines("rollout")]
