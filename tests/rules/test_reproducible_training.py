"""A training passes if it is as declared and can be named whole; a reproduction, if the bytes are the same."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.messages.training import RefitCheck, ReproduceResult, TrainResult
from pipelines.rules.reproducible_training import judge_reproduction, judge_training
from pipelines.verdict import Outcome
from tests.steps.small_training import spec

DIGEST = "0a" * 32
OTHER = "0b" * 32


def refit_check(**changes: Any) -> RefitCheck:
    """Answers about the newest rows that are a little better than those of the judged model."""
    fields: dict[str, Any] = {
        "rows": 180,
        "metric": "roc_auc",
        "judged": 0.70,
        "refitted": 0.72,
        "not_finite": 0,
        "target_mean": 0.20,
        "target_spread": 0.40,
        "judged_mean": 0.18,
        "judged_spread": 0.12,
        "refitted_mean": 0.20,
    }
    return RefitCheck(**{**fields, **changes})


def trained(**changes: Any) -> TrainResult:
    fields: dict[str, Any] = {
        "model": "small_delay",
        "run_id": "r",
        "version": "1",
        "model_uri": "models:/m-1",
        "model_digest": DIGEST,
        "snapshot": DIGEST,
        "request_digest": DIGEST,
        "environment_digest": DIGEST,
        "rounds": 40,
        "best_round": 12,
        "metrics": {"validation_roc_auc": 0.7},
        "seconds": 1.0,
        "judged_digest": OTHER,
        "refit": refit_check(),
    }
    return TrainResult(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "outcome", "reasons"),
    [
        ({}, Outcome.PASS, []),
        ({"best_round": None}, Outcome.PASS, []),
        ({"rounds": 41}, Outcome.FAIL, ["rounds 41 > 40 declared"]),
        ({"rounds": 0, "best_round": None}, Outcome.FAIL, ["rounds 0 < 1: the model was not trained"]),
        ({"best_round": 40}, Outcome.FAIL, ["best round 40 is outside the 40 rounds"]),
        (
            {"rounds": 41, "metrics": {"validation_roc_auc": float("nan")}},
            Outcome.FAIL,
            ["rounds 41 > 40 declared", "validation_roc_auc is nan"],
        ),
        ({"metrics": {}}, Outcome.UNKNOWN, ["validation_roc_auc was not measured"]),
        ({"model_digest": ""}, Outcome.UNKNOWN, ["model_digest '' is not a sha256"]),
        (
            {"snapshot": "latest", "environment_digest": "?"},
            Outcome.UNKNOWN,
            ["snapshot 'latest' is not a sha256", "environment_digest '?' is not a sha256"],
        ),
    ],
)
def test_a_training_is_judged_by_all_that_reproducing_it_needs(
    changes: dict[str, Any], outcome: Outcome, reasons: list[str]
) -> None:
    verdict = judge_training(trained(**changes), spec())
    assert (verdict.outcome, list(verdict.reasons)) == (outcome, reasons)
    assert verdict.facts["snapshot"] == trained(**changes).snapshot


def test_searched_rounds_may_exceed_the_declared_ones() -> None:
    declared = spec(search={"trials": 1, "space": {"rounds": {"low": 10, "high": 90, "integer": True}}})
    assert judge_training(trained(rounds=80), declared).passed


def reproduced(**changes: Any) -> ReproduceResult:
    fields = {
        "model": "m",
        "version": "1",
        "registered_digest": DIGEST,
        "reproduced_digest": DIGEST,
        "snapshot": DIGEST,
    }
    return ReproduceResult(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "outcome", "reasons"),
    [
        ({}, Outcome.PASS, []),
        ({"differences": ["xgboost: 3.1.0 then, 3.2.0 now"]}, Outcome.PASS, []),
        (
            {"reproduced_digest": OTHER, "differences": ["xgboost: 3.1.0 then, 3.2.0 now"]},
            Outcome.FAIL,
            ["reproduced 0b0b0b0b0b0b != registered 0a0a0a0a0a0a", "differs: xgboost: 3.1.0 then, 3.2.0 now"],
        ),
        ({"registered_digest": ""}, Outcome.UNKNOWN, ["registered '' is not a sha256"]),
        ({"registered_judged_digest": DIGEST, "reproduced_judged_digest": DIGEST}, Outcome.PASS, []),
        (
            {"registered_judged_digest": DIGEST, "reproduced_judged_digest": OTHER},
            Outcome.FAIL,
            ["judged reproduced 0b0b0b0b0b0b != registered 0a0a0a0a0a0a"],
        ),
        ({"reproduced_judged_digest": OTHER}, Outcome.UNKNOWN, ["judged registered '' is not a sha256"]),
    ],
)
def test_a_reproduction_passes_on_equal_bytes_alone(
    changes: dict[str, Any], outcome: Outcome, reasons: list[str]
) -> None:
    verdict = judge_reproduction(reproduced(**changes))
    assert (verdict.outcome, list(verdict.reasons)) == (outcome, reasons)


def test_a_search_without_rounds_keeps_the_declared_ones() -> None:
    declared = spec(search={"trials": 1, "space": {"max_depth": {"low": 2, "high": 4, "integer": True}}})
    assert judge_training(trained(rounds=41), declared).reasons == ("rounds 41 > 40 declared",)


def test_only_an_xgboost_model_has_declared_rounds() -> None:
    other = spec()
    linear = other.training.estimator.model_copy(update={"kind": "sklearn"})
    other = other.model_copy(update={"training": other.training.model_copy(update={"estimator": linear})})
    assert judge_training(trained(rounds=41), other).passed


def test_the_best_round_is_told_where_there_is_one() -> None:
    assert judge_training(trained(), spec()).findings[0].startswith("40 rounds, the best is 12, in 1 s")
    assert judge_training(trained(best_round=None), spec()).findings[0].startswith("40 rounds, in 1 s")


@pytest.mark.parametrize(("best", "passed"), [(-1, False), (0, True), (39, True), (40, False)])
def test_the_best_round_is_one_of_the_rounds(best: int, passed: bool) -> None:
    assert judge_training(trained(best_round=best), spec()).passed is passed


def test_one_round_is_a_training() -> None:
    assert judge_training(trained(rounds=1, best_round=0), spec()).passed


@pytest.mark.parametrize("digest", ["0" * 63, "0" * 65, "0" * 63 + "g", "g" * 64, "A" * 64])
def test_a_digest_is_64_hex_digits(digest: str) -> None:
    assert judge_training(trained(snapshot=digest), spec()).reasons == (f"snapshot {digest!r} is not a sha256",)


def test_a_reproduction_without_a_digest_is_no_difference() -> None:
    verdict = judge_reproduction(reproduced(registered_digest="", reproduced_digest=OTHER, differences=["x"]))
    assert verdict.reasons == ("registered '' is not a sha256",)
