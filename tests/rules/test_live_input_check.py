"""Callers' rows fail by constraints, offline features and their own past; what differs otherwise is told."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from pipelines.messages.live_inputs import InputMeasure, LiveInputsResult
from pipelines.messages.monitoring import ColumnFinding, DriftMeasure
from pipelines.rules.live_input_check import judge_live_inputs
from pipelines.spec.live_inputs import LiveInputs
from pipelines.verdict import Outcome
from tests.declared import shipped_model

DAY = date(2013, 5, 7)
SPEC = shipped_model()
LIMITS = LiveInputs()


def drift(p_value: float | None = 0.5, psi: float | None = 0.01) -> DriftMeasure:
    return DriftMeasure(name="temp", kind="numeric", method="ks", rows=900, statistic=0.1, p_value=p_value, psi=psi)


def measure(**changes: Any) -> InputMeasure:
    usual = {
        "name": "temp",
        "rows": 900,
        "null_share": 0.0,
        "max_null_share": 0.5,
        "outside_share": 0.0,
        "training": drift(),
        "matched_rows": 900,
        "differing_share": 0.0,
    }
    return InputMeasure.model_validate({**usual, **changes})


def result(*measures: InputMeasure, **changes: Any) -> LiveInputsResult:
    usual = {
        "model": "flight_delay",
        "day": DAY,
        "window": [DAY],
        "judged": [DAY],
        "version": "3",
        "rows": 900,
        "history_days": 40,
        "measures": list(measures) or [measure()],
    }
    return LiveInputsResult.model_validate({**usual, **changes})


def fault(lane: str = "fault") -> ColumnFinding:
    return ColumnFinding.model_validate(
        {"column": "dewp", "lane": lane, "since": DAY, "signs": ["mean 40 → 4"], "moved": 0.9, "influence": 0.05}
    )


@pytest.mark.parametrize(
    ("changes", "fails"),
    [
        ({}, False),
        ({"outside_share": LIMITS.max_invalid_share}, False),
        ({"outside_share": LIMITS.max_invalid_share + 0.001, "outside": "999 > 130"}, True),
        ({"null_share": 0.5}, False),
        ({"null_share": 0.51}, True),
        ({"differing_share": LIMITS.max_skew_share}, False),
        ({"differing_share": LIMITS.max_skew_share + 0.001, "differing": "a: sent 1, offline 2"}, True),
        ({"differing_share": 1.0, "matched_rows": LIMITS.minimum_rows - 1}, False),
        ({"differing_share": None, "matched_rows": 0}, False),
        ({"unseen_share": 0.2, "unseen": ["XX"]}, False),
        ({"training": drift(1e-9, 3.0)}, False),
        ({"recent": drift(1e-9, 3.0)}, False),
    ],
)
def test_a_column_fails_beyond_a_limit_that_is_declared_and_not_at_it(changes: dict[str, Any], fails: bool) -> None:
    verdict = judge_live_inputs(result(measure(**changes)), SPEC)
    assert (verdict.outcome is Outcome.FAIL, verdict.facts["faults"]) == (fails, ["temp"] if fails else [])


def test_every_reason_of_every_column_is_listed_by_its_column() -> None:
    bad = measure(outside_share=0.2, outside="999 > 130", differing_share=0.3, differing="a: sent 1, offline 2")
    verdict = judge_live_inputs(result(bad, measure(name="humid", null_share=0.9), findings=[fault()]), SPEC)
    assert [reason.split(":")[0] for reason in verdict.reasons] == ["temp", "temp", "humid", "dewp"]
    assert list(verdict.facts["by_column"]) == ["temp", "humid", "dewp"]  # type: ignore[call-overload]
    assert verdict.facts["act"] == ["dewp"]


def test_what_moved_or_differs_is_told_with_its_numbers_and_fails_nothing() -> None:
    differing = measure(unseen_share=0.2, unseen=["XX", "YY"], training=drift(1e-9, 3.0), recent=drift(1e-9, 2.0))
    verdict = judge_live_inputs(result(differing, findings=[fault("watch")], recent_rows=1000, former_rows=9000), SPEC)
    assert verdict.outcome is Outcome.PASS
    assert verdict.findings[2].startswith("watch dewp: since 2013-05-07 mean 40 → 4")
    assert verdict.findings[3:] == (
        "temp: 20.00% of the rows have a category that training had not: XX, YY",
        "1 of 1 columns differ from the training rows (psi: temp 3.000, limit 0.25)",
        "1 of 1 columns differ from the 9000 before the newest 1000 rows (psi: temp 2.000, limit 0.25)",
    )


def test_a_difference_of_which_chance_has_no_share_is_one() -> None:
    findings = judge_live_inputs(result(measure(training=drift(0.0, 3.0))), SPEC).findings
    assert "1 of 1 columns differ from the training rows (psi: temp 3.000, limit 0.25)" in findings


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rows": 199}, "callers sent 199 rows in 1 days (needs monitoring.live_inputs.minimum_rows: 200)"),
        (
            {"version": None, "rows": 0, "measures": []},
            "no version is live: callers' rows have no training to be compared with",
        ),
    ],
)
def test_too_few_rows_are_unknown_whatever_their_shares(changes: dict[str, Any], reason: str) -> None:
    verdict = judge_live_inputs(result(measure(outside_share=1.0), **changes), SPEC)
    assert (verdict.outcome, verdict.reasons) == (Outcome.UNKNOWN, (reason,))


def test_a_short_past_of_the_callers_rows_is_said_and_does_not_turn_red() -> None:
    verdict = judge_live_inputs(result(history_days=4), SPEC)
    assert verdict.outcome is Outcome.PASS
    assert (
        "no column is held against its own past yet: callers sent rows on 4 days before (needs 28)" in verdict.findings
    )
