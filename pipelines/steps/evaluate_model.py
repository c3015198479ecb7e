"""Measures a candidate on its test part, and against the champion on rows that neither was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.evaluation import EvaluateRequest, EvaluateResult, Interval, SliceMetric
from pipelines.ports import Ports, VersionInfo
from pipelines.spec.model import ModelSpec
from pipelines.steps.evaluation.bootstrap import paired_bootstrap
from pipelines.steps.evaluation.metrics import Array, measure
from pipelines.steps.evaluation.plots import PlotInput, draw
from pipelines.steps.evaluation.recording import record_evaluation
from pipelines.steps.evaluation.rows import (
    add_columns,
    end_of_training,
    later_rows,
    read_facts,
    snapshot_digest,
    time_span,
)
from pipelines.steps.evaluation.slices import slice_metrics
from pipelines.steps.models.registered_model import load_model


@dataclass(frozen=True)
class ComparedRows:
    """Rows with the predictions of both models; ``champion`` is None if it could not predict."""

    rows: pl.DataFrame
    target: Array
    candidate: Array
    champion: Array | None


def run(request: EvaluateRequest, ports: Ports) -> EvaluateResult:
    """Measure metrics, gain over the champion, slices and plots; log them on the version's run.

    Metrics are those of the whole test part; of a large one in batches a sample is measured, whose size is in
    ``notes``. Comparison, slices and plots use its rows that are later than the champion's training and, with a
    ``time_ordered`` split, than the candidate's; if the champion cannot predict, ``notes`` says why and no comparison
    is given.
    """
    spec = ports.catalog.model(request.model)
    info = ports.registry.get(request.model, request.version)
    snapshot = read_facts(info, ports)
    test, until = snapshot.test, snapshot.trained_until
    target = test.get_column("target").cast(pl.Float64).to_numpy()
    candidate = _predict(info, test, request, ports)
    compared, champion_until, notes = _compare(request, spec, test, candidate, until, ports)
    notes = [*snapshot.notes, *notes]
    comparison = _interval(spec, compared)
    if compared.champion is not None and comparison is None:
        notes.append(f"{spec.evaluation.comparison.metric} is not defined on the {compared.rows.height} compared rows")
    first, last = time_span(test)
    result = EvaluateResult(
        model=request.model,
        version=request.version,
        champion=request.champion,
        snapshot=snapshot_digest(info),
        rows=test.height,
        metrics=measure(spec.problem, target, candidate, spec.evaluation.threshold),
        champion_metrics=_champion_metrics(spec, compared),
        comparison=comparison,
        slices=_slices(spec, compared, ports),
        first=first,
        last=last,
        trained_until=until,
        champion_trained_until=champion_until,
        compared_from=time_span(compared.rows)[0] if compared.champion is not None else None,
        notes=notes,
    )
    plots = draw(spec.problem, _plot_input(request, spec, compared))
    paths = [store_paths.plot(request.model, request.version, name) for name in plots]
    uris = [ports.store.put(path, content) for path, content in zip(paths, plots.values(), strict=True)]
    result = result.model_copy(update={"plots": uris})
    record_evaluation(result, plots, info, ports)
    return result


def _compare(
    request: EvaluateRequest,
    spec: ModelSpec,
    test: pl.DataFrame,
    candidate: Array,
    until: datetime | None,
    ports: Ports,
) -> tuple[ComparedRows, datetime | None, list[str]]:
    """Rows with both predictions, the end of the champion's training, and notes (why there is no comparison)."""
    test = test.with_columns(pl.Series("_candidate", candidate, dtype=pl.Float64))
    if request.champion is None:
        return _compared_rows(test, None), None, []
    champion = ports.registry.get(request.model, request.champion)
    champion_until = None
    try:
        champion_until = end_of_training(champion, ports)
        candidate_until = until if spec.training.split.strategy == "time_ordered" else None
        rows = later_rows(test, candidate_until, champion_until)
        if rows.is_empty():
            raise Refused(f"none of {test.height} test rows is later than {champion_until}, the end of its training")
        answers = _predict(champion, rows, request, ports)
    except Refused as refusal:
        note = "; ".join([refusal.subject, *refusal.reasons])
        return _compared_rows(test, None), champion_until, [f"champion {request.champion} was not compared: {note}"]
    notes = []
    if rows.height < test.height:
        notes.append(f"compared on {rows.height} of {test.height} test rows: those later than the training of both")
    return _compared_rows(rows, answers), champion_until, notes


def _compared_rows(rows: pl.DataFrame, champion: Array | None) -> ComparedRows:
    target = rows.get_column("target").cast(pl.Float64).to_numpy()
    return ComparedRows(rows.drop("_candidate"), target, rows.get_column("_candidate").to_numpy(), champion)


def _predict(info: VersionInfo, rows: pl.DataFrame, request: EvaluateRequest, ports: Ports) -> Array:
    """One number per row. ``Refused`` if the model has another problem or returns another number of rows."""
    model = load_model(info, ports, request.digests.get(info.version))
    declared = ports.catalog.model(info.model).problem
    if model.problem != declared:
        raise Refused(f"{info.model} {info.version} is a {model.problem} model, the declaration says {declared}")
    if rows.is_empty():
        return np.empty(0)
    answers = np.asarray(model.predict(add_columns(rows, model.features, info.model, ports)), dtype=np.float64)
    if answers.shape != (rows.height,):
        raise Refused(f"{info.model} {info.version} returned {answers.shape} predictions for {rows.height} rows")
    return answers


def _champion_metrics(spec: ModelSpec, compared: ComparedRows) -> dict[str, float | None]:
    if compared.champion is None:
        return {}
    return measure(spec.problem, compared.target, compared.champion, spec.evaluation.threshold)


def _interval(spec: ModelSpec, compared: ComparedRows) -> Interval | None:
    if compared.champion is None:
        return None
    return paired_bootstrap(
        spec.problem,
        spec.evaluation.comparison,
        compared.target,
        compared.candidate,
        compared.champion,
        threshold=spec.evaluation.threshold,
        seed=spec.training.seed,
    )


def _slices(spec: ModelSpec, compared: ComparedRows, ports: Ports) -> list[SliceMetric]:
    declared = spec.evaluation.slices
    if declared is None:
        return []
    return slice_metrics(
        spec.problem,
        declared,
        add_columns(compared.rows, declared.columns, spec.model, ports),
        compared.target,
        compared.candidate,
        compared.champion,
        spec.evaluation.threshold,
    )


def _plot_input(request: EvaluateRequest, spec: ModelSpec, compared: ComparedRows) -> PlotInput:
    answers = {f"candidate {request.version}": compared.candidate}
    if compared.champion is not None:
        answers[f"champion {request.champion}"] = compared.champion
    first, last = time_span(compared.rows)
    times = f", {first:%Y-%m-%d} to {last:%Y-%m-%d}" if first and last else ""
    title = f"{request.model} {request.version} · {compared.rows.height:,} rows{times}"
    return PlotInput(title, compared.target, answers, spec.evaluation.threshold)
