"""Measures drift: of each feature against its own recent past, and of a window against the live version's training."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import polars as pl

from pipelines import store_paths
from pipelines.messages.monitoring import DriftMeasure, DriftResult, MonitorRequest
from pipelines.ports import Ports
from pipelines.spec.model import Drift, ModelSpec
from pipelines.steps.drift.compare import compare
from pipelines.steps.drift.findings import READ_DAYS, find_moved_columns
from pipelines.steps.drift.report import write_report
from pipelines.steps.drift.shifts import HISTORY_DAYS
from pipelines.steps.evaluation.rows import trained_columns
from pipelines.steps.monitoring.prediction_log import flush_log, read_answers
from pipelines.steps.monitoring.training_profile import missing_profile, read_training_profile
from pipelines.tables.profile import TableProfile, TrainingProfile, merge_profiles, profile_frame

PREDICTION = "prediction"
SMALLEST_PREDICTION_REFERENCE = 200


def run(request: MonitorRequest, ports: Ports) -> DriftResult:
    """Measure the day, or the period of a panel, against those before it, and the trailing window against training.

    The live version is that of the request. Each feature's daily statistics are held against its own past, which needs
    no version; ``findings`` are the columns that left it. The window's daily profiles are merged and compared with the
    rows the version was fitted on, both of the feature's version that the model was trained on, while a newer one is
    built beside it; where that is not built any more, nothing is measured of it and a note says so. The predictions are
    those that it logged about these days, compared with its answers about its test rows. With no live version no column
    is measured and ``version`` is None. A column with too few rows, or that the training profile lacks, is listed with
    None. A day without a profile is named in ``missing_days``. The HTML report has the shapes of the columns where one
    broke, or on request; if they cannot be drawn, a note says why.
    Raises ``Unavailable`` when the store or the registry does not answer.
    """
    spec, drift = ports.catalog.model(request.model), ports.catalog.model(request.model).monitoring.drift
    view = ports.catalog.view_of(request.model)
    window = view.window(request.day, drift.window_days)
    version = request.version or _champion(ports, request.model)
    if version is None:
        return DriftResult(model=request.model, day=request.day, window=window, reference="", features=[])

    notes: list[str] = []
    reference = read_training_profile(ports.store, request.model, version)
    if reference is None:
        notes.append(missing_profile(request.model, version))
    elif not reference.out_of_sample:
        notes.append(
            f"version {version} was trained when its own training rows were the reference of its predictions, which it "
            "answers better than any other: their drift is overstated; train it anew"
        )
    names = [name for name in _features(spec, ports) if name not in drift.exclude]
    columns = trained_columns(request.model, version, names, ports)
    read = view.last_days(request.day, max(len(window), READ_DAYS))
    profiles = [(day, _read_day(ports, spec.view, day, columns)) for day in read]
    daily = dict(profiles[-len(window) :])
    present = [profile for profile in daily.values() if profile is not None]
    current = merge_profiles(present) if present else None
    if lacking := _not_built(columns, current):
        table = store_paths.features(spec.view)
        notes.append(f"{table} does not hold {', '.join(lacking)}, which version {version} was trained on")
    findings = find_moved_columns(profiles, names, reference or TableProfile(rows=0), _influence(reference))
    measures = [compare(name, reference, current, drift.minimum_rows) for name in names]
    prediction = _predictions(request.model, version, window, reference, drift, ports, notes)

    result = DriftResult(
        model=request.model,
        day=request.day,
        window=window,
        version=version,
        reference=ports.store.uri(store_paths.training_profile(request.model, version)),
        features=measures,
        prediction=prediction,
        findings=findings,
        history_days=sum(profile is not None for _, profile in profiles[-HISTORY_DAYS - 2 : -2]),
        missing_days=[day for day, profile in daily.items() if profile is None],
        notes=notes,
    )
    return write_report(result, names, ports, shapes=request.shapes or bool(findings))


def _champion(ports: Ports, model: str) -> str | None:
    info = ports.registry.by_alias(model, "champion")
    return info.version if info else None


def _read_day(ports: Ports, view: str, day: date, columns: Mapping[str, str]) -> TableProfile | None:
    """The profile of a day, with each feature's statistics from its column of the table."""
    path = store_paths.profile(store_paths.features(view), day)
    if not ports.store.exists(path):
        return None
    profile = TableProfile.model_validate_json(ports.store.get(path))
    numeric, categorical = (
        {name: held[column] for name, column in columns.items() if column in held}
        for held in (profile.numeric, profile.categorical)
    )
    return profile.model_copy(update={"numeric": numeric, "categorical": categorical})


def _not_built(columns: Mapping[str, str], profile: TableProfile | None) -> list[str]:
    """The columns of former versions that no day of the window has."""
    held = {*profile.numeric, *profile.categorical} if profile is not None else columns.keys()
    return [column for name, column in columns.items() if column != name and name not in held]


def _influence(reference: TrainingProfile | None) -> dict[str, float]:
    return reference.influence if reference is not None else {}


def _features(spec: ModelSpec, ports: Ports) -> list[str]:
    return list(spec.training.features or ports.catalog.view_of(spec.model).features)


def _predictions(
    model: str,
    version: str,
    window: list[date],
    reference: TableProfile | None,
    drift: Drift,
    ports: Ports,
    notes: list[str],
) -> DriftMeasure:
    """Predictions of the live version about the days of the window, against those about rows it had not seen.

    A test part has fewer rows than a window: 200 of them are enough for the reference.
    """
    notes += flush_log(ports, model)
    answers = read_answers(ports, model, window[0], window[-1])
    own = answers.filter(pl.col("day").is_in(window) & (pl.col("version") == version))
    current = profile_frame(own.select(PREDICTION), categorical=[], numeric=[PREDICTION])
    smallest = min(drift.minimum_rows, SMALLEST_PREDICTION_REFERENCE)
    return compare(PREDICTION, reference, current, drift.minimum_rows, reference_rows=smallest)
