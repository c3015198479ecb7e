"""How a pod ended is told from the API server's words; every row is something that clusters say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines.rules.pod_end import PodFacts, judge_pod
from pipelines.spec.runner import StageRunner

NOW = datetime(2026, 11, 2, 7, tzinfo=UTC)
RUNNER = StageRunner(memory="2Gi", schedule_minutes=10, start_minutes=5, timeout_minutes=60)
CREATED = PodFacts(name="p", created=NOW - timedelta(minutes=1))
PLACED = replace(CREATED, scheduled=NOW - timedelta(seconds=50))
RUNNING = replace(PLACED, phase="Running", started=NOW - timedelta(seconds=40))


def failed(**said: Any) -> PodFacts:
    return replace(RUNNING, phase="Failed", finished=NOW, **said)


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
