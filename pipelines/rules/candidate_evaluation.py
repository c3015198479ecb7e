"""An evaluation passes if the declared metrics and the comparison were measured, on rows that were not trained on."""

from __future__ import annotations

from pipelines.messages.evaluation import EvaluateResult, Optimism
from pipelines.rules.minimum_metrics_gate import is_measured
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Verdict, counted

RULE = "candidate_evaluation"


def judge_evaluation(result: EvaluateResult, spec: ModelSpec) -> Verdict:
    """UNKNOWN for each declared metric, or the comparison, that was not measured; FAIL for rows from training's time.

    Only a ``time_ordered`` split requires test rows no earlier than the candidate's last training row (the other
    splits mix times). Held-out rows compared with the champion must always be later than both trainings; models that
    were trained again for the comparison have other ends. ``slice_gate`` judges the slices.
    """
    needed = dict.fromkeys([*spec.evaluation.minimum_metrics, spec.evaluation.comparison.metric])
    unknowns = [f"{metric} not measured" for metric in needed if not is_measured(result.metrics.get(metric))]
    if result.rows == 0:
        unknowns.insert(0, "the test part has no rows")
    failures, undated = _candidate_time_faults(result, spec)
    unknowns += undated
    if result.champion is not None:
        if result.comparison is None:
            unknowns.append(f"comparison with champion {result.champion} not measured")
        earlier, undated = _compared_time_faults(result)
        failures += earlier
        unknowns += undated
    if unknowns:
        unknowns += result.notes
    facts: dict[str, object] = {
        "version": result.version,
        "champion": result.champion or "no champion",
        "snapshot": result.snapshot,
        "rows": result.rows,
        "compared_rows": result.comparison.rows if result.comparison else 0,
        "compared_by": result.comparison.method if result.comparison else None,
        "attempt": result.comparison.attempt if result.comparison else None,
        "optimism": result.optimism.model_dump(exclude={"schema_"}) if result.optimism else None,
        "compared_from": result.compared_from,
        "split": spec.training.split.strategy,
        "metrics": result.metrics,
        "notes": result.notes,
    }
    measured = [f"{name} {_metric_text(value)}" for name, value in result.metrics.items() if is_measured(value)]
    findings = [f"{counted(result.rows, 'test row')}: {', '.join(measured)}"] if measured else []
    if result.comparison:
        findings.append(f"compared with version {result.champion} on {result.comparison.rows} rows")
    if result.optimism:
        findings.append(optimism_text(result.optimism))
    return Verdict.of(RULE, failures=failures, unknowns=unknowns, findings=findings, facts=facts)


def optimism_text(optimism: Optimism) -> str:
    """What was shown, what other rows give, and the difference with its standard error."""
    after = f"the {optimism.units} {'days' if optimism.unit == 'day' else 'units'} that its test part does not hold"
    error = f" ± {optimism.standard_error:.4f}" if optimism.standard_error is not None else ""
    way = "too good" if optimism.amount > 0 else "too bad"
    if optimism.standard_error is not None and abs(optimism.amount) < 2 * optimism.standard_error:
        way += ", which may be chance"
    shown = f"version {optimism.of} was shown with {optimism.metric} {optimism.shown:.4f}"
    return f"{shown}; {after} give {optimism.later:.4f}: {abs(optimism.amount):.4f}{error} {way}"


def _metric_text(value: float) -> str:
    """Four decimals; of a count of rows none."""
    return f"{value:,.0f}" if abs(value) > 1 and value.is_integer() else f"{value:.4f}"


def _candidate_time_faults(result: EvaluateResult, spec: ModelSpec) -> tuple[list[str], list[str]]:
    if spec.training.split.strategy != "time_ordered":
        return [], []
    if result.first is None or result.trained_until is None:
        return [], [f"the times of the test part and of the training of version {result.version} are not known"]
    if result.first < result.trained_until:
        return [f"test rows from {result.first} are earlier than the last training row, {result.trained_until}"], []
    return [], []


def _compared_time_faults(result: EvaluateResult) -> tuple[list[str], list[str]]:
    if result.champion_trained_until is None:
        return [], [f"when the training data of champion {result.champion} end is not known"]
    if result.comparison is None or result.compared_from is None or result.comparison.method != "held_out":
        return [], []
    ends = {"champion": result.champion_trained_until, "candidate": result.trained_until}
    return [
        f"compared rows from {result.compared_from} are not later than the {whose}'s training, {until}"
        for whose, until in ends.items()
        if until is not None and result.compared_from <= until
    ], []
