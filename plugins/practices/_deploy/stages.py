"""Builds the tasks of a deploy DAG as the model declares, and the text about each of them on the DAG's page."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

from pipelines.ledger.required_evidence import required_stages
from pipelines.spec.model import ModelSpec
from practices._operators.defaults import asset
from practices._operators.model import ReturnedBy
from practices.canary_step import CanaryStep
from practices.champion_release import ChampionRelease
from practices.preflight_checklist import PreflightChecklist
from practices.rollout_analysis import RolloutAnalysis

TaskArguments = dict[str, Any]
CHECK_TEXT = "builds the bundle, checks the preflight checklist, and writes the ticket that all later tasks use."
END_TEXT = (
    "always runs, whatever the state of the other tasks: it rolls the candidate back, unless the candidate was promoted"
    " or is held for a person."
)
HELD_TEXT = "Without a decision in time the traffic is held for a person: clear the failed task to continue the stage."


class StageTasks(NamedTuple):
    """First and last task of one stage, and the text about the stage."""

    first: Any
    last: Any
    text: str


Maker = Callable[[ModelSpec, TaskArguments], StageTasks]


def build_stages(spec: ModelSpec) -> str:
    """Build the tasks in the current DAG, one stage after the other, and return the text about them."""
    check = PreflightChecklist(task_id="check_release", model=spec.model)
    arguments: TaskArguments = {"model": spec.model, "ticket": ReturnedBy(check.task_id)}
    stages = [_single_task(check, CHECK_TEXT)]
    for make in _stage_builders(spec):
        stages.append(make(spec, arguments))
        stages[-2].last >> stages[-1].first
    texts = [stage.text for stage in stages]
    from practices.rollout_rollback import RolloutRollback

    end = RolloutRollback(task_id="end_rollout", **arguments)
    # on_failure_fail_dagrun stays off: such a teardown would also make a failed run successful.
    stages[-1].last >> end.as_teardown(setups=stages[1].first)
    texts.append(f"**end_rollout** {END_TEXT}")
    return "\n\n".join(texts)


def _stage_builders(spec: ModelSpec) -> list[Maker]:
    makers: dict[str, Maker] = {"load_test": _load_test, "shadow_comparison": _shadow, "approval_quorum": _approvals}
    strategies: dict[str, Maker] = {"canary": _canary, "blue_green": _blue_green, "ab": _ab_test}
    required = required_stages(spec, first=False)
    declared = [makers[stage] for stage in required if stage in makers]
    if set(required) - set(makers):
        declared.append(strategies[spec.deployment.strategy])
    return [_prepare, *declared, _promote, _retire]


def _single_task(task: Any, text: str) -> StageTasks:
    """A stage of one task; ``text`` continues after the task's name."""
    return StageTasks(task, task, f"**{task.task_id}** {text}")


def _prepare(_: ModelSpec, arguments: TaskArguments) -> StageTasks:
    from practices.candidate_preparation import CandidatePreparation

    task = CandidatePreparation(task_id="prepare_candidate", **arguments)
    return _single_task(task, "loads the candidate beside the champion and tests it; it gets no traffic yet.")


def _load_test(_: ModelSpec, arguments: TaskArguments) -> StageTasks:
    from practices.load_test import LoadTest

    task = LoadTest(task_id="test_under_load", **arguments)
    return _single_task(task, "sends requests to the candidate at the declared rate and checks the assertions.")


def _shadow(_: ModelSpec, arguments: TaskArguments) -> StageTasks:
    from practices.shadow_comparison import ShadowComparison

    task = ShadowComparison(task_id="compare_in_shadow", **arguments)
    return _single_task(task, "mirrors requests to the candidate and compares the answers; callers get the champion's.")


def _approvals(spec: ModelSpec, arguments: TaskArguments) -> StageTasks:
    from practices._deploy.approvals import ask_approvers
    from practices.approval_quorum import ApprovalQuorum

    requests = ask_approvers(spec, arguments["ticket"])
    count = ApprovalQuorum(task_id="count_approvals", answers=requests.output, **arguments)
    text = "**request_approvals** asks each approver in Airflow; **count_approvals** counts the answers."
    return StageTasks(requests, count, text)


def _canary(spec: ModelSpec, arguments: TaskArguments) -> StageTasks:
    tasks: list[Any] = []
    for share in spec.deployment.shares():
        name = f"{share / 100:g}".replace(".", "_")
        tasks.append(CanaryStep(task_id=f"shift_to_{name}", share=share, **arguments))
        tasks.append(RolloutAnalysis(task_id=f"judge_at_{name}", share=share, **arguments))
    for task, following in pairwise(tasks):
        task >> following
    names = ", ".join(f"**{task.task_id}**" for task in tasks)
    text = (
        f"**shift_to_…** and **judge_at_…** ({names}) give the candidate that percentage of the traffic and"
        f" judge the evidence until it passes; a candidate shown to be worse is rolled back. {HELD_TEXT}"
    )
    return StageTasks(tasks[0], tasks[-1], text)


def _blue_green(spec: ModelSpec, arguments: TaskArguments) -> StageTasks:
    from practices.blue_green_trial import BlueGreenTrial

    trial = BlueGreenTrial(task_id="try_green", **arguments)
    judge = RolloutAnalysis(task_id="judge_green", share=spec.deployment.shares()[0], **arguments)
    trial >> judge
    text = (
        "**try_green** gives the new version its test share; **judge_green** judges the evidence until it passes; a"
        f" version shown to be worse is rolled back. {HELD_TEXT}"
    )
    return StageTasks(trial, judge, text)


def _ab_test(_: ModelSpec, arguments: TaskArguments) -> StageTasks:
    from practices.ab_test import AbTest

    task = AbTest(task_id="test_versions", **arguments)
    return _single_task(task, "splits the users until the metrics show which version is better or the time is over.")


def _promote(spec: ModelSpec, arguments: TaskArguments) -> StageTasks:
    text = (
        "checks in the ledger that every gate, stage and approval passed for exactly this bundle, gives the candidate"
        " all traffic, verifies it at the target, and then updates the ledger and the registry's aliases."
    )
    task_id = "promote_candidate" if spec.deployment.compares_versions else "release_champion"
    return _single_task(_release_task(task_id, spec, arguments), text)


def _release_task(task_id: str, spec: ModelSpec, arguments: TaskArguments) -> ChampionRelease:
    outlets = [asset(spec.model, "released")]
    return ChampionRelease(task_id=task_id, outlets=outlets, max_active_tis_per_dag=1, **arguments)


def _retire(_: ModelSpec, arguments: TaskArguments) -> StageTasks:
    from practices.retirement import Retirement

    task = Retirement(task_id="retire_former", **arguments)
    return _single_task(task, "waits for the rollback window, in which the former version can be restored at once.")
