from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Refused
from pipelines.ledger.line_findings import findings
from pipelines.messages.live_inputs import InputMeasure, LiveInputsResult
from pipelines.messages.monitoring import DriftMeasure
from practices.live_input_check import LiveInputCheck
from tests.practices.practice_harness import MODEL, PracticeHarness

pytestmark = pytest.mark.usefixtures("watched")
DAY = date(2013, 3, 7)


def sent(outside_share: float = 0.0, rows: int = 900) -> LiveInputsResult:
    training = DriftMeasure(name="temp", kind="numeric", method="ks", rows=rows, statistic=0.1, p_value=0.5, psi=0.01)
    measure = InputMeasure(
        name="temp",
        rows=rows,
        null_share=0,
        max_null_share=0.5,
        outside_share=outside_share,
        outside="999 > 130",
        training=training,
    )
    return LiveInputsResult(
        model=MODEL,
        day=DAY,
        window=[DAY],
        judged=[DAY],
        version="4",
        rows=rows,
        measures=[measure],
        history_days=40,
        report="memory:reports/live_inputs/page.html",
    )


def check(harness: PracticeHarness, result: LiveInputsResult) -> tuple[LiveInputCheck, dict[str, Any]]:
    harness.answers["measure_live_inputs"] = result
    context = harness.context("monitor", "check_live_inputs", partition_key=f"{DAY}")
    operator = LiveInputCheck(task_id="check_live_inputs", model=MODEL)
    return operator, operator.execute(context)


def test_a_day_of_usual_rows_passes_is_on_record_and_shows_its_report(harness: PracticeHarness) -> None:
    operator, _ = check(harness, sent())
    [(version, details)] = harness.lines("monitoring_verdict")
    assert (version, details["check"], details["outcome"]) == ("4", "live_input_check", "pass")
    assert vars(operator)["link_addresses"]["live_input_report"].endswith(f"reports/live_inputs/{MODEL}/{DAY}.html")


def test_a_column_that_callers_send_wrong_turns_the_task_red_and_opens_its_incident(harness: PracticeHarness) -> None:
    with pytest.raises(Refused, match=r"temp: 20\.0% of 900 rows lie beyond the view's limits .* as 999 > 130"):
        check(harness, sent(0.2))
    line = harness.ledger.entries(MODEL, kind="monitoring_verdict")[-1]
    [opened] = [finding for finding in findings(line) if finding.firing]
    assert (opened.kind, opened.subject, opened.severity) == ("live_input_fault", "temp", "warning")
    assert opened.what.startswith("temp: 20.0% of 900 rows")


def test_a_column_that_is_well_again_ends_its_incident(harness: PracticeHarness) -> None:
    check(harness, sent())
    line = harness.ledger.entries(MODEL, kind="monitoring_verdict")[-1]
    assert ("live_input_fault", None, False) in {(f.kind, f.subject, f.firing) for f in findings(line)}


def test_too_few_rows_skip_the_task(harness: PracticeHarness) -> None:
    with pytest.raises(AirflowSkipException, match="callers sent 3 rows"):
        check(harness, sent(rows=3))
