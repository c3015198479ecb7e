"""A refitted model may be better than the judged one on rows that it has learnt; worse or astray it is refused."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.rules.reproducible_training import judge_training
from pipelines.verdict import Outcome
from tests.rules.test_reproducible_training import refit_check, trained
from tests.steps.small_training import spec


@pytest.mark.parametrize(
    ("changes", "outcome", "reason"),
    [
        ({}, Outcome.PASS, None),
        ({"refitted": 0.681}, Outcome.PASS, None),
        ({"refitted": 0.679}, Outcome.FAIL, "roc_auc 0.6790, the judged model has 0.7000; it may lose 0.02"),
        ({"metric": "log_loss", "judged": 0.5, "refitted": 0.509}, Outcome.PASS, None),
        ({"metric": "log_loss", "judged": 0.5, "refitted": 0.53}, Outcome.FAIL, "log_loss 0.5300"),
        ({"not_finite": 2}, Outcome.FAIL, "answers no finite number about 2 of 180 rows"),
        ({"refitted_mean": 0.249}, Outcome.PASS, None),
        ({"refitted_mean": 0.26}, Outcome.FAIL, "mean answer is 0.26, the judged model's is 0.18, the targets' 0.2"),
        ({"refitted_mean": 0.14}, Outcome.FAIL, "it may lie 0.03 farther away"),
        ({"judged_mean": 0.1, "refitted_mean": 0.29}, Outcome.PASS, None),
        ({"judged_spread": 0.0, "refitted_mean": 0.223}, Outcome.PASS, None),
        ({"judged_spread": 0.0, "refitted_mean": 0.226}, Outcome.FAIL, "it may lie 0.004 farther away"),
        ({"judged": None}, Outcome.UNKNOWN, "roc_auc of the refitted model is not defined on the 180 test rows"),
        ({"refitted": float("nan")}, Outcome.FAIL, "roc_auc nan"),
    ],
)
def test_a_refitted_model_may_not_do_what_the_judged_one_does_better(
    changes: dict[str, Any], outcome: Outcome, reason: str | None
) -> None:
    metric = changes.get("metric", "roc_auc")
    declared = spec()
    compared = declared.evaluation.comparison.model_copy(update={"metric": metric})
    declared = declared.model_copy(
        update={"evaluation": declared.evaluation.model_copy(update={"comparison": compared})}
    )
    verdict = judge_training(trained(refit=refit_check(**changes), metrics={f"validation_{metric}": 0.7}), declared)
    assert verdict.outcome is outcome
    assert reason is None or reason in "; ".join(verdict.reasons)


@pytest.mark.parametrize("changes", [{"refit": None}, {"judged_digest": None}, {"judged_digest": None, "refit": None}])
def test_a_declared_refit_that_was_not_checked_is_not_passed(changes: dict[str, Any]) -> None:
    verdict = judge_training(trained(**changes), spec())
    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.reasons == ("the refitted model was not held to the judged one on the newest rows",)


@pytest.mark.parametrize("declared", [{"refit": False}, {"split": {"strategy": "random"}}])
def test_a_training_without_a_refit_has_one_model(declared: dict[str, Any]) -> None:
    assert judge_training(trained(judged_digest=None, refit=None), spec(**declared)).passed
