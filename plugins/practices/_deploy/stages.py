"""Makes the tasks of a deploy run as the model declares, and the text that explains each of them on its page."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

from pipelines.ledger.required_evidence import required_stages
from pipelines.spec.model import ModelSpec
from practices._operators.defaults import asset
from practices.canary_step import CanaryStep
from practices.champion_release import ChampionRelease
from practices.preflight_checklist import PreflightChecklist
from practices.rollout_analysis import RolloutAnalysis

TaskArguments = dict[str, Any]
CHECK_TEXT = "builds the bundle, goes through the preflight checklist, and writes the ticket that all others act on."
END_TEXT = (
    "runs whatever became of the others: a candidate that failed, was refused or killed loses its traffic; one that"
    " was promoted, or is held for a person, stays."
)
HELD_TEXT = "What is not decided in time is held for a person: clear the red task to go on waiting."


class Stage(NamedTuple):
    """The tasks of one stage, first and last, and what the page says of them."""

    first: Any
    last: Any
    text: str


StageMaker = Callable[[ModelSpec, TaskArguments], Stage]


def build_stages(spec: ModelSpec) -> str:
    """Make the tasks inside the present DAG, one after the other, and return what its page says of them."""
    check = PreflightChecklist(task_id="check_release", model=spec.model)
    about: TaskArguments = {"model": spec.model, "ticket": check.output}
    stages = [_single_task(check, CHECK_TEXT)]
    for make in _stage_makers(spec):
        stages.append(make(spec, about))
        stages[-2].last >> stages[-1].first
    texts = [stage.text for stage in stages]
    if spec.deployment.staged:
        from practices.rollout_rollback import RolloutRollback

        end = RolloutRollback(task_id="end_rollout", **about)
        # A teardown that could fail the run would also turn it green.
        stages[-1].last >> end.as_teardown(setups=stages[1].first)
        texts.append(f"**end_rollout** {END_TEXT}")
    return "\n\n".join(texts)


def _stage_makers(spec: ModelSpec) -> list[StageMaker]:
    makers: dict[str, StageMaker] = {
        "load_test": _load_test,
        "shadow_comparison": _shadow,
        "approval_quorum": _approvals,
    }
    strategies: dict[str, StageMaker] = {"canary": _canary, "blue_green": _blue_green, "ab": _ab_test}
    required = required_stages(spec, first=False)
    declared = [makers[stage] for stage in required if stage in makers]
    if not spec.deployment.staged:
        return [*declared, _release]
    if set(required) - set(makers):
        declared.append(strategies[spec.deployment.strategy])
    return [_prepare, *declared, _promote, _retire]


def _single_task(task: Any, text: str) -> Stage:
    """A stage of one task; ``text`` goes on after the task's name."""
    return Stage(task, task, f"**{task.task_id}** {text}")


def _prepare(_: ModelSpec, about: TaskArguments) -> Stage:
    from practices.candidate_preparation import CandidatePreparation

    task = CandidatePreparation(task_id="prepare_candidate", **about)
    return _single_task(task, "loads the candidate beside the champion and tries it; it gets no traffic yet.")


def _load_test(_: ModelSpec, about: TaskArguments) -> Stage:
    from practices.load_test import LoadTest

    task = LoadTest(task_id="test_under_load", **about)
    return _single_task(task, "asks the candidate at the declared rate and holds it to its assertions.")


def _shadow(_: ModelSpec, about: TaskArguments) -> Stage:
    from practices.shadow_comparison import ShadowComparison

    task = ShadowComparison(task_id="compare_in_shadow", **about)
    return _single_task(task, "copies requests to the candidate and compares; callers notice nothing.")


def _approvals(spec: ModelSpec, about: TaskArguments) -> Stage:
    from practices._deploy.approvals import ask_approvers
    from practices.approval_quorum import ApprovalQuorum

    requests = ask_approvers(spec, about["ticket"])
    count = ApprovalQuorum(task_id="count_approvals", answers=requests.output, **about)
    text = "**request_approvals** asks each person on Airflow's own screen; **count_approvals** counts who answered."
    return Stage(requests, count, text)


def _canary(spec: ModelSpec, about: TaskArguments) -> Stage:
    tasks: list[Any] = []
    for share in spec.deployment.shares():
        name = f"{share / 100:g}".replace(".", "_")
        tasks.append(CanaryStep(task_id=f"shift_to_{name}", share=share, **about))
        tasks.append(RolloutAnalysis(task_id=f"judge_at_{name}", share=share, **about))
    for task, following in pairwise(tasks):
        task >> following
    names = ", ".join(f"**{task.task_id}**" for task in tasks)
    text = (
        f"**shift_to_…** and **judge_at_…** ({names}) give the candidate so many percent of the callers and"
        f" weigh the evidence until it passes; what is shown to be bad is rolled back. {HELD_TEXT}"
    )
    return Stage(tasks[0], tasks[-1], text)


def _blue_green(spec: ModelSpec, about: TaskArguments) -> Stage:
    from practices.blue_green_trial import BlueGreenTrial

    trial = BlueGreenTrial(task_id="try_green", **about)
    judge = RolloutAnalysis(task_id="judge_green", share=spec.deployment.shares()[0], **about)
    trial >> judge
    text = (
        "**try_green** gives the new version its test share; **judge_green** weighs the evidence until it passes; what"
        f" is shown to be bad is rolled back. {HELD_TEXT}"
    )
    return Stage(trial, judge, text)


def _ab_test(_: ModelSpec, about: TaskArguments) -> Stage:
    from practices.ab_test import AbTest

    task = AbTest(task_id="test_versions", **about)
    return _single_task(task, "splits the users and waits until the metrics say which version is better.")


def _promote(spec: ModelSpec, about: TaskArguments) -> Stage:
    text = (
        "asks the ledger once more for every gate, stage and approval of this very bundle, makes the candidate the"
        " champion in one switch, reads it back, and moves aliases and ledger after it."
    )
    return _single_task(_release_task("promote_candidate", spec, about), text)


def _release(spec: ModelSpec, about: TaskArguments) -> Stage:
    text = (
        "asks the ledger once more for every gate and approval of this very bundle, switches traffic, reads it back,"
        " and moves the aliases `champion` and `previous` and the ledger after it."
    )
    return _single_task(_release_task("release_champion", spec, about), text)


def _release_task(task_id: str, spec: ModelSpec, about: TaskArguments) -> ChampionRelease:
    return ChampionRelease(task_id=task_id, outlets=[asset(spec.model, "released")], max_active_tis_per_dag=1, **about)


def _retire(_: ModelSpec, about: TaskArguments) -> Stage:
    from practices.retirement import Retirement

    task = Retirement(task_id="retire_former", **about)
    return _single_task(task, "waits out the rollback window, in which one click puts the former version back.")
