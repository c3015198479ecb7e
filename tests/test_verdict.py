"""What a log shows of a verdict: the reasons first, and the numbers whatever the outcome."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.verdict import Verdict, significant

FACTS: dict[str, object] = {"rows": 894, "metric": "roc_auc", "value": 0.7656, "by_day": {"2013-01-05": 1}}


@pytest.mark.parametrize(
    ("verdict", "lines"),
    [
        (Verdict.of("r", findings=["roc_auc 0.7656 ≥ 0.62"]), ["roc_auc 0.7656 ≥ 0.62"]),
        (Verdict.of("r", facts=FACTS), ["rows 894, metric roc_auc, value 0.7656"]),
        (Verdict.of("r"), []),
        (Verdict.of("r", failures=["a", "b"], findings=["n"]), ["a", "b", "measured: n"]),
        (Verdict.of("r", unknowns=["a"], facts=FACTS), ["a", "measured: rows 894, metric roc_auc, value 0.7656"]),
    ],
)
def test_the_reasons_come_first_and_then_the_numbers(verdict: Verdict, lines: list[str]) -> None:
    assert verdict.lines() == lines
    assert str(verdict).splitlines()[1:] == [f"  - {line}" for line in lines]


def test_a_verdict_without_findings_is_stored_as_before_and_an_old_one_can_be_read() -> None:
    assert "findings" not in Verdict.of("r").model_dump(mode="json")
    stored = Verdict.of("r", findings=["n"]).model_dump(mode="json")
    assert Verdict.model_validate(stored).findings == ("n",)
    assert Verdict.model_validate({"rule": "r", "outcome": "pass"}).findings == ()


@given(st.floats(1e-4, 1e12), st.integers(2, 6))
@settings(max_examples=100, deadline=None)
def test_no_number_that_a_person_counts_is_written_with_an_exponent(value: float, digits: int) -> None:
    written = significant(value, digits)
    assert "e" not in written
    assert abs(float(written.replace(",", "")) / value - 1) <= 0.5 * 10 ** (1 - digits) + 1e-9


@pytest.mark.parametrize(
    ("value", "written"), [(1100.6, "1,101"), (27.13, "27.1"), (0.0012345, "0.00123"), (0, "0"), (999.6, "1,000")]
)
def test_three_digits_count(value: float, written: str) -> None:
    assert significant(value) == written
