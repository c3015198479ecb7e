"""Estimates the live version's metric over the newest window before its labels arrive, with a band of past errors."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import polars as pl

from pipelines import store_paths
from pipelines.messages.estimated_performance import Estimate, EstimatedPerformanceResult, EstimateRequest
from pipelines.ports import Ports
from pipelines.rules.estimated_performance import SMALLEST_ERRORS
from pipelines.spec.model import ModelSpec
from pipelines.steps.monitoring.day_values import SMALLEST_ROWS, day_values
from pipelines.steps.monitoring.expected_metric import Calibration, calibrate, expected_metric
from pipelines.steps.monitoring.labelled_answers import read_labelled_answers
from pipelines.steps.monitoring.prediction_log import flush_log
from pipelines.steps.monitoring.training_profile import read_training_profile

CALIBRATION_DAYS = 28
PAST_WINDOWS = 52
"""Windows whose errors the band is learned from, one after the other."""
BAND = 0.9
DAY = timedelta(days=1)
SMALLEST_TRUTH_SHARE = 0.5
"""Share of a window's answers that need a label for its truth to count."""


def run(request: EstimateRequest, ports: Ports) -> EstimatedPerformanceResult:
    """Estimate ``monitoring.performance.metric`` over its ``window_days`` up to ``request.day``; decide nothing.

    The version's answers are calibrated on the last ``CALIBRATION_DAYS`` days whose labels are due, and the metric that
    the calibrated probabilities foresee is kept. Every former estimate of a window that does not overlap is held
    against its truth once its labels are due; the band is the ``ceil(0.9 (m + 1))``-th smallest of the m errors.
    Days of a panel are its periods.
    Raises ``Unavailable`` when the store does not answer.
    """
    spec, view = ports.catalog.model(request.model), ports.catalog.view_of(request.model)
    performance = spec.monitoring.performance
    window = view.window(request.day, performance.window_days)
    blank = EstimatedPerformanceResult(
        model=request.model,
        day=request.day,
        window=window,
        version=request.version,
        metric=performance.metric,
        faulty_columns=request.faulty_columns,
        loses=request.loses,
        is_estimable=spec.problem == "classification",
    )
    if request.version is None or not blank.is_estimable:
        return blank
    notes = flush_log(ports, request.model)
    labelled_until = request.day - timedelta(days=max(spec.monitoring.label_horizon_days, view.label_lag) + 1)
    calibrated = view.last_days(labelled_until, CALIBRATION_DAYS)
    answers = _answers(spec, ports, request.version, min([*calibrated, *window]), request.day)
    known = answers.filter(pl.col("day").is_in(calibrated) & pl.col("label").is_not_null())
    current = answers.filter(pl.col("day").is_in(window))
    calibration = calibrate(known["prediction"].to_numpy(), known["label"].to_numpy()) if known.height else None
    value = _expected_day_mean(current, calibration, spec) if calibration is not None else None
    past = _past_estimates(spec, ports, window, labelled_until)
    if value is not None:
        estimate = Estimate(
            version=request.version,
            day=window[-1],
            window_days=performance.window_days,
            metric=performance.metric,
            value=value,
            rows=current.height,
        )
        _keep(ports, request.model, estimate)
    errors = [abs(estimate.value - estimate.truth) for estimate in past if estimate.truth is not None]
    return blank.model_copy(
        update={
            "estimate": value,
            "reference": _reference(ports, request.model, request.version, performance.metric),
            "half_width": band_half_width(errors),
            "past_errors": len(errors),
            "calibration_days": known["day"].n_unique(),
            "answered_days": current["day"].n_unique(),
            "rows": current.height,
            "notes": notes,
        }
    )


def band_half_width(errors: list[float]) -> float | None:
    """The ``ceil(0.9 (m + 1))``-th smallest of m past errors, so that a tenth of the truths lie outside.

    None with fewer than ``SMALLEST_ERRORS``. Source: split conformal prediction (Papadopoulos and others, 2002).
    """
    if len(errors) < SMALLEST_ERRORS:
        return None
    place = int(np.ceil(BAND * (len(errors) + 1)))
    return sorted(errors)[min(place, len(errors)) - 1]


def _answers(spec: ModelSpec, ports: Ports, version: str, first: date, last: date) -> pl.DataFrame:
    answers = read_labelled_answers(spec, ports, first, last, [])
    return answers.filter((pl.col("version") == version) & pl.col("prediction").is_finite())


def _expected_day_mean(answers: pl.DataFrame, calibration: Calibration, spec: ModelSpec) -> float | None:
    """Mean of the metric to expect within each day of ``SMALLEST_ROWS`` answers, as certificates measure it."""
    metric, threshold = spec.monitoring.performance.metric, spec.evaluation.threshold
    days = [rows["prediction"].to_numpy() for rows in answers.partition_by("day") if rows.height >= SMALLEST_ROWS]
    values = [expected_metric(metric, day, calibration, threshold) for day in days]
    measured = [value for value in values if value is not None]
    return float(np.mean(measured)) if measured else None


def _past_estimates(spec: ModelSpec, ports: Ports, window: Sequence[date], labelled_until: date) -> list[Estimate]:
    """Kept estimates of the windows before this one, of whichever version, with their truth where labels are due."""
    view, length = ports.catalog.view_of(spec.model), spec.monitoring.performance.window_days
    estimates = []
    for _ in range(PAST_WINDOWS):
        ends = view.last_days(window[0] - DAY, 1)
        if not ends:  # the begin of a panel's calendar
            break
        window = view.window(ends[-1], length)
        estimate = _read(ports, spec.model, window[-1])
        if estimate is None or not _is_comparable(estimate, spec):
            continue
        if estimate.truth is None and estimate.day <= labelled_until:
            estimate = estimate.model_copy(update={"truth": _truth(spec, ports, estimate)})
            if estimate.truth is not None:
                _keep(ports, spec.model, estimate)
        estimates.append(estimate)
    return estimates


def _is_comparable(estimate: Estimate, spec: ModelSpec) -> bool:
    performance = spec.monitoring.performance
    return (estimate.metric, estimate.window_days) == (performance.metric, performance.window_days)


def _truth(spec: ModelSpec, ports: Ports, estimate: Estimate) -> float | None:
    first, *_ = ports.catalog.view_of(spec.model).window(estimate.day, estimate.window_days)
    answers = _answers(spec, ports, estimate.version, first, estimate.day)
    known = answers.filter(pl.col("label").is_not_null())
    if not answers.height or known.height < SMALLEST_TRUTH_SHARE * answers.height:
        return None
    values = [day.metrics[estimate.metric] for day in day_values(known, spec) if estimate.metric in day.metrics]
    return float(np.mean(values)) if values else None


def _read(ports: Ports, model: str, day: date) -> Estimate | None:
    path = store_paths.estimate(model, day)
    return Estimate.model_validate_json(ports.store.get(path)) if ports.store.exists(path) else None


def _keep(ports: Ports, model: str, estimate: Estimate) -> None:
    ports.store.put(store_paths.estimate(model, estimate.day), estimate.model_dump_json(indent=2).encode())


def _reference(ports: Ports, model: str, version: str, metric: str) -> float | None:
    """Mean over the certificate's days; None without such days."""
    profile = read_training_profile(ports.store, model, version)
    values = [day.metrics[metric] for day in profile.test_days if metric in day.metrics] if profile else []
    return float(np.mean(values)) if values else None
