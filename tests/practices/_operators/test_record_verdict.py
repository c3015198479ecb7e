"""A verdict is recorded, shown and acted upon in the same way, whatever practice came to it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Literal

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Refused, Unavailable
from pipelines.verdict import Verdict
from practices._operators.record_verdict import record_verdict
from tests.practices.practice_harness import MODEL, PracticeHarness

PASS = Verdict.of("slice_gate")
FAIL = Verdict.of("slice_gate", failures=["origin=JFK: 0.61 < 0.66", "origin=LGA: 0.60 < 0.66"], facts={"rows": 9})
UNKNOWN = Verdict.of("slice_gate", unknowns=["origin=EWR: not measured"])


def act(verdict: Verdict, harness: PracticeHarness, on_fail: Literal["skip", "fail"] = "skip", **run: Any) -> None:
    record_verdict(
        verdict,
        subject="flight_delay version 3 at the slice gate",
        ledger_kind="gate",
        model=MODEL,
        version="3",
        ports=harness,  # type: ignore[arg-type]
        context=harness.context("evaluate", "judge_slices", **run),
        on_fail=on_fail,
        details={"gate": "slice_gate"},
    )


def test_a_pass_is_on_record_and_lets_the_task_go_on(harness: PracticeHarness) -> None:
    act(PASS, harness)
    [line] = harness.ledger.lines
    assert (line.kind, line.model, line.version, line.actor) == ("gate", MODEL, "3", harness.settings.actor)
    assert line.details == {"gate": "slice_gate", "rule": "slice_gate", "outcome": "pass", "reasons": [], "facts": {}}
    assert line.key is not None
    assert line.key.startswith(f"{MODEL}__evaluate/manual__1/judge_slices/-1/0/")


@pytest.mark.parametrize(
    ("verdict", "on_fail", "ends"),
    [
        (FAIL, "skip", AirflowSkipException),
        (FAIL, "fail", Refused),
        (UNKNOWN, "skip", Refused),
        (UNKNOWN, "fail", Refused),
    ],
)
def test_anything_but_a_pass_stops_what_follows_with_every_reason_told_and_on_record(
    verdict: Verdict, on_fail: Literal["skip", "fail"], ends: type[Exception], harness: PracticeHarness
) -> None:
    with pytest.raises(ends) as stopped:
        act(verdict, harness, on_fail)
    assert all(reason in str(stopped.value) for reason in verdict.reasons)
    assert harness.ledger.lines[0].details["reasons"] == list(verdict.reasons)


@pytest.mark.parametrize("verdict", [PASS, FAIL, UNKNOWN])
def test_every_reason_and_number_is_on_the_tasks_page(verdict: Verdict, harness: PracticeHarness) -> None:
    context = harness.context("evaluate", "judge_slices")
    with suppress(AirflowSkipException, Refused):
        about = {"subject": "version 3", "ledger_kind": "gate", "model": MODEL, "version": "3"}
        record_verdict(verdict, **about, ports=harness, context=context)  # type: ignore[arg-type]
    assert context["pushed"] == {"reasons": list(verdict.reasons), "facts": verdict.facts}


@pytest.mark.parametrize(("verdict", "on_fail"), [(FAIL, "fail"), (UNKNOWN, "skip")])
def test_a_refusal_bears_its_numbers_as_notes_which_the_log_shows_after_the_reasons(
    verdict: Verdict, on_fail: Literal["skip", "fail"], harness: PracticeHarness, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Refused) as refused:
        act(verdict.model_copy(update={"findings": ("origin=EWR 0.70 ≥ 0.66",)}), harness, on_fail)
    assert refused.value.__notes__ == ["measured: origin=EWR 0.70 ≥ 0.66"]
    assert caplog.messages == [], "the reasons are not logged twice"


def test_a_pass_is_logged_with_its_numbers(harness: PracticeHarness, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    act(Verdict.of("slice_gate", findings=["origin=EWR 0.70 ≥ 0.66"]), harness)
    assert caplog.messages == ["flight_delay version 3 at the slice gate: PASS\n  - origin=EWR 0.70 ≥ 0.66"]


def test_nothing_is_done_about_a_verdict_that_could_not_be_recorded(harness: PracticeHarness) -> None:
    harness.ledger.down = True
    with pytest.raises(Unavailable):
        act(FAIL, harness)


def test_a_retry_that_judges_alike_is_one_act_and_a_cleared_run_judges_anew(harness: PracticeHarness) -> None:
    for verdict, cleared in ((PASS, 0), (PASS, 0), (FAIL, 0), (PASS, 1), (PASS, 1)):
        with suppress(AirflowSkipException):
            act(verdict, harness, clear_number=cleared)
    act(PASS, harness, run="manual__2")
    assert [line.details["outcome"] for line in harness.ledger.lines] == ["pass", "fail", "pass", "pass"]
