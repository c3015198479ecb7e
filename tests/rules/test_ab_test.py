from __future__ import annotations

import math
from typing import Any, Literal

import pytest

from pipelines.messages.comparison import ExperimentMeasure, MetricInterval
from pipelines.messages.rollout import RolloutTicket
from pipelines.rules.ab_test import judge_experiment, plan_faults
from pipelines.spec.deployment import Deployment, RoutingSpec
from pipelines.spec.model import ModelSpec
from pipelines.spec.strategy import AbTestSpec
from pipelines.verdict import Outcome
from tests.declared import shipped_model

DECLARED = AbTestSpec(metrics=["accuracy", "latency"], margin=0.05, minimum_sample_size=1000)
NEEDED = math.log(1000)
OVER = DECLARED.max_duration
WAIT = "Keep version 4 until there is more evidence:"
SPEC = shipped_model()
TICKET = RolloutTicket(
    model="flight_delay", version="5", rollout_id="r1", champion="4", bundle="b", sha256="s", model_digest="d"
)


def interval(
    metric: str,
    better: Literal["higher", "lower", "same"],
    low: float | None,
    high: float | None,
    *,
    wider: float = 0.0,
    units: int = 1000,
) -> MetricInterval:
    """An interval; ``wider`` is what sharing alpha costs at each end."""
    known = low is not None and high is not None
    return MetricInterval(
        metric=metric,
        better=better,
        control_units=units,
        variant_units=units,
        control=0.7,
        variant=0.7,
        estimate=(low + high) / 2 if known else None,  # type: ignore[operator]
        low=low,
        high=high,
        low_shared=low - wider if known else None,  # type: ignore[operator]
        high_shared=high + wider if known else None,  # type: ignore[operator]
    )


def accuracy(low: float | None, high: float | None, **more: Any) -> MetricInterval:
    return interval("accuracy", "higher", low, high, **more)


def latency(low: float | None, high: float | None, **more: Any) -> MetricInterval:
    return interval("latency", "lower", low, high, **more)


BETTER, SAME, KEPT = accuracy(0.01, 0.03), accuracy(-0.04, 0.04), latency(-0.02, 0.04)


def measured(*metrics: MetricInterval, **changes: Any) -> ExperimentMeasure:
    fields: dict[str, Any] = {
        "model": "m",
        "control": "4",
        "variant": "5",
        "rollout_id": "r1",
        "elapsed": 60.0,
        "control_units": 1000,
        "variant_units": 1000,
        "split_log_e": 0.0,
        "metrics": list(metrics),
    }
    return ExperimentMeasure(**(fields | changes))


@pytest.mark.parametrize(
    ("found", "answer", "reason"),
    [
        (measured(BETTER, KEPT), "variant wins", ""),
        (measured(BETTER, latency(-0.4, -0.3)), "variant wins", ""),
        (measured(BETTER, latency(0.01, 0.05)), "variant wins", ""),
        (measured(BETTER, latency(0.01, 0.06)), "undecided", "latency: not shown to lose at most 0.05"),
        (measured(BETTER, latency(None, None)), "undecided", "no interval yet"),
        (measured(BETTER, latency(0.06, 0.09)), "control stays", "latency: shown to lose more than 0.05"),
        (measured(BETTER, latency(0.06, 0.09, wider=0.02)), "undecided", "latency: not shown to lose at most"),
        (measured(accuracy(-0.03, -0.01), KEPT), "control stays", "accuracy: shown worse"),
        (measured(accuracy(-0.3, -0.1, wider=0.15), KEPT), "undecided", "accuracy: not shown better"),
        (measured(SAME, KEPT), "no difference", "accuracy: no difference beyond 0.05"),
        (measured(accuracy(-0.06, 0.04), KEPT), "undecided", "accuracy: not shown better"),
        (measured(accuracy(-0.04, 0.06), KEPT), "undecided", "accuracy: not shown better"),
        (measured(BETTER, KEPT, split_log_e=NEEDED), "invalid", "the arms cannot be compared"),
        (measured(BETTER, KEPT, split_log_e=NEEDED - 0.01), "variant wins", ""),
        (
            measured(BETTER, KEPT, control_units=0, variant_units=0),
            "undecided",
            "nobody asked the gateway for m in the 60 s of the experiment: send",
        ),
        (measured(BETTER, KEPT, variant_units=999), "undecided", "variant 999; 1000 are needed in each"),
        (measured(accuracy(0.01, 0.03, units=999), KEPT), "undecided", "users with accuracy: control 999"),
        (
            measured(BETTER.model_copy(update={"minimum_units": 1001}), KEPT),
            "undecided",
            "users with accuracy: control 1000, variant 1000; 1001 are needed in each, because its values are skewed",
        ),
        (measured(BETTER.model_copy(update={"minimum_units": 1000}), KEPT), "variant wins", ""),
        (measured(BETTER, KEPT, errors=["impossible"]), "error", "impossible"),
    ],
)
def test_the_first_metric_must_be_shown_better_and_no_other_may_lose_more_than_the_margin(
    found: ExperimentMeasure, answer: str, reason: str
) -> None:
    decision = judge_experiment(found, DECLARED)
    verdict = decision.verdict
    assert verdict.facts["answer"] == answer
    assert reason in "\n".join(verdict.reasons)
    outcomes = {"variant wins": Outcome.PASS, "control stays": Outcome.FAIL, "no difference": Outcome.FAIL}
    assert verdict.outcome is outcomes.get(answer, Outcome.UNKNOWN)
    actions = {"variant wins": "go_on", "control stays": "roll_back", "no difference": "roll_back", "invalid": "hold"}
    assert decision.action == actions.get(answer, "look_again")


