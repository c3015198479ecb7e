"""An evaluation counts only when all the gates need was measured on rows later than the training of both."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pipelines.rules.candidate_evaluation import judge_evaluation
from pipelines.verdict import Outcome


def test_a_full_evaluation_on_later_rows_passes(spec: Any, result: Any) -> None:
    verdict = judge_evaluation(result(), spec())
    assert verdict.passed
    assert verdict.facts["champion"] == "3"


def test_a_first_candidate_passes_and_the_facts_say_that_there_is_no_champion(spec: Any, result: Any) -> None:
    first = result(champion=None, comparison=None, champion_trained_until=None, compared_from=None)
    verdict = judge_evaluation(first, spec())
    assert verdict.passed
    assert verdict.facts["champion"] == "no champion"


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"metrics": {"roc_auc": 0.7}}, ("log_loss not measured",)),
        ({"metrics": {}}, ("roc_auc not measured", "log_loss not measured")),
        (
            {"rows": 0, "metrics": {}, "first": None},
            (
                "the test part has no rows",
                "roc_auc not measured",
                "log_loss not measured",
                "the times of the test part and of the training of version 4 are not known",
            ),
        ),
        (
            {"comparison": None, "notes": ["champion 3 needs the column tail_age"]},
            ("comparison with champion 3 not measured", "champion 3 needs the column tail_age"),
        ),
        ({"champion_trained_until": None}, ("when the training data of champion 3 end is not known",)),
        ({"trained_until": None}, ("the times of the test part and of the training of version 4 are not known",)),
    ],
)
def test_what_was_not_measured_is_unknown_and_listed(
    spec: Any, result: Any, changes: dict[str, Any], reasons: tuple[str, ...]
) -> None:
    verdict = judge_evaluation(result(**changes), spec())
    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.reasons == reasons


def test_test_rows_earlier_than_the_training_fail_a_time_ordered_split_alone(spec: Any, result: Any) -> None:
    seen = result(trained_until=result().first + timedelta(seconds=1))
    verdict = judge_evaluation(seen, spec())
    assert verdict.outcome is Outcome.FAIL
    assert "are earlier than the last training row" in verdict.reasons[0]
    assert judge_evaluation(seen, spec(split="random")).passed


def test_rows_as_late_as_the_champions_training_fail_the_comparison(spec: Any, result: Any) -> None:
    verdict = judge_evaluation(result(champion_trained_until=result().compared_from), spec())
    assert verdict.outcome is Outcome.FAIL
    assert "are not later than the champion's training" in verdict.reasons[0]


def test_test_rows_that_begin_with_the_last_training_row_pass(spec: Any, result: Any) -> None:
    assert judge_evaluation(result(trained_until=result().first), spec()).passed


@pytest.mark.parametrize("missing", ["comparison", "compared_from"])
def test_without_compared_rows_their_time_is_no_fault(spec: Any, result: Any, missing: str) -> None:
    late = result(champion_trained_until=result().last, **{missing: None})
    assert judge_evaluation(late, spec()).outcome is (Outcome.UNKNOWN if missing == "comparison" else Outcome.PASS)


def test_the_facts_count_the_compared_rows(spec: Any, result: Any) -> None:
    assert judge_evaluation(result(), spec()).facts["compared_rows"] == 5000
    assert judge_evaluation(result(comparison=None), spec()).facts["compared_rows"] == 0
