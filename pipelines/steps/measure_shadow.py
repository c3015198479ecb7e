"""Computes evidence from the counts of a mirror, and a report from its log with the labels known so far."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import polars as pl

from pipelines import store_paths
from pipelines.errors import AirworthyError, Refused
from pipelines.messages.comparison import PairedLabels, ShadowMeasure, ShadowRequest
from pipelines.messages.rollout import ArmCounts
from pipelines.ports import Ports
from pipelines.spec.model import ModelSpec
from pipelines.spec.strategy import Shadow
from pipelines.statistics.e_values import log_e_disagreement, log_e_value
from pipelines.steps.drift.psi import psi
from pipelines.steps.monitoring.prediction_log import flush_log
from pipelines.steps.rollouts.log import read_rollout, with_outcomes

COUNT_FIELDS = ("requests", "failed", "compared", "disagreed", "flipped", "sent", "dropped")
PSI_BINS = 10


def run(request: ShadowRequest, ports: Ports) -> ShadowMeasure:
    """Compute the evidence; with ``report``, pair the logged answers, join their labels and draw a plot.

    Rows of one request come from one caller and count as one trial: the share of differing rows is weighted by the
    number of requests. If the log cannot be read, there is a note in place of the report.
    """
    spec = ports.catalog.model(request.model)
    shadow = spec.deployment.shadow_plan or Shadow()
    counted = {name: sum(getattr(arm, name) for arm in request.arms) for name in COUNT_FIELDS}
    mirrored = counted["sent"] + counted["dropped"]
    result = ShadowMeasure(
        model=request.model,
        champion=request.champion,
        version=request.version,
        rollout_id=request.rollout_id,
        elapsed=(request.now - request.started).total_seconds(),
        coverage=min(1.0, counted["requests"] / mirrored) if mirrored else None,
        callers=request.callers,
        callers_failed=request.callers_failed,
        errors=count_faults(request.arms),
        **counted,
    )
    if not result.errors:
        result = result.model_copy(update=_evidence(result, shadow.max_disagreement, spec.deployment.error_threshold))
    return _with_report(result, request, spec, ports) if request.report else result


def count_faults(arms: Sequence[ArmCounts]) -> list[str]:
    """Every count that contradicts another."""
    return [
        f"stage {arm.step} counts {part} {name} of {whole} {of}"
        for arm in arms
        for name, part, of, whole in (
            ("failed", arm.failed, "requests", arm.requests),
            ("disagreed", arm.disagreed, "compared", arm.compared),
            ("flipped", arm.flipped, "compared", arm.compared),
        )
        if not 0 <= part <= whole
    ]


def _evidence(measure: ShadowMeasure, max_disagreement: float, max_bad: float) -> dict[str, float | None]:
    trials = min(measure.compared, measure.requests - measure.failed)
    differing = measure.disagreed * trials / measure.compared if measure.compared else 0.0
    beyond = None
    if measure.callers and measure.callers_failed is not None and measure.requests:
        share = measure.requests / (measure.requests + measure.callers)
        beyond = log_e_value(measure.failed, measure.failed + measure.callers_failed, share)
    return {
        "bad_beyond_champion_log_e": beyond,
        "disagreement_above_log_e": log_e_value(math.floor(differing), trials, max_disagreement),
        "disagreement_below_log_e": log_e_value(math.ceil(differing), trials, max_disagreement, alternative="less"),
        "bad_above_log_e": log_e_value(measure.failed, measure.requests, max_bad),
        "bad_below_log_e": log_e_value(measure.failed, measure.requests, max_bad, alternative="less"),
    }


def _with_report(measure: ShadowMeasure, request: ShadowRequest, spec: ModelSpec, ports: Ports) -> ShadowMeasure:
    """The same with labels, distances of the scores, and the URIs of the report."""
    notes = flush_log(ports, request.model)
    try:
        rows = read_rollout(ports.store, request.model, request.rollout_id, request.started)
        pairs = pair_answers(rows, request.champion, request.version)
        labels = compare_labels(with_outcomes(pairs, ports, spec), spec)
    except AirworthyError as error:
        return measure.model_copy(update={"notes": [*notes, f"no report: {error}"]})
    measure = measure.model_copy(
        update={
            "labels": labels,
            "score_psi": _score_psi(pairs),
            "latency_ratio": _latency_ratio(pairs),
            "notes": notes,
        }
    )
    try:
        return _with_picture(measure, pairs, spec, ports)
    except Exception as error:  # a failed plot must not fail the measurement
        return measure.model_copy(update={"notes": [*notes, f"no report: {error}"]})


def _with_picture(measure: ShadowMeasure, pairs: pl.DataFrame, spec: ModelSpec, ports: Ports) -> ShadowMeasure:
    if pairs.is_empty():
        raise Refused("the prediction log holds no pair of answers yet, so there is nothing to draw")
    from pipelines.steps.rollouts.pictures import shadow_picture

    where = store_paths.rollout(measure.model, measure.rollout_id, "shadow.png")
    measure = measure.model_copy(update={"picture": ports.store.put(where, shadow_picture(measure, pairs, spec))})
    content = json.dumps(measure.model_dump(mode="json", by_alias=True), indent=2).encode()
    report = ports.store.put(store_paths.rollout(measure.model, measure.rollout_id, "shadow.json"), content)
    return measure.model_copy(update={"report": report})


def pair_answers(rows: pl.DataFrame, champion: str, candidate: str) -> pl.DataFrame:
    """One row per row that both answered: ``champion``, ``candidate`` (predictions), their latencies in microseconds,
    ``logged_at`` of the mirrored answer, ``entity_id``, ``prediction_time``."""
    candidate_rows = rows.filter((pl.col("role") == "shadow") & (pl.col("version") == candidate))
    champion_rows = rows.filter((pl.col("role") != "shadow") & (pl.col("version") == champion))
    known = champion_rows.select(
        "request_id",
        "row",
        pl.col("prediction").alias("champion"),
        pl.when(pl.col("cache_hit").fill_null(value=False)).then(None).otherwise("latency_us").alias("champion_us"),
    )
    return candidate_rows.join(known.unique(["request_id", "row"]), on=["request_id", "row"], how="inner").select(
        "logged_at",
        "prediction_time",
        "entity_id",
        "request_id",
        pl.col("prediction").alias("candidate"),
        "champion",
        pl.col("latency_us").alias("candidate_us"),
        "champion_us",
    )


def compare_labels(pairs: pl.DataFrame, spec: ModelSpec) -> PairedLabels | None:
    """How often only one of both was wrong, once per entity; None while no label is known."""
    known = pairs.filter(
        pl.col("label").is_not_null() & pl.col("candidate").is_finite() & pl.col("champion").is_finite()
    )
    known = known.sort("logged_at").unique("entity_id", keep="first")
    if known.is_empty():
        return None
    errors = {name: _prediction_error(known, name, spec) for name in ("candidate", "champion")}
    candidate = int((errors["candidate"] > errors["champion"]).sum())
    champion = int((errors["champion"] > errors["candidate"]).sum())
    return PairedLabels(
        labelled=known.height,
        candidate_wrong=candidate,
        champion_wrong=champion,
        worse_log_e=log_e_disagreement(candidate, champion),
        better_log_e=log_e_disagreement(candidate, champion, alternative="less"),
    )


def _prediction_error(known: pl.DataFrame, name: str, spec: ModelSpec) -> pl.Series:
    """1 or 0 for a decision that was wrong or right; the distance for a regression."""
    if spec.problem == "regression":
        return (known[name] - known["label"]).abs()
    return ((known[name] >= spec.evaluation.threshold) != (known["label"] >= 0.5)).cast(pl.Float64)


def _score_psi(pairs: pl.DataFrame) -> float | None:
    if pairs.height < PSI_BINS:
        return None
    champion, candidate = (pairs[name].to_numpy() for name in ("champion", "candidate"))
    edges = np.unique(np.quantile(champion, np.linspace(0, 1, PSI_BINS + 1)[1:-1]))
    counts = [np.bincount(np.searchsorted(edges, side), minlength=len(edges) + 1) for side in (champion, candidate)]
    return round(psi(*(count.astype(np.float64) for count in counts)), 6)


def _latency_ratio(pairs: pl.DataFrame) -> float | None:
    candidate_rows, champion_rows = pairs["candidate_us"].median(), pairs["champion_us"].median()
    return round(float(candidate_rows) / float(champion_rows), 4) if candidate_rows and champion_rows else None  # type: ignore[arg-type]
