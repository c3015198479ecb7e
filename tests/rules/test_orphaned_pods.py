"""Which pod goes and which stays, by table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines.rules.orphaned_pods import LaunchedPod, PodIdentity, PodJudgement, judge_pods

NOW = datetime(2026, 11, 2, 7, 0, tzinfo=UTC)


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def identity(**changes: Any) -> PodIdentity:
    made = {"dag_id": "flight_delay__train", "run_id": "manual__1", "task_id": "train_model", "map_index": -1}
    made |= {"try_number": 1, "step": "train_model", **changes}
    return PodIdentity(**{"run": f"runs/{made['try_number']}", **made})


def pod(**changes: Any) -> LaunchedPod:
    """A pod of ours that has run for half an hour and whose task waits for it."""
    usual = {"name": "p", "uid": "u", "resource_version": "1", "phase": "Running", "created": ago(30)}
    usual |= {"started": ago(29), "deadline_seconds": 3600, "identity": identity(), "launched_here": True}
    return LaunchedPod(**{**usual, "task_exists": True, "task_state": "deferred", **changes})


def judged(one: LaunchedPod, *others: LaunchedPod) -> PodJudgement:
    return judge_pods([one, *others], NOW)[0]


@pytest.mark.parametrize(
    "state",
    ["running", "deferred", "queued", "scheduled", "up_for_retry", "up_for_reschedule", "restarting", "new_word", None],
)
def test_a_pod_whose_task_goes_on_is_kept(state: str | None) -> None:
    found = judged(pod(task_state=state))
    assert (found.delete, found.reported) == (False, False)
    assert (state or "to be scheduled") in found.reason


@pytest.mark.parametrize("state", ["success", "failed", "skipped", "upstream_failed", "removed"])
def test_a_pod_whose_task_has_ended_goes(state: str) -> None:
    found = judged(pod(task_state=state))
    assert found.delete
    assert state in found.reason


def test_a_pod_whose_task_instance_is_gone_goes() -> None:
    found = judged(pod(task_exists=False, task_state=None))
    assert found.delete
    assert "does not exist" in found.reason


@pytest.mark.parametrize(
    ("facts", "delete", "why"),
    [
        ({"created": ago(1.9)}, False, "younger than 2 min"),
        ({"created": ago(2.1)}, True, "ended: failed"),
        ({"phase": "Pending", "started": None}, True, "ended: failed"),
        ({"phase": "Unknown"}, True, "ended: failed"),
        ({"phase": "Succeeded", "finished": ago(9)}, False, "is kept for inspection"),
        ({"phase": "Succeeded", "finished": ago(11)}, True, "ended: failed"),
        ({"phase": "Failed", "finished": None}, True, "ended: failed"),
        ({"phase": "Failed", "finished": None, "created": ago(9)}, False, "is kept for inspection"),
        ({"deleting": ago(1)}, False, "it is being deleted"),
        ({"deleting": ago(11)}, False, "is its node lost?"),
    ],
)
def test_a_pod_that_nobody_waits_for_goes_when_that_is_safe(facts: dict[str, Any], delete: bool, why: str) -> None:
    found = judged(pod(task_state="failed", **facts))
    assert (found.delete, why in found.reason) == (delete, True), found.reason


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_finished_pod_waits_for_its_task_to_collect_however_long_that_takes(phase: str) -> None:
    assert not judged(pod(phase=phase, created=ago(3000), finished=ago(2000), task_state="deferred")).delete


@pytest.mark.parametrize(
    ("later", "delete"),
    [
        ({"identity": identity(try_number=2)}, True),
        ({"identity": identity(try_number=2), "phase": "Failed", "finished": ago(3)}, True),
        ({"identity": identity(try_number=2, run="runs/1")}, False),
        ({"identity": identity(try_number=2, map_index=0)}, False),
        ({"identity": identity(try_number=2, step="take_snapshot")}, False),
        ({"identity": identity(try_number=2, run_id="manual__2")}, False),
        ({"identity": identity(try_number=1, run="runs/worker")}, False),
        ({"identity": identity(try_number=2), "created": ago(40)}, False),
        ({"identity": None}, False),
    ],
)
def test_a_pod_is_replaced_only_by_a_newer_one_of_a_later_try_of_the_same_task(
    later: dict[str, Any], delete: bool
) -> None:
    earlier, other = pod(created=ago(30)), pod(**{"name": "later", "created": ago(3), **later})
    assert judged(earlier, other).delete is delete
    assert not judged(other, earlier).delete


def test_the_pod_of_a_run_that_was_deleted_and_made_anew_does_not_replace_the_new_one() -> None:
    old, new = pod(identity=identity(try_number=3)), pod(name="new", identity=identity(run="again"), created=ago(5))
    assert [found.delete for found in judge_pods([old, new], NOW)] == [False, False]


@pytest.mark.parametrize(
    ("facts", "delete"),
    [
        ({"started": ago(69), "deadline_seconds": 3600}, False),
        ({"started": ago(71), "deadline_seconds": 3600}, True),
        ({"started": None, "deadline_seconds": 60}, False),
        ({"started": ago(9999), "deadline_seconds": None}, False),
        ({"started": ago(9999), "deadline_seconds": 60, "phase": "Failed", "finished": ago(9000)}, False),
    ],
)
def test_a_pod_that_outlives_its_deadline_goes_even_if_its_task_waits(facts: dict[str, Any], delete: bool) -> None:
    assert judged(pod(created=ago(10000), **facts)).delete is delete


def test_a_pod_that_does_not_say_whose_it_is_is_reported_and_stays() -> None:
    found = judged(pod(identity=None, task_exists=False, task_state=None, created=ago(99999)))
    assert (found.delete, found.reported) == (False, True)


def test_a_pod_that_another_installation_of_the_same_name_launched_is_reported_and_stays() -> None:
    found = judged(pod(task_exists=False, task_state=None, launched_here=False))
    assert (found.delete, found.reported) == (False, True)
    assert "runs/1" in found.reason
    assert not judged(pod(launched_here=False)).reported


def test_all_pods_are_judged_in_the_order_given() -> None:
    pods = [pod(name=str(number), task_state=("failed", "running")[number % 2]) for number in range(5)]
    found = judge_pods(pods, NOW)
    assert [one.pod.name for one in found] == ["0", "1", "2", "3", "4"]
    assert [one.delete for one in found] == [True, False, True, False, True]
    assert judge_pods([], NOW) == []


@pytest.mark.parametrize(
    ("facts", "delete", "reported", "why"),
    [
        ({"created": ago(2)}, True, False, "ended: failed"),
        ({"deleting": ago(10)}, False, False, "it is being deleted"),
        ({"deleting": ago(10.01)}, False, True, "is its node lost?"),
        ({"phase": "Succeeded", "finished": ago(10)}, True, False, "ended: failed"),
        ({"phase": "Succeeded", "finished": ago(9.99)}, False, False, "kept for inspection"),
        ({"phase": "Succeeded", "finished": ago(11), "created": ago(9)}, True, False, "ended: failed"),
    ],
)
def test_the_times_of_a_pod_end_where_they_are_declared_to(
    facts: dict[str, Any], delete: bool, reported: bool, why: str
) -> None:
    judgement = judged(pod(task_state="failed", **facts))
    assert (judgement.delete, judgement.reported) == (delete, reported)
    assert why in judgement.reason


def test_a_pod_goes_only_after_its_deadline_and_the_grace() -> None:
    facts = {"created": ago(100), "deadline_seconds": 3600}
    assert not judged(pod(started=ago(70), **facts)).delete
    assert judged(pod(started=ago(70.01), **facts)).reason == "it exceeded its deadline of 60 min"


def test_a_pod_of_a_later_try_that_began_at_the_same_moment_replaces_the_earlier() -> None:
    later = pod(name="later", identity=identity(try_number=2))
    assert judged(pod(), later).reason == "it belongs to try 1, but try 2 has pod later"
    assert not judged(later, pod()).delete


def test_a_pod_is_of_no_task_of_this_installation_until_that_is_known() -> None:
    facts = {"name": "p", "uid": "u", "resource_version": "1", "phase": "Running", "created": ago(30)}
    judgement = judged(LaunchedPod(**facts, identity=identity()))
    assert (judgement.delete, judgement.reported) == (False, True)
    assert judgement.reason.startswith("its task instance does not exist")
    assert PodJudgement(pod=pod(), delete=True, reason="r").reported is False


def test_a_task_is_named_by_texts_of_at_least_one_letter() -> None:
    assert identity(dag_id="d").task == ("d", "manual__1", "train_model", -1, "train_model")
    with pytest.raises(ValueError, match="dag_id"):
        identity(dag_id="")