@pytest.mark.parametrize(
    ("low", "high", "answer"),
    [
        (-0.04, 0.04, "variant wins"),
        (-0.06, 0.01, "undecided"),
        (0.06, 0.08, "control stays"),
        (-0.08, -0.06, "control stays"),
    ],
)
def test_a_mean_of_predictions_may_move_neither_way(low: float, high: float, answer: str) -> None:
    found = measured(BETTER, interval("prediction", "same", low, high))
    assert judge_experiment(found, DECLARED).verdict.facts["answer"] == answer


def test_without_a_margin_a_guard_passes_only_if_it_is_not_worse_at_all_and_nothing_is_called_no_difference() -> None:
    strict = DECLARED.model_copy(update={"margin": 0.0})
    assert judge_experiment(measured(BETTER, KEPT), strict).verdict.facts["answer"] == "undecided"
    assert judge_experiment(measured(BETTER, latency(-0.2, -0.0)), strict).verdict.facts["answer"] == "variant wins"
    assert judge_experiment(measured(SAME, latency(-0.2, -0.1)), strict).verdict.facts["answer"] == "undecided"


def test_control_stays_when_the_time_is_up_and_the_reasons_say_what_was_open() -> None:
    verdict = judge_experiment(measured(accuracy(-0.06, 0.04), KEPT, elapsed=OVER), DECLARED).verdict
    assert (verdict.outcome, verdict.facts["answer"]) == (Outcome.FAIL, "undecided")
    assert "version 4 stays" in verdict.reasons[0]
    assert "accuracy: not shown better" in verdict.reasons[1]


def test_an_invalid_experiment_stays_unknown_when_the_time_is_up() -> None:
    decision = judge_experiment(measured(BETTER, KEPT, split_log_e=9.0, elapsed=OVER), DECLARED)
    assert (decision.verdict.outcome, decision.action) == (Outcome.UNKNOWN, "hold")


@pytest.mark.parametrize(
    ("errors", "elapsed", "action"), [(1, 60.0, "look_again"), (3, 60.0, "look_again"), (4, 60.0, "hold")]
)
def test_counts_that_cannot_be_hold_the_experiment_after_so_many_observations_in_a_row(
    errors: int, elapsed: float, action: str
) -> None:
    broken = measured(BETTER, KEPT, errors=["impossible"], elapsed=elapsed)
    assert judge_experiment(broken, DECLARED, consecutive_errors=errors, max_errors=4).action == action


def test_the_recommendation_says_in_words_what_to_do() -> None:
    won = judge_experiment(measured(BETTER, KEPT), DECLARED).verdict.facts["recommendation"]
    lost = judge_experiment(measured(SAME, KEPT), DECLARED).verdict.facts["recommendation"]
    assert str(won).startswith("Promote version 5: accuracy: better (difference +0.02 [+0.01, +0.03])")
    assert str(lost).startswith("Keep version 4: version 5 is not worth a change.")


def planned(**fields: Any) -> ModelSpec:
    deployment = Deployment(strategy="ab", ab=AbTestSpec(**fields), routing=RoutingSpec(key="field:ids"))
    return SPEC.model_copy(update={"deployment": deployment})


@pytest.mark.parametrize(
    ("fields", "problem", "fault"),
    [
        ({}, "classification", ""),
        ({"metrics": ["accuracy", "brier"]}, "classification", ""),
        ({"metrics": ["accuracy", "brier"]}, "regression", "accuracy, brier needs a classification"),
        ({"metrics": ["prediction"]}, "classification", "prediction comes first, but has no better direction"),
        ({"metrics": ["accuracy", "prediction"]}, "classification", "prediction needs a margin to stay within"),
        ({"metrics": ["accuracy", "accuracy"]}, "classification", "accuracy is named twice"),
        ({"control_model": "3"}, "classification", "control_model is 3, but version 4 is live"),
        ({"variant_model": "6"}, "classification", "variant_model is 6, but version 5 is the candidate"),
        ({"control_model": "4", "variant_model": "5"}, "classification", ""),
    ],
)
def test_an_experiment_that_could_decide_nothing_does_not_begin(
    fields: dict[str, Any], problem: str, fault: str
) -> None:
    found = plan_faults(planned(**fields).model_copy(update={"problem": problem}), TICKET)
    assert fault in "\n".join(found)
    assert bool(found) == bool(fault)


