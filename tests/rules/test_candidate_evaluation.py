"""An evaluation counts only when all the gates need was measured on rows later than the training of both."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pipelines.messages.evaluation import Optimism
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


def test_test_rows_earlier_than_the_training_fail_a_time_ordered_split_alone(
    spec: Any, result: Any, interval: Any
) -> None:
    seen = result(trained_until=result().first + timedelta(seconds=1))
    verdict = judge_evaluation(seen, spec())
    assert verdict.outcome is Outcome.FAIL
    assert "are earlier than the last training row" in verdict.reasons[0]
    again = result(trained_until=seen.trained_until, comparison=interval(0.001, method="forward_chaining"))
    assert judge_evaluation(again, spec(split="random")).passed


def test_rows_as_late_as_the_champions_training_fail_the_comparison(spec: Any, result: Any) -> None:
    verdict = judge_evaluation(result(champion_trained_until=result().compared_from), spec())
    assert verdict.outcome is Outcome.FAIL
    assert "are not later than the champion's training" in verdict.reasons[0]


def test_test_rows_that_begin_with_the_last_training_row_pass(spec: Any, result: Any) -> None:
    first = result().first
    later = result(trained_until=first, compared_from=first + timedelta(seconds=1))
    assert judge_evaluation(later, spec()).passed


@pytest.mark.parametrize("split", ["time_ordered", "random", "stratified"])
def test_rows_that_the_candidate_has_seen_are_never_compared(spec: Any, result: Any, split: str) -> None:
    verdict = judge_evaluation(result(trained_until=result().compared_from), spec(split=split))
    assert verdict.outcome is Outcome.FAIL
    assert "are not later than the candidate's training" in verdict.reasons[-1]


def test_models_that_were_trained_again_have_other_ends_of_training(spec: Any, result: Any, interval: Any) -> None:
    again = interval(0.001, method="forward_chaining")
    early = result(comparison=again, champion_trained_until=result().last)
    assert judge_evaluation(early, spec()).passed


def test_the_optimism_of_what_was_shown_is_told(spec: Any, result: Any) -> None:
    shown = Optimism(
        metric="roc_auc", of="3", shown=0.73, later=0.711, amount=0.019, standard_error=0.01, units=30, unit="day"
    )
    verdict = judge_evaluation(result(optimism=shown), spec())
    assert verdict.findings[-1] == (
        "version 3 was shown with roc_auc 0.7300; the 30 days that its test part does not hold give 0.7110: "
        "0.0190 ± 0.0100 too good, which may be chance"
    )
    assert verdict.facts["optimism"]["amount"] == 0.019
    sharper = shown.model_copy(update={"standard_error": 0.008})
    assert judge_evaluation(result(optimism=sharper), spec()).findings[-1].endswith("0.0190 ± 0.0080 too good")


@pytest.mark.parametrize("missing", ["comparison", "compared_from"])
def test_without_compared_rows_their_time_is_no_fault(spec: Any, result: Any, missing: str) -> None:
    late = result(champion_trained_until=result().last, **{missing: None})
    assert judge_evaluation(late, spec()).outcome is (Outcome.UNKNOWN if missing == "comparison" else Outcome.PASS)


def test_the_facts_count_the_compared_rows(spec: Any, result: Any) -> None:
    assert judge_evaluation(result(), spec()).facts["compared_rows"] == 5000
    assert judge_evaluation(result(comparison=None), spec()).facts["compared_rows"] == 0


def test_counts_are_told_without_decimals_and_shares_with_four(spec: Any, result: Any) -> None:
    metrics = {"roc_auc": 1.0, "log_loss": 0.41234, "true_positives": 1093.0}
    verdict = judge_evaluation(result(rows=7489, metrics=metrics), spec())
    assert verdict.findings[0] == "7,489 test rows: roc_auc 1.0000, log_loss 0.4123, true_positives 1,093"
