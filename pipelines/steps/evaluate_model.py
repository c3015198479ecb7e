"""Measures a candidate on its test part, and against champion and anchor on rows that neither has learnt from."""

from __future__ import annotations

from functools import partial

import numpy as np
import polars as pl

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.evaluation import EvaluateRequest, EvaluateResult, Interval, Optimism, SliceMetric
from pipelines.ports import Ports, VersionInfo
from pipelines.spec.model import ModelSpec
from pipelines.steps.evaluation.contest import Compared, Contest
from pipelines.steps.evaluation.metrics import Array, measure
from pipelines.steps.evaluation.optimism import optimism_by_training_again, optimism_of_version
from pipelines.steps.evaluation.paired_gain import paired_gain
from pipelines.steps.evaluation.plots import PlotInput, draw
from pipelines.steps.evaluation.recording import record_evaluation
from pipelines.steps.evaluation.rows import add_columns, read_facts, snapshot_digest, time_span
from pipelines.steps.evaluation.slices import compared_slices, slice_metrics
from pipelines.steps.models.registered_model import load_model
from pipelines.steps.snapshot.table_digest import table_digest


def run(request: EvaluateRequest, ports: Ports) -> EvaluateResult:
    """Measure metrics, gains over champion and anchor, slices, optimism and plots; log them on the version's run.

    Metrics are those of the whole test part; of a large one in batches a sample is measured, whose size is in
    ``notes``. Gains and slices are of the test rows that are later than both trainings; where these are too few, of
    models trained again (``pipelines.steps.evaluation.contest``). If the champion cannot predict, ``notes`` says why
    and no comparison is given.
    """
    spec = ports.catalog.model(request.model)
    info = ports.registry.get(request.model, request.version)
    facts = read_facts(info, ports)
    predict = partial(_predict, request=request, ports=ports)
    target = facts.test.get_column("target").cast(pl.Float64).to_numpy()
    candidate = predict(info, facts.test)
    metrics = measure(spec.problem, target, candidate, spec.evaluation.threshold)
    test = facts.test.with_columns(pl.Series("_candidate", candidate, dtype=pl.Float64))
    test_part = table_digest(test.select(*ports.catalog.view_of(request.model).key, "prediction_time", "target"))
    before = request.attempts.get(test_part, [])
    earlier = before[: before.index(request.version)] if request.version in before else before
    attempt = sum(request.chosen_of.get(version, 1) for version in [*earlier, request.version])
    contest = Contest(spec, info, facts, test, predict, ports)
    compared = contest.against(request.champion, "champion") if request.champion else None
    comparison = _interval(spec, compared, attempt)
    anchor, anchor_comparison, anchor_notes = _compare_with_anchor(request, spec, contest, attempt)
    notes = [*facts.notes, *(compared.notes if compared else [])]
    if compared is not None and compared.answers is not None and comparison is None:
        notes.append(f"{spec.evaluation.comparison.metric} is not defined on the {compared.rows.height} compared rows")
    first, last = time_span(facts.test)
    result = EvaluateResult(
        model=request.model,
        version=request.version,
        champion=request.champion,
        snapshot=snapshot_digest(info),
        rows=test.height,
        metrics=metrics,
        champion_metrics=_champion_metrics(spec, compared),
        comparison=comparison,
        anchor=anchor,
        anchor_comparison=anchor_comparison,
        anchor_notes=anchor_notes,
        test_part=test_part,
        optimism=_optimism(contest, metrics, compared, request),
        slices=_slices(spec, test, compared, ports),
        first=first,
        last=last,
        trained_until=facts.trained_until,
        champion_trained_until=compared.trained_until if compared else None,
        compared_from=time_span(compared.rows)[0] if compared is not None and compared.answers is not None else None,
        notes=notes,
    )
    plots = draw(spec.problem, _plot_input(request, spec, test, compared))
    paths = [store_paths.plot(request.model, request.version, name) for name in plots]
    uris = [ports.store.put(path, content) for path, content in zip(paths, plots.values(), strict=True)]
    result = result.model_copy(update={"plots": uris})
    record_evaluation(result, plots, info, ports)
    return result