def test_without_a_block_an_experiment_has_the_default_metrics() -> None:
    plain = SPEC.model_copy(update={"deployment": Deployment(strategy="ab", routing=RoutingSpec(key="field:ids"))})
    assert plan_faults(plain, TICKET) == []


@pytest.mark.parametrize(
    ("measure", "answer"),
    [
        (measured(accuracy(-0.2, 0.0), KEPT), "undecided"),
        (measured(accuracy(0.0, 0.2), KEPT), "undecided"),
        (measured(BETTER, latency(0.05, 0.06)), "undecided"),
        (measured(accuracy(-0.05, 0.05), KEPT), "no difference"),
        (measured(accuracy(-0.0501, 0.05), KEPT), "undecided"),
        (measured(accuracy(-0.05, 0.0501), KEPT), "undecided"),
    ],
)
def test_an_interval_that_only_touches_its_limit_shows_neither_a_gain_nor_a_loss(
    measure: ExperimentMeasure, answer: str
) -> None:
    assert judge_experiment(measure, DECLARED).verdict.facts["answer"] == answer


def test_without_a_margin_an_interval_of_exactly_zero_is_no_difference_that_could_be_shown() -> None:
    strict = DECLARED.model_copy(update={"margin": 0.0})
    assert judge_experiment(measured(accuracy(0.0, 0.0)), strict).verdict.facts["answer"] == "undecided"


def test_a_single_observation_that_failed_holds_an_experiment_unless_more_are_allowed() -> None:
    broken = measured(BETTER, KEPT, errors=["impossible"])
    assert judge_experiment(broken, DECLARED).action == "look_again"
    assert judge_experiment(broken, DECLARED, consecutive_errors=1).action == "hold"
    assert judge_experiment(broken, DECLARED, consecutive_errors=3, max_errors=4).action == "look_again"


def test_an_observation_that_failed_at_the_end_of_the_time_holds_the_experiment() -> None:
    broken = measured(BETTER, KEPT, errors=["impossible"], elapsed=OVER)
    assert judge_experiment(broken, DECLARED, consecutive_errors=0, max_errors=4).action == "hold"


@pytest.mark.parametrize(
    ("measure", "recommendation"),
    [
        (
            measured(accuracy(-0.03, -0.01), KEPT),
            "Keep version 4: accuracy: shown worse (difference -0.02 [-0.03, -0.01]).",
        ),
        (
            measured(accuracy(-0.06, 0.04), KEPT),
            f"{WAIT} accuracy: not shown better (difference -0.01 [-0.06, +0.04]).",
        ),
        (
            measured(BETTER, latency(0.01, 0.06)),
            f"{WAIT} latency: not shown to lose at most 0.05 (difference +0.035 [+0.01, +0.06] of control's).",
        ),
        (measured(BETTER, KEPT, errors=["impossible"]), "Correct the measurement: impossible."),
    ],
)
def test_the_recommendation_gives_every_reason(measure: ExperimentMeasure, recommendation: str) -> None:
    assert judge_experiment(measure, DECLARED).verdict.facts["recommendation"] == recommendation


def test_the_recommendation_at_the_end_of_the_time_says_that_it_is_over() -> None:
    facts = judge_experiment(measured(accuracy(-0.06, 0.04), KEPT, elapsed=OVER), DECLARED).verdict.facts
    assert "undecided at max_duration, so version 4 stays; accuracy: not shown better" in str(facts["recommendation"])


def test_the_facts_give_the_evidence_that_an_invalid_split_needs() -> None:
    facts = judge_experiment(measured(BETTER, KEPT), DECLARED).verdict.facts
    assert facts["split_needed"] == pytest.approx(math.log(1000))


@pytest.mark.parametrize("missing", ["estimate", "low", "high"])
def test_an_interval_without_one_of_its_numbers_is_no_interval_yet(missing: str) -> None:
    unknown = KEPT.model_copy(update={missing: None})
    verdict = judge_experiment(measured(accuracy(-0.06, 0.04), unknown), DECLARED).verdict
    open_metric = judge_experiment(measured(unknown.model_copy(update={"metric": "accuracy"}), KEPT), DECLARED).verdict
    assert verdict.outcome is Outcome.UNKNOWN
    assert "no interval yet" in str((*verdict.reasons, *open_metric.reasons))
