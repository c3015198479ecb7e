"""A variant wins only if its first metric is shown better, no other loses more than ``margin``, on a valid split."""

from __future__ import annotations

import math

from pipelines.messages.comparison import ExperimentMeasure, MetricInterval
from pipelines.messages.rollout import RolloutTicket
from pipelines.rollout.decision import StageAction, StageDecision
from pipelines.rules.no_requests import no_requests_text
from pipelines.spec.experiment import experiment_faults
from pipelines.spec.model import ModelSpec
from pipelines.spec.strategy import AbTestSpec
from pipelines.verdict import Verdict

RULE = "ab_test"


def plan_faults(spec: ModelSpec, ticket: RolloutTicket) -> list[str]:
    """Every reason why this experiment may not begin."""
    declared = spec.deployment.ab or AbTestSpec()
    faults = experiment_faults(declared, spec.problem)
    if declared.control_model not in (None, ticket.champion):
        faults.append(f"control_model is {declared.control_model}, but version {ticket.champion} is live")
    if declared.variant_model not in (None, ticket.version):
        faults.append(f"variant_model is {declared.variant_model}, but version {ticket.version} is the candidate")
    return faults


def judge_experiment(
    measure: ExperimentMeasure, declared: AbTestSpec, *, consecutive_errors: int = 0, max_errors: int = 1
) -> StageDecision:
    """PASS: the variant wins. FAIL: control stays, also without evidence at ``max_duration``. UNKNOWN: not decided yet
    (``look_again``), or the experiment is not valid or measured nothing ``max_errors`` times in a row (``hold``).

    ``facts["answer"]`` names the finding and ``facts["recommendation"]`` says what to do. ``measure.metrics`` has the
    declared order; the first metric decides.
    """
    over = measure.elapsed >= declared.max_duration
    answer, reasons = _experiment_answer(measure, declared)
    failures, unknowns = (reasons, []) if answer in ("control stays", "no difference") else ([], reasons)
    if over and answer == "undecided":
        failures, unknowns = [f"undecided at max_duration, so version {measure.control} stays", *reasons], []
    facts: dict[str, object] = {
        "answer": answer,
        "recommendation": _recommendation(answer, measure, failures or reasons),
        **measure.model_dump(mode="json", exclude={"schema_", "errors", "model"}),
        "margin": declared.margin,
        "confidence_level": declared.confidence_level,
        "minimum_sample_size": declared.minimum_sample_size,
        "split_needed": math.log(1 / declared.srm_alpha),
    }
    verdict = Verdict.of(RULE, failures=failures, unknowns=unknowns, facts=facts)
    waits = answer == "undecided" or (answer == "error" and not over and consecutive_errors < max_errors)
    open_action: StageAction = "look_again" if waits else "hold"
    action: StageAction = "roll_back" if failures else open_action if unknowns else "go_on"
    return StageDecision(verdict=verdict, action=action)


def _experiment_answer(measure: ExperimentMeasure, declared: AbTestSpec) -> tuple[str, list[str]]:
    if measure.errors:
        return "error", list(measure.errors)
    if measure.split_log_e >= (needed := math.log(1 / declared.srm_alpha)):
        users = f"{measure.variant_units} of {measure.variant_units + measure.control_units} users are in the variant"
        evidence = f"log evidence {measure.split_log_e:.2f} >= {needed:.2f}"
        mismatch = f"{users}, {declared.traffic_split:g} declared ({evidence})"
        return "invalid", [f"{mismatch}: the arms cannot be compared; find the lost users before you repeat the test"]
    if too_few := _sample_size_unknowns(measure, declared):
        return "undecided", [*too_few, *measure.notes]
    success, *guards = measure.metrics
    worse = [_interval_text(success, "shown worse")] if success.gain_interval(shared=True)[1] < 0 else []
    losing = f"shown to lose more than {declared.margin:g}"
    worse += [
        _interval_text(guard, losing) for guard in guards if guard.gain_interval(shared=True)[1] < -declared.margin
    ]
    if worse:
        return "control stays", worse
    lacking = f"not shown to lose at most {declared.margin:g}"
    unshown = [_interval_text(guard, lacking) for guard in guards if guard.gain_interval()[0] < -declared.margin]
    if (low := success.gain_interval()[0]) > 0:
        return ("undecided", unshown) if unshown else ("variant wins", [])
    if declared.margin and low >= -declared.margin and success.gain_interval()[1] <= declared.margin:
        return "no difference", [_interval_text(success, f"no difference beyond {declared.margin:g}")]
    return "undecided", [_interval_text(success, "not shown better"), *unshown]


def _sample_size_unknowns(measure: ExperimentMeasure, declared: AbTestSpec) -> list[str]:
    if not measure.control_units and not measure.variant_units:
        return [no_requests_text(measure.model, "the gateway", f"in the {measure.elapsed:.0f} s of the experiment")]
    least, skewed = declared.minimum_sample_size, ", because its values are skewed"
    arms = [("users", measure.control_units, measure.variant_units, least)]
    means = [metric for metric in measure.metrics if metric.metric != "error_rate"]
    arms += [(f"users with {m.metric}", m.control_units, m.variant_units, max(least, m.minimum_units)) for m in means]
    return [
        f"{what}: control {control}, variant {variant}; {needed} are needed in each{skewed if needed > least else ''}"
        for what, control, variant, needed in arms
        if min(control, variant) < needed
    ]


def _interval_text(metric: MetricInterval, what: str) -> str:
    unit = " of control's" if metric.metric == "latency" else ""
    if metric.estimate is None or metric.low is None or metric.high is None:
        return f"{metric.metric}: {what} (no interval yet)"
    return f"{metric.metric}: {what} (difference {metric.estimate:+.4g} [{metric.low:+.4g}, {metric.high:+.4g}]{unit})"


def _recommendation(answer: str, measure: ExperimentMeasure, reasons: list[str]) -> str:
    control, variant = f"version {measure.control}", f"version {measure.variant}"
    if answer == "variant wins":
        better = _interval_text(measure.metrics[0], "better")
        return f"Promote {variant}: {better}; no other metric loses more than the margin."
    why = "; ".join(reasons)
    return {
        "control stays": f"Keep {control}: {why}.",
        "no difference": f"Keep {control}: {variant} is not worth a change. {why}.",
        "undecided": f"Keep {control} until there is more evidence: {why}.",
        "invalid": f"Do not use this experiment: {why}.",
        "error": f"Correct the measurement: {why}.",
    }[answer]
