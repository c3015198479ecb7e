"""However a deployment ends, the message of the task that ends it names the version that answers now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Refused
from pipelines.messages.release import LoadTestRequest, LoadTestResult, ShareEvidence
from pipelines.spec.deployment import Deployment, HttpRoute, RoutingSpec
from pipelines.spec.strategy import AbTestSpec, Analysis, BlueGreen, Shadow
from practices.ab_test import AbTest
from practices.load_test import LoadTest
from practices.shadow_comparison import ShadowComparison
from tests.practices.compared import Compared
from tests.practices.deploy_run import CANARY, TICKET, DeployRun
from tests.practices.practice_harness import MODEL, PracticeHarness

AGAIN = f"trigger {MODEL}__deploy with version 5 to try it again"
BACK = f"version 4 answers; {AGAIN}"
ENDS = f"version 4 answers; end_rollout takes version 5 away; {AGAIN}"
HELD = "version 4 answers 95 % of the requests, version 5 5 %"
AT_ONCE = Deployment(analysis=Analysis(interval=30))
GREEN = Deployment(
    strategy="blue_green",
    blue_green=BlueGreen(test_traffic_percentage=5, validation_duration=60, max_duration=300, error_threshold=0.05),
    analysis=Analysis(interval=30, minimum_units=50),
)
ELSEWHERE = {"target": HttpRoute(kind="http_route", gateway="public", image="image")}


def unasked(run: DeployRun) -> None:
    run.requests = 0


def broken(run: DeployRun) -> None:
    run.bad = 60


def taken_back(reason: str, *, after: str) -> Callable[[DeployRun], None]:
    def act(run: DeployRun) -> None:
        run.play(until=after)
        run.target.roll_back(MODEL, run.ticket.rollout_id, reason, key="by others")

    return act


def bad_once_it_is_live(run: DeployRun) -> None:
    run.play(until="promote_candidate")
    run.target.add_counts(MODEL, "5", "champion", requests=500, failed=400)


def refused_by_the_target(run: DeployRun) -> None:
    run.target.refusal_reasons = ["bundle.json was altered"]


def released_by_others(run: DeployRun) -> None:
    run.play(until="prepare_candidate")
    run.target.roll_back(MODEL, run.ticket.rollout_id, "enough", key="by others")
    run.target.release(MODEL, "6", "bundles/6", "s6", key="by hand")


GUARD, HAND = "guard: 30 of 100 failed", "complaints (version 5 taken back by ada)"
ENDINGS: list[Any] = [
    (CANARY, unasked, "judge_at_5", HELD),
    (GREEN, unasked, "judge_at_5", HELD),
    (CANARY, broken, "judge_at_5", BACK),
    (GREEN, broken, "judge_at_5", BACK),
    (CANARY, taken_back(GUARD, after="shift_to_5"), "judge_at_5", BACK),
    (GREEN, taken_back(GUARD, after="shift_to_5"), "judge_at_5", BACK),
    (CANARY, taken_back(HAND, after="judge_at_5"), "shift_to_50", BACK),
    (AT_ONCE, taken_back(HAND, after="prepare_candidate"), "promote_candidate", BACK),
    (CANARY, taken_back(GUARD, after="promote_candidate"), "retire_former", BACK),
    (AT_ONCE, taken_back(GUARD, after="promote_candidate"), "retire_former", BACK),
    (AT_ONCE, taken_back(HAND, after="promote_candidate"), "retire_former", BACK),
    (AT_ONCE.model_copy(update=ELSEWHERE), bad_once_it_is_live, "retire_former", BACK),
    (GREEN.model_copy(update=ELSEWHERE), bad_once_it_is_live, "retire_former", BACK),
    (AT_ONCE, refused_by_the_target, "prepare_candidate", BACK),
    (CANARY, released_by_others, "shift_to_5", f"version 6 answers; {AGAIN}"),
]


@pytest.mark.parametrize(("declared", "act", "task", "last"), ENDINGS)
def test_the_task_that_ends_a_deployment_says_last_who_answers_now(
    harness: PracticeHarness, declared: Deployment, act: Callable[[DeployRun], None], task: str, last: str
) -> None:
    run = DeployRun(harness, declared)
    act(run)
    assert run.play()[task] == "failed"
    assert run.reasons[task][-1] == last


def test_what_a_person_can_do_stands_beside_who_answers_while_the_traffic_is_held(harness: PracticeHarness) -> None:
    run = DeployRun(harness)
    unasked(run)
    run.play()
    *_, hint, last = run.reasons["judge_at_5"]
    assert f"or trigger {MODEL}__rollback to roll the candidate back" in hint
    assert last == HELD
    (line,) = [line for _, line in run.field.lines("rollout") if line.get("outcome") == "unknown"]
    assert line["reasons"][-1] == hint, "who answers now is no part of the verdict"


def ending(compared: Compared, after: float) -> str:
    """The message that ends a comparison which has begun, so many seconds later."""
    with pytest.raises((Refused, AirflowSkipException)) as ended:
        compared.look(after=after)
    return str(ended.value)


def test_a_shadow_that_nobody_asked_says_what_to_do_and_that_the_run_ends(harness: PracticeHarness) -> None:
    shadow = Compared(harness, ShadowComparison, Deployment(strategy="shadow", shadow=Shadow(duration=60)))
    shadow.start()
    message = ending(shadow, after=121)
    assert "nobody asked the gateway" in message
    assert message.endswith(ENDS)


def test_a_shadow_that_disagrees_says_that_the_former_version_answers(harness: PracticeHarness) -> None:
    shadow = Compared(harness, ShadowComparison, Deployment(strategy="shadow", shadow=Shadow(duration=60)))
    shadow.start()
    counts = {"requests": 2000, "sent": 2000, "compared": 2000, "disagreed": 900}
    shadow.target.add_counts(MODEL, "5", "shadow", **counts)
    assert ending(shadow, after=5).endswith(BACK)


EXPERIMENT = Deployment(
    strategy="ab",
    ab=AbTestSpec(traffic_split=0.2, minimum_sample_size=1000, max_duration=3600),
    routing=RoutingSpec(key="header:x-user-id"),
)


def test_an_experiment_that_nobody_met_says_that_control_answers(harness: PracticeHarness) -> None:
    experiment = Compared(harness, AbTest, EXPERIMENT)
    experiment.start()
    message = ending(experiment, after=3601)
    assert "nobody asked the gateway" in message
    assert message.endswith(BACK)


def test_an_experiment_that_is_held_says_the_shares(harness: PracticeHarness) -> None:
    experiment = Compared(harness, AbTest, EXPERIMENT)
    experiment.start()
    for version, role, units in (("4", "control", 2000), ("5", "variant", 2000)):
        experiment.target.add_counts(MODEL, version, role, requests=units, units=units)  # type: ignore[arg-type]
    message = ending(experiment, after=30)
    assert "clear compare to continue the stage" in message
    assert message.endswith("version 4 answers 80 % of the requests, version 5 20 %")


def slow(request: LoadTestRequest) -> LoadTestResult:
    limit: dict[str, Any] = {"name": "p99_latency", "limit": 0.01, "over_ms": 100, "bad": 900, "total": 2500}
    counts: dict[str, Any] = {"sent": 2750, "answered": 2750, "seconds": 60, "declared_rps": 50, "plateau_rps": 50}
    named = request.model_dump(include={"model", "version", "rollout_id"})
    return LoadTestResult(**named, **counts, lag_p99_ms=1, shown=[ShareEvidence(**limit, above=99, below=-99)])


@pytest.mark.parametrize(("champion", "last"), [("4", ENDS), (None, f"no version of {MODEL} answers yet; {AGAIN}")])
def test_a_version_that_fails_its_load_test_says_who_answers_instead(
    harness: PracticeHarness, champion: str | None, last: str
) -> None:
    load = {"duration": 60, "target_rps": 50, "assertions": {"p99_latency": {"max": 100}}}
    declared = AT_ONCE.model_copy(update={"load_test": Deployment.model_validate({"load_test": load}).load_test})
    run = DeployRun(harness, declared, TICKET.model_copy(update={"champion": champion}))
    harness.answers["load_candidate"] = slow
    run.play(until="prepare_candidate")
    task = LoadTest(task_id="test_under_load", model=MODEL, ticket=run.ticket.model_dump(mode="json", by_alias=True))
    assert run.run("test_under_load", task) == "failed"
    assert run.reasons["test_under_load"][-1] == last
