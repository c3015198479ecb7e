"""How a pod ended is told from the API server's words; every row is something that clusters say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines.rules.pod_end import PodEnd, PodFacts, judge_pod
from pipelines.spec.runner import StageRunner

NOW = datetime(2026, 11, 2, 7, tzinfo=UTC)
RUNNER = StageRunner(memory="2Gi", schedule_minutes=10, start_minutes=5, timeout_minutes=60)
CREATED = PodFacts(name="p", created=NOW - timedelta(minutes=1))
PLACED = replace(CREATED, scheduled=NOW - timedelta(seconds=50))
RUNNING = replace(PLACED, phase="Running", started=NOW - timedelta(seconds=40))


def failed(**said: Any) -> PodFacts:
    return replace(RUNNING, phase="Failed", finished=NOW, **said)


UNREAD_SECRET: dict[str, Any] = {
    "waiting": "CreateContainerConfigError",
    "waiting_message": "failed to sync secret cache: timed out waiting for the condition",
}
ENDS: dict[str, tuple[PodFacts | None, str, str]] = {
    "it is gone": (None, "unavailable", "does not exist"),
    "it has done its work": (replace(RUNNING, phase="Succeeded", exit_code=0), "done", "done"),
    "the step refused": (failed(exit_code=65, termination_message="no table\n  - take one"), "refused", "no table"),
    "the step found something unavailable": (
        failed(exit_code=75, termination_message="no store"),
        "unavailable",
        "no store",
    ),
    "the step broke": (failed(exit_code=1, termination_message="KeyError: 'a'"), "unavailable", "KeyError"),
    "out of memory": (failed(exit_code=137, ended="OOMKilled"), "refused", "2Gi"),
    "killed from outside": (failed(exit_code=137, ended="Error"), "unavailable", "killed"),
    "told to go": (failed(exit_code=143, ended="Error"), "unavailable", "terminated"),
    "evicted": (failed(reason="Evicted", message="low on memory"), "unavailable", "low on memory"),
    "preempted": (failed(reason="Preempting", message="for another"), "unavailable", "for another"),
    "the node shut down": (failed(reason="Shutdown", message="node is going"), "unavailable", "node is going"),
    "the node was full after all": (failed(reason="OutOfcpu", message="no cpu"), "unavailable", "no cpu"),
    "too long": (failed(reason="DeadlineExceeded", message="deadline"), "refused", "timeout_minutes 60"),
    "a command that is not there": (
        failed(exit_code=128, ended="StartError", termination_message="exec"),
        "refused",
        "exec",
    ),
    "lost without a word": (failed(reason="Unknown"), "unavailable", "lost"),
    "a secret that is not there": (
        replace(PLACED, waiting="CreateContainerConfigError", waiting_message='secret "s3" not found'),
        "refused",
        'secret "s3" not found',
    ),
    "a node that could not read a secret for long": (
        replace(PLACED, scheduled=NOW - timedelta(minutes=6), **UNREAD_SECRET),
        "unavailable",
        "failed to sync secret cache",
    ),
    "a container runtime that was late": (
        failed(exit_code=128, ended="StartError", termination_message="context deadline exceeded"),
        "unavailable",
        "deadline exceeded",
    ),
    "an image name that is none": (replace(PLACED, waiting="InvalidImageName"), "refused", "InvalidImageName"),
    "an image that does not exist": (
        replace(PLACED, waiting="ErrImagePull", waiting_message="manifest unknown"),
        "refused",
        "manifest unknown",
    ),
    "a registry that does not answer for long": (
        replace(PLACED, scheduled=NOW - timedelta(minutes=6), waiting="ImagePullBackOff", waiting_message="timeout"),
        "unavailable",
        "start_minutes 5",
    ),
    "a volume that does not exist": (
        replace(PLACED, scheduled=NOW - timedelta(minutes=6), warnings=['FailedMount: secret "keys" not found']),
        "refused",
        "keys",
    ),
    "no node of that kind": (
        replace(
            CREATED,
            created=NOW - timedelta(minutes=11),
            unscheduled="0/3 nodes are available: 3 node(s) didn't match node selector.",
        ),
        "refused",
        "didn't match node selector",
    ),
    "all GPUs are taken": (
        replace(
            CREATED,
            created=NOW - timedelta(minutes=11),
            unscheduled="0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 2 node(s) didn't match node selector.",
        ),
        "unavailable",
        "Insufficient nvidia.com/gpu",
    ),
    "a scheduler that says nothing": (
        replace(CREATED, created=NOW - timedelta(minutes=11)),
        "unavailable",
        "gave no message",
    ),
}
WAITS: dict[str, PodFacts] = {
    "it has no node yet": replace(CREATED, unscheduled="0/3 nodes are available: 3 Insufficient nvidia.com/gpu."),
    "a queue holds it back, however long": replace(CREATED, created=NOW - timedelta(days=2), gated=True),
    "its image is being pulled": replace(PLACED, waiting="ContainerCreating"),
    "its registry does not answer at the moment": replace(PLACED, waiting="ErrImagePull", waiting_message="timeout"),
    "its node could not read a secret at the moment": replace(PLACED, **UNREAD_SECRET),
    "it runs": RUNNING,
    "it runs for hours": replace(RUNNING, started=NOW - timedelta(hours=20)),
}


@pytest.mark.parametrize("case", ENDS)
def test_an_end_is_told_with_its_reason(case: str) -> None:
    facts, kind, said = ENDS[case]
    end = judge_pod(facts, "p", RUNNER, NOW)
    assert end is not None
    assert end.kind == kind
    assert said in " ".join([end.subject, *end.reasons])


@pytest.mark.parametrize("case", WAITS)
def test_a_pod_is_waited_for_while(case: str) -> None:
    assert judge_pod(WAITS[case], "p", RUNNER, NOW) is None


def test_a_refusal_in_the_termination_message_keeps_its_reasons_apart() -> None:
    end = judge_pod(failed(exit_code=65, termination_message="no table\n  - take one\n  - or two"), "p", RUNNER, NOW)
    assert end is not None
    assert (end.subject, end.reasons) == ("no table", ["  - take one", "  - or two"])


def ended(facts: PodFacts) -> PodEnd:
    end = judge_pod(facts, "p", RUNNER, NOW)
    assert end is not None
    return end


@pytest.mark.parametrize(
    ("facts", "kind", "subject"),
    [
        (replace(RUNNING, exit_code=0), "done", "pod p is done"),
        (replace(RUNNING, phase="Succeeded"), "done", "pod p is done"),
        (failed(exit_code=0), "done", "pod p is done"),
        (failed(reason="Lost"), "unavailable", "pod p was lost (Lost) (exit code None)"),
        (replace(RUNNING, phase="Succeeded", exit_code=3), "unavailable", "pod p failed with exit code 3"),
        (failed(exit_code=65), "refused", "pod p refused"),
        (failed(exit_code=65, message="no table"), "refused", "no table"),
        (failed(exit_code=75), "unavailable", "pod p found something unavailable"),
        (failed(exit_code=75, termination_message="no\n\nstore\n"), "unavailable", "no\nstore"),
        (failed(exit_code=137), "unavailable", "pod p was killed (exit code 137)"),
        (failed(exit_code=143), "unavailable", "pod p was terminated (exit code 143)"),
    ],
)
def test_an_exit_code_says_how_a_pod_ended(facts: PodFacts, kind: str, subject: str) -> None:
    assert ended(facts).kind == kind
    assert ended(facts).subject.startswith(subject)


def test_of_a_crash_the_last_20_lines_are_shown() -> None:
    text = "\n".join(f"line {number}" for number in range(30))
    assert ended(failed(exit_code=1, termination_message=text)).reasons == [
        f"line {number}" for number in range(10, 30)
    ]


def test_of_a_container_that_cannot_start_the_last_3_warnings_are_shown() -> None:
    warnings = [f"w{number}" for number in range(5)]
    facts = replace(PLACED, waiting="StartError", waiting_message="no such command", warnings=warnings)
    assert ended(facts).reasons == ["no such command", "w2", "w3", "w4"]
    silent = replace(PLACED, waiting="StartError")
    assert ended(silent).reasons == ["the cluster gives no reason"]


def test_of_an_image_that_does_not_come_the_last_5_warnings_are_shown() -> None:
    warnings = [f"w{number}" for number in range(7)]
    late = replace(PLACED, scheduled=NOW - timedelta(minutes=6), warnings=warnings)
    assert ended(late).reasons == warnings[2:]
    waiting = replace(late, waiting="ErrImagePull", waiting_message="timeout", warnings=[])
    assert ended(waiting).reasons == ["ErrImagePull: timeout"]


@pytest.mark.parametrize(("minutes", "waits"), [(9.99, True), (10, False)])
def test_a_pod_without_a_node_is_waited_for_until_schedule_minutes_have_passed(minutes: float, waits: bool) -> None:
    facts = replace(CREATED, created=NOW - timedelta(minutes=minutes))
    assert (judge_pod(facts, "p", RUNNER, NOW) is None) is waits


@pytest.mark.parametrize(("minutes", "waits"), [(4.99, True), (5, False)])
def test_a_pod_on_a_node_is_waited_for_until_start_minutes_have_passed(minutes: float, waits: bool) -> None:
    facts = replace(PLACED, scheduled=NOW - timedelta(minutes=minutes))
    assert (judge_pod(facts, "p", RUNNER, NOW) is None) is waits


def test_a_missing_thing_that_is_no_image_is_waited_for() -> None:
    facts = replace(PLACED, waiting="ContainerCreating", waiting_message="", warnings=["FailedMount: not found"])
    assert judge_pod(facts, "p", RUNNER, NOW) is None


def test_a_pod_without_a_node_is_told_what_to_change() -> None:
    never = ended(replace(CREATED, created=NOW - timedelta(hours=1), unscheduled="node(s) had taint x"))
    full = ended(replace(CREATED, created=NOW - timedelta(hours=1), unscheduled="Insufficient cpu"))
    assert (never.kind, never.reasons[-1]) == ("refused", "correct node_selector or tolerations, or add such a node")
    assert (full.kind, full.reasons[-1]) == ("unavailable", "request less, or wait for room")
