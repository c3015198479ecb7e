"""An evaluation passes if the declared metrics and the comparison were measured, on rows that were not trained on."""

from __future__ import annotations

from pipelines.messages.evaluation import EvaluateResult
from pipelines.rules.minimum_metrics_gate import is_measured
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Verdict

RULE = "candidate_evaluation"


def judge_evaluation(result: EvaluateResult, spec: ModelSpec) -> Verdict:
    """UNKNOWN for each declared metric, or the comparison, that was not measured; FAIL for rows from training's time.

    Only a ``time_ordered`` split requires test rows no earlier than the candidate's last training row (the other
    splits mix times). Rows compared with the champion must always be later than its training. ``slice_gate`` judges
    the slices.
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
        earlier, undated = _champion_time_faults(result)
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
        "compared_from": result.compared_from,
        "split": spec.training.split.strategy,
        "metrics": result.metrics,
        "notes": result.notes,
    }
    measured = [f"{name} {value:.4f}" for name, value in result.metrics.items() if is_measured(value)]
    findings = [f"{result.rows} test rows: {', '.join(measured)}"] if measured else []
    if result.comparison:
        findings.append(f"compared with version {result.champion} on {result.comparison.rows} rows")
    return Verdict.of(RULE, failures=failures, unknowns=unknowns, findings=findings, facts=facts)


def _candidate_time_faults(result: EvaluateResult, spec: ModelSpec) -> tuple[list[str], list[str]]:
    if spec.training.split.strategy != "time_ordered":
        return [], []
    if result.first is None or result.trained_until is None:
        return [], [f"the times of the test part and of the training of version {result.version} are not known"]
    if result.first < result.trained_until:
        return [f"test rows from {result.first} are earlier than the last training row, {result.trained_until}"], []
    return [], []


def _champion_time_faults(result: EvaluateResult) -> tuple[list[str], list[str]]:
    if result.champion_trained_until is None:
        return [], [f"when the training data of champion {result.champion} end is not known"]
    if result.comparison is None or result.compared_from is None:
        return [], []
    if result.compared_from <= result.champion_trained_until:
        until = result.champion_trained_until
        return [f"compared rows from {result.compared_from} are not later than the champion's training, {until}"], []
    return [], []
