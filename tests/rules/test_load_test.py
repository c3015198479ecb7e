"""What a load test proves, by table: the client first, then each assertion."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pipelines.messages.release import LoadTestResult, ShareEvidence
from pipelines.rules.load_test import judge_load_test
from pipelines.spec.deployment import Deployment
from pipelines.verdict import Outcome

PASS, FAIL, UNKNOWN = Outcome.PASS, Outcome.FAIL, Outcome.UNKNOWN
SURE = math.log(20)
BOTH = {"p99_latency": {"max": 100}, "error_rate": {"max": 0.01}}


def deployment(assertions: Any = None, **changes: Any) -> Deployment:
    declared = {"duration": 60, "target_rps": 50, "ramp_up_time": 10, "assertions": assertions or BOTH}
    return Deployment.model_validate({"strategy": "canary", "load_test": declared | changes})


def shown(name: str = "p99_latency", *, above: float = -5.0, below: float = 10.0, **changes: Any) -> ShareEvidence:
    over = None if name == "error_rate" else 100.0
    facts: dict[str, Any] = {"name": name, "limit": 0.01, "over_ms": over, "bad": 1, "total": 2500}
    return ShareEvidence(**(facts | {"above": above, "below": below} | changes))


def result(*assertions: ShareEvidence, **changes: Any) -> LoadTestResult:
    facts: dict[str, Any] = {
        "model": "flight_delay",
        "version": "5",
        "rollout_id": "r1",
        "sent": 2750,
        "answered": 2750,
        "seconds": 60.0,
        "declared_rps": 50,
        "plateau_rps": 50,
        "lag_p99_ms": 1.0,
        "shown": list(assertions) or [shown(), shown("error_rate")],
    }
    return LoadTestResult(**(facts | changes))


def judged(found: LoadTestResult, declared: Deployment | None = None) -> tuple[Outcome, str]:
    verdict = judge_load_test(found, declared or deployment())
    return verdict.outcome, "; ".join(verdict.reasons)


def test_all_assertions_shown_is_a_pass_with_all_figures() -> None:
    verdict = judge_load_test(result(plot="rollouts/plot.png"), deployment())
    assert (verdict.outcome, verdict.reasons) == (PASS, ())
    assert verdict.facts["plot"] == "rollouts/plot.png"
    assert verdict.facts["assertions"] == {
        "p99_latency": {"bad": 1, "of": 2500, "limit": 0.01},
        "error_rate": {"bad": 1, "of": 2500, "limit": 0.01},
    }


@pytest.mark.parametrize(
    ("assertion", "outcome", "reason"),
    [
        (shown(below=SURE), PASS, ""),
        (
            shown(below=SURE - 0.01, bad=20, needed_total=10000),
            UNKNOWN,
            "not shown <= 1.00%; about 10000 requests would; declare duration: 210",
        ),
        (shown(below=0, bad=25), UNKNOWN, "a longer test would not show it"),
        (
            shown(above=math.log(40), below=-9, bad=60),
            FAIL,
            "p99_latency: 60 of 2500 (2.40%) slower than 100 ms or failed > 1.00%",
        ),
        (shown(above=math.log(40) - 0.01, below=-9, bad=60), UNKNOWN, "not shown"),
    ],
)
def test_an_assertion_is_kept_broken_or_undecided(assertion: ShareEvidence, outcome: Outcome, reason: str) -> None:
    found, said = judged(result(assertion, shown("error_rate")))
    assert found is outcome
    assert reason in said


def test_every_broken_assertion_is_named_with_how_requests_failed() -> None:
    broken = [shown(above=9, below=-9, bad=90), shown("error_rate", above=9, below=-9, bad=80)]
    outcome, said = judged(result(*broken, errors={"status 503": 78, "timeout": 2}))
    assert outcome is FAIL
    assert "p99_latency: 90 of 2500" in said
    assert "error_rate: 80 of 2500 (3.20%) failed > 1.00% (status 503: 78, timeout: 2)" in said


FAILING = (shown(above=99, below=-99, bad=2000), shown("error_rate", above=99, below=-99, bad=2000))


@pytest.mark.parametrize("assertions", [(), FAILING], ids=["good figures", "bad figures"])
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"unsent": 7}, "could not send 7 requests in time"),
        ({"plateau_rps": 47.4}, "the client sent 47 requests/s of 50"),
        ({"wrong_version_answers": 3}, "3 answers came from another version than 5"),
        ({"errors": {"status 429": 9}}, "the endpoint refused requests (status 429: 9)"),
        ({"errors": {"status 401": 1, "timeout": 5}}, "(status 401: 1)"),
    ],
)
def test_a_test_that_did_not_try_the_candidate_neither_passes_nor_fails_it(
    changes: dict[str, Any], reason: str, assertions: tuple[ShareEvidence, ...]
) -> None:
    outcome, said = judged(result(*assertions, **changes))
    assert outcome is UNKNOWN
    assert reason in said


@pytest.mark.parametrize(
    ("assertions", "lag", "outcome"),
    [
        ({"p99_latency": {"max": 500}}, 99, FAIL),
        ({"p99_latency": {"max": 500}}, 101, UNKNOWN),
        ({"p95_latency": {"max": 5}, "p99_latency": {"max": 500}}, 11, UNKNOWN),
        ({"p95_latency": {"max": 5}}, 9.9, FAIL),
        ({"error_rate": {"max": 0.01}}, 5000, FAIL),
    ],
)
def test_a_late_client_excuses_a_slow_candidate_and_never_stops_one_that_was_fast_all_the_same(
    assertions: dict[str, Any], lag: float, outcome: Outcome
) -> None:
    found, said = judged(result(*FAILING, lag_p99_ms=lag), deployment(assertions))
    assert found is outcome
    assert ("the client itself was late" in said) is (outcome is UNKNOWN)
    assert "2000 of 2500" in said
    assert judged(result(lag_p99_ms=lag), deployment(assertions))[0] is PASS
    doubtful = result(shown(below=0, bad=25), lag_p99_ms=lag)
    assert judged(doubtful, deployment(assertions))[0] is UNKNOWN


def test_a_test_that_was_ended_early_by_a_failure_need_not_have_kept_its_rate() -> None:
    assert judged(result(*FAILING, stopped_early=True, plateau_rps=1))[0] is FAIL


def test_nothing_asserted_is_nothing_shown() -> None:
    assert judged(result().model_copy(update={"shown": []})) == (UNKNOWN, "nothing was asserted")
    assert judged(result(), Deployment())[0] is UNKNOWN


def test_a_test_that_is_not_declared_is_the_only_reason() -> None:
    assert judged(result(*FAILING), Deployment()) == (UNKNOWN, "deployment.load_test is not declared")


def test_a_broken_assertion_is_not_doubtful_too() -> None:
    _, reasons = judged(result(shown(above=9, below=-9, bad=90), shown("error_rate")))
    assert reasons == "p99_latency: 90 of 2500 (3.60%) slower than 100 ms or failed > 1.00%"


def test_a_doubtful_assertion_of_a_late_client_is_told_with_its_lag() -> None:
    outcome, reasons = judged(result(shown(below=0, bad=25), shown("error_rate"), lag_p99_ms=5000))
    assert outcome is UNKNOWN
    assert reasons.startswith("the client itself was late by 5,000 ms (p99) > 20 ms")


@pytest.mark.parametrize(("rate", "outcome"), [(47.5, PASS), (47.49, UNKNOWN)])
def test_a_client_has_to_send_95_of_100_declared_requests(rate: float, outcome: Outcome) -> None:
    assert judged(result(plateau_rps=rate))[0] is outcome


@pytest.mark.parametrize(("lag", "outcome"), [(20.0, FAIL), (20.01, UNKNOWN)])
def test_a_client_may_be_late_by_a_fifth_of_the_lowest_latency_limit(lag: float, outcome: Outcome) -> None:
    assert judged(result(*FAILING, lag_p99_ms=lag))[0] is outcome


def test_a_share_of_no_requests_is_shown_as_none() -> None:
    _, reasons = judged(result(shown(below=0, bad=0, total=0), shown("error_rate")))
    assert reasons.startswith("p99_latency: 0 of 0 (0.00%)")
