"""A whole deploy run without a scheduler: tasks are deferred, tried again, and killed where a test says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from pipelines.errors import Refused
from pipelines.ledger.required_evidence import REQUIRED_GATES
from pipelines.messages.rollout import RolloutState, RolloutTicket
from pipelines.spec.deployment import Deployment
from pipelines.spec.strategy import Analysis, Canary
from pipelines.steps import weigh_release, weigh_rollout
from pipelines.testing.ports import FixedClock, MemoryLedger
from pipelines.testing.rollout_target import FakeTarget
from practices._rollouts.operator import RolloutPractice
from practices.canary_step import CanaryStep
from practices.candidate_preparation import CandidatePreparation
from practices.champion_release import ChampionRelease
from practices.retirement import Retirement
from practices.rollout_analysis import RolloutAnalysis
from practices.rollout_rollback import RolloutRollback
from tests.practices.practice_harness import MODEL, NOW, PracticeHarness

CANARY = Deployment(
    strategy="canary",
    canary=Canary(steps=[5, 50], increment_interval=60, max_step_duration=300, error_threshold=0.05),
    analysis=Analysis(interval=30, minimum_units=50),
    lease=90,
)
TICKET = RolloutTicket(
    model=MODEL, version="5", rollout_id="r5", champion="4", bundle="bundles/5", sha256="s5", model_digest="d5"
)
MUTATIONS = (
    *("create_rollout", "prepare", "set_traffic", "renew_lease", "pause", "resume", "promote", "retire", "roll_back"),
    "release",
)


class Killed(BaseException):
    """The worker is gone in the middle of a task."""


class DeployRun:
    """Version 5 against version 4; ``kill_at`` numbers the outside act before or after which the worker dies, once."""

    def __init__(
        self,
        harness: PracticeHarness,
        declared: Deployment = CANARY,
        ticket: RolloutTicket = TICKET,
        target: Any = None,
    ) -> None:
        self.field, self.ticket, self.clock = harness, ticket, FixedClock(NOW)
        harness.clock, harness.ledger = self.clock, MemoryLedger(self.clock)
        harness.declare(deployment=declared)
        harness.rollouts = self.target = target or FakeTarget(ticket.champion, clock=self.clock)
        harness.answers["weigh_rollout"] = lambda request: weigh_rollout.run(request, harness)  # type: ignore[arg-type]
        harness.answers["weigh_release"] = lambda request: weigh_release.run(request, harness)  # type: ignore[arg-type]
        for version in ("4", "5", "6"):
            harness.registry.add(version, status="approved", model_digest=f"d{version}")
        if ticket.champion:
            harness.registry.name(champion=ticket.champion)
        for gate in REQUIRED_GATES:
            said = {"gate": gate, "outcome": "pass", "model_digest": ticket.model_digest}
            harness.ledger.append("gate", MODEL, ticket.version, said, actor="test")
        harness.ledger.append("approval", MODEL, ticket.version, {"model_digest": ticket.model_digest}, actor="test")
        harness.pass_checklist(ticket, run="r")
        self.bad, self.requests, self.cleared = 0, 200, 0
        """Of ``requests`` that each arm answers between two looks, so many are bad at the candidate."""
        self.states: dict[str, str] = {}
        self.reasons: dict[str, list[str]] = {}
        self.contexts: dict[str, Any] = {}
        self.acts = 0
        self.kill_at: tuple[int, str] | None = None
        self._watch_outside_acts()

    @property
    def state(self) -> RolloutState:
        return self.target.rollout(MODEL)

    def play(self, *, until: str = "") -> dict[str, str]:
        """Run the tasks that did not succeed yet, as the DAG has them; what became of each. ``until``: the last one."""
        done: list[str] = []
        for name, task in self.tasks().items():
            if self.states.get(name) == "success":
                done.append(name)
                continue
            blocked = [each for each in done if self.states[each] != "success"]
            if blocked and name != "end_rollout":
                self.states[name] = "skipped" if self.states[blocked[0]] == "skipped" else "upstream_failed"
            elif name != "end_rollout" or self.states["prepare_candidate"] == "success":
                self.states[name] = self.run(name, task)
            done.append(name)
            if name == until:
                break
        return self.states

    def tasks(self) -> dict[str, RolloutPractice]:
        about: dict[str, Any] = {"model": MODEL, "ticket": self.ticket.model_dump(mode="json", by_alias=True)}
        found: dict[str, RolloutPractice] = {"prepare_candidate": CandidatePreparation(task_id="a", **about)}
        for share in self.field.catalog.model(MODEL).deployment.shares():
            found[f"shift_to_{share // 100}"] = CanaryStep(task_id="b", share=share, **about)
            found[f"judge_at_{share // 100}"] = RolloutAnalysis(task_id="c", share=share, **about)
        found["promote_candidate"] = ChampionRelease(task_id="d", **about)
        found["retire_former"] = Retirement(task_id="e", **about)
        found["end_rollout"] = RolloutRollback(task_id="f", **about)
        return found

    def run(self, name: str, task: RolloutPractice) -> str:
        """One task with its tries and deferrals: ``success``, ``failed`` or ``skipped``."""
        step: Callable[[Any], Any] = task.execute
        for _ in range(100):
            context = self.contexts[name] = self.context(name)
            try:
                step(context)
            except TaskDeferred as deferred:
                step = self.wait(task, deferred)
            except Killed:
                step = task.execute
            except AirflowSkipException:
                return "skipped"
            except Refused as refused:
                self.reasons[name] = refused.reasons
                return "failed"
            else:
                return "success"
        raise AssertionError(f"{name} never ends")

    def wait(self, task: RolloutPractice, deferred: TaskDeferred) -> Callable[[Any], Any]:
        """Time passes until the trigger fires, and requests come."""
        trigger: Any = deferred.trigger
        self.clock.advance(timedelta(seconds=30) if trigger.lease else timedelta(seconds=3600))
        if self.state.split.get(self.ticket.version) and self.state.phase == "BAKING":
            self.answer()
        kept = deferred.kwargs or {}
        method = getattr(task, deferred.method_name)
        return lambda context: method(context, {"moved": False}, **kept)

    def answer(self) -> None:
        """Both versions answer some requests in the present step."""
        self.target.add_counts(MODEL, self.ticket.version, "candidate", requests=self.requests, failed=self.bad)
        assert self.ticket.champion
        self.target.add_counts(MODEL, self.ticket.champion, "champion", requests=self.share_of_champion())

    def share_of_champion(self) -> int:
        share = self.state.split[self.ticket.version]
        return self.requests * (10_000 - share) // share

    def context(self, name: str) -> Any:
        made = self.field.context("deploy", name, run="r", clear_number=self.cleared)
        states = {**self.states}
        made["ti"].get_task_states = lambda dag_id, run_ids: {run_ids[0]: states}
        return made

    def clear(self, name: str) -> str:
        """A person clears one task."""
        self.cleared += 1
        self.states[name] = self.run(name, self.tasks()[name])
        return self.states[name]

    def _watch_outside_acts(self) -> None:
        for verb in MUTATIONS:
            setattr(self.target, verb, self._mortal(getattr(self.target, verb)))
        self.field.ledger.append = self._mortal(self.field.ledger.append)  # type: ignore[method-assign]
        for verb in ("set_tags", "move_alias"):
            setattr(self.field.registry, verb, self._mortal(getattr(self.field.registry, verb)))

    def _mortal(self, act: Callable[..., Any]) -> Callable[..., Any]:
        """The same act, before or after which the worker may die; traffic is whole after each."""

        def acting(*arguments: Any, **named: Any) -> Any:
            self.acts += 1
            number = self.acts
            if self.kill_at == (number, "before"):
                raise Killed
            done = act(*arguments, **named)
            if not self.target.down and self.target.state(MODEL).version:
                assert sum(self.state.split.values()) == 10_000
            if self.kill_at == (number, "after"):
                raise Killed
            return done

        return acting
