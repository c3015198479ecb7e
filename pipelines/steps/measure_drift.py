"""Measures drift of features and predictions over a window, against the profile of the live version's training rows."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.monitoring import DriftMeasure, DriftResult, MonitorRequest
from pipelines.ports import Ports, VersionInfo
from pipelines.rules.drift_check import has_drifted
from pipelines.spec.model import Drift, ModelSpec
from pipelines.steps.drift.compare import compare
from pipelines.steps.monitoring.prediction_log import flush_log, read_answers
from pipelines.tables.profile import TableProfile, merge_profiles, profile_frame

PREDICTION = "prediction"


def run(request: MonitorRequest, ports: Ports) -> DriftResult:
    """Measure the trailing ``window_days`` up to the day, features and predictions; decide nothing.

    The features' daily profiles are merged; the predictions are those the live version logged about these days. With
    no live version no column is measured and ``version`` is None. A column with too few rows, or that the training
    profile lacks, is listed with None. A day without a profile is named in ``missing_days``. The HTML report
    is written on request, or by default when a column drifts; if it cannot be, a note says why.
    Raises ``Unavailable`` when the store or the registry does not answer.
    """
    spec, drift = ports.catalog.model(request.model), ports.catalog.model(request.model).monitoring.drift
    window = [request.day - timedelta(days=n) for n in reversed(range(drift.window_days))]
    live = ports.registry.by_alias(request.model, "champion")
    if live is None:
        return DriftResult(model=request.model, day=request.day, window=window, reference="", features=[])

    notes: list[str] = []
    path = store_paths.training_profile(request.model, live.version)
    reference = _read(ports, path)
    if reference is None:
        notes.append(f"{path} is missing: version {live.version} has no training profile to compare with")
    daily = {day: _read(ports, store_paths.profile(store_paths.features(spec.view), day)) for day in window}
    present = [profile for profile in daily.values() if profile is not None]
    current = merge_profiles(present) if present else None
    names = [name for name in _features(spec, ports) if name not in drift.exclude]
    measures = [compare(name, reference, current, drift.minimum_rows) for name in names]
    prediction = _predictions(live, window, reference, drift, ports, notes)

    result = DriftResult(
        model=request.model,
        day=request.day,
        window=window,
        version=live.version,
        reference=ports.store.uri(path),
        features=measures,
        prediction=prediction,
        missing_days=[day for day, profile in daily.items() if profile is None],
        notes=notes,
    )
    if request.report is True or (request.report == "when_drifted" and _any_drifts(result, spec)):
        return _with_report(result, live, names, ports)
    return result


def _read(ports: Ports, path: str) -> TableProfile | None:
    return TableProfile.model_validate_json(ports.store.get(path)) if ports.store.exists(path) else None


def _features(spec: ModelSpec, ports: Ports) -> list[str]:
    return list(spec.training.features or ports.catalog.view_of(spec.model).features)


def _predictions(
    live: VersionInfo, window: list[date], reference: TableProfile | None, drift: Drift, ports: Ports, notes: list[str]
) -> DriftMeasure:
    """Predictions of the live version about the days of the window, against those on its own training rows."""
    notes += flush_log(ports, live.model)
    answers = read_answers(ports, live.model, window[0], window[-1])
    own = answers.filter(pl.col("day").is_in(window) & (pl.col("version") == live.version))
    current = profile_frame(own.select(PREDICTION), categorical=[], numeric=[PREDICTION])
    return compare(PREDICTION, reference, current, drift.minimum_rows)


def _any_drifts(result: DriftResult, spec: ModelSpec) -> bool:
    drift = spec.monitoring.drift
    features = any(has_drifted(measure, spec, drift.psi_threshold) for measure in result.features)
    prediction = result.prediction
    return features or (prediction is not None and has_drifted(prediction, spec, drift.prediction_drift_threshold))


def _with_report(result: DriftResult, live: VersionInfo, names: list[str], ports: Ports) -> DriftResult:
    from pipelines.steps.drift.report import write_report  # here, since evidently takes seconds to import

    try:
        return result.model_copy(update={"report": write_report(result, live, names, ports)})
    except Refused as error:
        return result.model_copy(update={"notes": [*result.notes, f"no drift report: {error}"]})