def _predict(info: VersionInfo, rows: pl.DataFrame, *, request: EvaluateRequest, ports: Ports) -> Array:
    """One number per row, of the version's judged model, which has not learnt its test part.

    ``Refused`` if the model has another problem or returns another number of rows.
    """
    model = load_model(info, ports, request.digests.get(info.version), "judged")
    declared = ports.catalog.model(info.model).problem
    if model.problem != declared:
        raise Refused(f"{info.model} {info.version} is a {model.problem} model, the declaration says {declared}")
    if rows.is_empty():
        return np.empty(0)
    answers = np.asarray(model.predict(add_columns(rows, model.features, info.model, ports)), dtype=np.float64)
    if answers.shape != (rows.height,):
        raise Refused(f"{info.model} {info.version} returned {answers.shape} predictions for {rows.height} rows")
    return answers


def _interval(spec: ModelSpec, compared: Compared | None, attempt: int) -> Interval | None:
    if compared is None or compared.answers is None:
        return None
    return paired_gain(
        spec.problem,
        spec.evaluation.comparison,
        compared.answers,
        threshold=spec.evaluation.threshold,
        attempt=attempt,
        method=compared.method,
    )


def _compare_with_anchor(
    request: EvaluateRequest, spec: ModelSpec, contest: Contest, attempt: int
) -> tuple[str | None, Interval | None, list[str]]:
    """The first anchor that can be compared, the gain over it, and why those before it could not be."""
    notes: list[str] = []
    for version in request.anchors:
        compared = contest.against(version, "anchor")
        notes += compared.notes
        if (interval := _interval(spec, compared, attempt)) is not None:
            return version, interval, notes
    return None, None, notes


def _champion_metrics(spec: ModelSpec, compared: Compared | None) -> dict[str, float | None]:
    if compared is None or compared.answers is None:
        return {}
    return measure(spec.problem, compared.answers.target, compared.answers.champion, spec.evaluation.threshold)


def _optimism(
    contest: Contest, metrics: dict[str, float | None], compared: Compared | None, request: EvaluateRequest
) -> Optimism | None:
    """Of the candidate, where its test part holds days that it was trained on; else of the champion's own test part."""
    if contest.spec.training.split.strategy != "time_ordered":
        again = compared or contest.against(request.version, "candidate")
        return optimism_by_training_again(contest, metrics, again) if again.method != "held_out" else None
    if compared is None or compared.answers is None or request.champion is None:
        return None
    try:
        return optimism_of_version(contest, request.champion)
    except Refused:  # the notes say already what is wrong with the champion
        return None


def _slices(spec: ModelSpec, test: pl.DataFrame, compared: Compared | None, ports: Ports) -> list[SliceMetric]:
    declared, threshold = spec.evaluation.slices, spec.evaluation.threshold
    if declared is None:
        return []
    if compared is not None and compared.answers is not None:
        frame = add_columns(compared.rows, declared.columns, spec.model, ports)
        return compared_slices(spec.problem, declared, frame, compared.answers, threshold)
    frame = add_columns(test, declared.columns, spec.model, ports)
    target = test.get_column("target").cast(pl.Float64).to_numpy()
    return slice_metrics(spec.problem, declared, frame, target, test.get_column("_candidate").to_numpy(), threshold)


def _plot_input(request: EvaluateRequest, spec: ModelSpec, test: pl.DataFrame, compared: Compared | None) -> PlotInput:
    """Candidate and champion themselves on the rows later than both; of models trained again nothing is drawn."""
    shown = compared.held_out if compared is not None and compared.held_out is not None else compared
    if shown is None or shown.answers is None:
        rows, target = test, test.get_column("target").cast(pl.Float64).to_numpy()
        answers = {f"candidate {request.version}": test.get_column("_candidate").to_numpy()}
    else:
        rows, target = shown.rows, shown.answers.target
        answers = {
            f"candidate {request.version}": shown.answers.candidate,
            f"champion {request.champion}": shown.answers.champion,
        }
    first, last = time_span(rows)
    times = f", {first:%Y-%m-%d} to {last:%Y-%m-%d}" if first and last and first < last else ""
    title = f"{request.model} {request.version} · {rows.height:,} rows{times}"
    return PlotInput(title, target, answers, spec.evaluation.threshold)
