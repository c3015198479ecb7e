"""What a log shows of a verdict: the reasons first, and the numbers whatever the outcome."""

from __future__ import annotations

import pytest

from pipelines.verdict import Verdict

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
