"""Measures what callers send: against its own past, the training rows, the offline features and the constraints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import polars as pl

from pipelines import store_paths
from pipelines.logs.personal_data import mask_message
from pipelines.messages.live_inputs import InputMeasure, LiveInputsResult
from pipelines.messages.monitoring import ColumnFinding, DriftMeasure, MonitorRequest
from pipelines.ports import Ports
from pipelines.spec.features import Feature
from pipelines.spec.model import ModelSpec
from pipelines.steps.drift.compare import compare
from pipelines.steps.drift.daily_statistics import find_column
from pipelines.steps.drift.distances import kl_divergence, wasserstein
from pipelines.steps.drift.findings import READ_DAYS, find_moved_columns
from pipelines.steps.drift.shifts import HISTORY_DAYS
from pipelines.steps.evaluation.rows import trained_columns
from pipelines.steps.features.limits import other_values
from pipelines.steps.monitoring.caller_rows import CORRELATION_ID, read_caller_rows
from pipelines.steps.monitoring.live_inputs_page import write_page
from pipelines.steps.monitoring.prediction_log import flush_log
from pipelines.steps.monitoring.training_profile import missing_profile, read_training_profile
from pipelines.tables.entity_id import entity_id, names_its_time
from pipelines.tables.profile import CategoricalProfile, NumericProfile, TableProfile, TrainingProfile, profile_features

LATE_DAYS = 2
"""Days before the judged one whose profile is made anew, since answers about them may still have come in."""
READ_AT_ONCE = 10
"""Days of the log that are read together."""
RELATIVE_TOLERANCE = 1e-6
"""Numbers that differ by less are equal: callers may send them with fewer digits."""
EXAMPLES = 3


def run(request: MonitorRequest, ports: Ports) -> LiveInputsResult:
    """Measure the rows that callers sent about the days up to ``request.day``; decide nothing.

    Every day's rows have a profile in the store, made once; ``findings`` are the columns whose days left their own
    past, as of the offline features (``measure_drift``). The newest days that together have ``minimum_rows`` rows, at
    most ``drift.window_days``, are held against the training profile, the view's constraints, and, row by row by entity
    id, against the offline feature table. The newest ``recent_rows`` are compared with the ``former_rows`` before them.
    Rows that the gateway sent itself (shadow, probes) do not count. With no live version nothing is measured.
    Raises ``Unavailable`` when the store does not answer, ``Refused`` that names unreadable files of the log.
    """
    spec, view = ports.catalog.model(request.model), ports.catalog.view_of(request.model)
    limits, drift = spec.monitoring.live_inputs, spec.monitoring.drift
    window = view.window(request.day, drift.window_days)
    if request.version is None:
        return LiveInputsResult(model=request.model, day=request.day, window=window)
    notes = flush_log(ports, request.model)
    names = [name for name in spec.training.features or view.features if name not in drift.exclude]
    features = {name: view.features[name] for name in names}
    kinds: dict[str, str] = {name: feature.type for name, feature in features.items()}

    rows, lacking = read_caller_rows(ports, request.model, window, kinds)
    profiles, lacking_before = _daily_profiles(ports, request.model, request.day, kinds, window, rows)
    if lacking := lacking + lacking_before:
        notes.append(f"{lacking} rows were answered by versions with other features and are left out")
    judged = _judged_days(rows, window, limits.minimum_rows)
    of_days = rows.filter(pl.col("day").is_in(judged))
    reference = read_training_profile(ports.store, request.model, request.version)
    if reference is None:
        notes.append(missing_profile(request.model, request.version))
    measures = _measure(of_days, features, reference, drift.minimum_rows)
    measures = _with_skew(measures, of_days, judged, request, ports, notes)
    measures, recent, former = _with_recent(measures, rows, kinds, spec)
    result = LiveInputsResult(
        model=request.model,
        day=request.day,
        window=window,
        version=request.version,
        judged=judged,
        rows=of_days.height,
        measures=measures,
        findings=_findings(profiles, names, reference),
        history_days=sum(profile is not None for _, profile in profiles[-HISTORY_DAYS - 2 : -2]),
        recent_rows=recent,
        former_rows=former,
        notes=notes,
    )
    return result.model_copy(update={"report": write_page(result, spec, ports.store)})


def _daily_profiles(
    ports: Ports, model: str, last: date, kinds: Mapping[str, str], window: Sequence[date], rows: pl.DataFrame
) -> tuple[list[tuple[date, TableProfile | None]], int]:
    """The profile of each day up to ``last``, None of one without rows; and the rows read here that were left out.

    A stored profile is read; one that is missing, of other features, or of the last ``LATE_DAYS`` is made and stored:
    of a day in the window from its ``rows``, of an earlier one from the log.
    """
    view = ports.catalog.view_of(model)
    days = view.last_days(last, READ_DAYS)
    stored = {day: _stored_profile(ports, model, day, kinds) for day in days[: -LATE_DAYS - 1]}
    missing = [day for day in days if stored.get(day) is None]
    lacking = 0
    new = {day: profile_features(rows.filter(day=day), kinds) for day in missing if day in window}
    earlier = [day for day in missing if day not in window]
    for start in range(0, len(earlier), READ_AT_ONCE):
        chunk = earlier[start : start + READ_AT_ONCE]
        chunk_rows, left_out = read_caller_rows(ports, model, view.days(chunk[0], chunk[-1]), kinds)
        lacking += left_out
        new |= {day: profile_features(chunk_rows.filter(day=day), kinds) for day in chunk}
    for day, profile in new.items():
        ports.store.put(store_paths.caller_profile(model, day), profile.model_dump_json(by_alias=True).encode())
    profiles = [(day, new.get(day) or stored.get(day)) for day in days]
    return [(day, profile if profile is not None and profile.rows else None) for day, profile in profiles], lacking


def _stored_profile(ports: Ports, model: str, day: date, kinds: Mapping[str, str]) -> TableProfile | None:
    path = store_paths.caller_profile(model, day)
    if not ports.store.exists(path):
        return None
    profile = TableProfile.model_validate_json(ports.store.get(path))
    has_all = all(
        name in (profile.numeric if kind == "numeric" else profile.categorical) for name, kind in kinds.items()
    )
    return profile if has_all else None


def _judged_days(rows: pl.DataFrame, window: Sequence[date], minimum_rows: int) -> list[date]:
    """The newest days of the window that together have ``minimum_rows`` rows; all of it if they are fewer."""
    counts = dict(rows.group_by("day").len().iter_rows())
    together = 0
    for number, day in enumerate(reversed(window), start=1):
        together += counts.get(day, 0)
        if together >= minimum_rows:
            return list(window[-number:])
    return list(window)


def _findings(
    profiles: Sequence[tuple[date, TableProfile | None]], names: Sequence[str], reference: TrainingProfile | None
) -> list[ColumnFinding]:
    influence = reference.influence if reference is not None else {}
    return find_moved_columns(profiles, names, reference or TableProfile(rows=0), influence)


def _measure(
    rows: pl.DataFrame, features: Mapping[str, Feature], reference: TrainingProfile | None, minimum_rows: int
) -> list[InputMeasure]:
    profile = profile_features(rows, {name: feature.type for name, feature in features.items()})
    return [
        _measure_feature(name, feature, rows[name], profile, reference, minimum_rows)
        for name, feature in features.items()
    ]


def _measure_feature(
    name: str,
    feature: Feature,
    values: pl.Series,
    profile: TableProfile,
    reference: TrainingProfile | None,
    minimum_rows: int,
) -> InputMeasure:
    count = max(values.len(), 1)
    known, current = find_column(reference, name), find_column(profile, name)
    outside, example = _outside(values, feature)
    unseen: dict[str, int] | None = None
    if isinstance(known, CategoricalProfile) and isinstance(current, CategoricalProfile):
        unseen = _unseen(known, current)
    both_numeric = isinstance(known, NumericProfile) and isinstance(current, NumericProfile)
    return InputMeasure(
        name=name,
        rows=values.len(),
        null_share=values.null_count() / count,
        max_null_share=feature.constraints.max_null_share,
        outside_share=outside / count,
        outside=example,
        unseen_share=None if unseen is None else sum(unseen.values()) / count,
        unseen=sorted(unseen or {}, key=lambda value: (-(unseen or {})[value], value))[:EXAMPLES],
        training=compare(name, reference, profile, minimum_rows),
        kl_divergence=kl_divergence(known, current) if known and current and values.len() else None,
        wasserstein=wasserstein(known, current) if both_numeric else None,  # type: ignore[arg-type]
    )


def _outside(values: pl.Series, feature: Feature) -> tuple[int, str]:
    """Rows beyond the limits of a feature, and an example with its limit."""
    limits = feature.constraints
    total, example = 0, ""
    if limits.minimum is not None and (below := values.filter((values < limits.minimum).fill_null(value=False))).len():
        total, example = total + below.len(), f"{below[0]:g} < {limits.minimum:g}"
    if limits.maximum is not None and (above := values.filter((values > limits.maximum).fill_null(value=False))).len():
        total, example = total + above.len(), f"{above[0]:g} > {limits.maximum:g}"
    if others := other_values(values, feature):
        total, example = total + sum(others.values()), f"{next(iter(others))!r}, which is not allowed"
    return total, example


def _unseen(known: CategoricalProfile, current: CategoricalProfile) -> dict[str, int] | None:
    """Rows per category that training had not; None where either side had more categories than are kept."""
    if known.other or current.other:
        return None
    return {value: rows for value, rows in current.counts.items() if value not in known.counts}


def _with_skew(
    measures: list[InputMeasure],
    rows: pl.DataFrame,
    days: Sequence[date],
    request: MonitorRequest,
    ports: Ports,
    notes: list[str],
) -> list[InputMeasure]:
    """The measures with the share of rows whose value is not the offline one of the same entity.

    Offline values are those of the meaning that the live version was trained on, whatever the declaration says now.
    """
    view = ports.catalog.view_of(request.model)
    table = store_paths.features(view.view)
    present = set(ports.store.days(table))
    if view.is_table:
        days = sorted(present)
    if absent := [day for day in days if day not in present]:
        notes.append(f"{table} has no rows yet of {', '.join(map(str, absent))}: no skew is measured of these days")
    built = [day for day in days if day in present]
    names = [measure.name for measure in measures]
    if not built or rows.is_empty():
        return measures
    held = ports.store.read(table, days=built[:1]).columns
    columns_of_version = trained_columns(request.model, request.version, names, ports)
    stored = {name: column for name, column in columns_of_version.items() if column in held}
    if missing := [name for name in names if name not in stored]:
        former = (
            f"of {', '.join(missing)} {table} does not hold the meaning that version {request.version} was trained on"
        )
        notes.append(f"{former}: no skew is measured of them")
    columns = list(dict.fromkeys([*view.key, *stored.values()]))
    offline = ports.store.read(table, days=built, columns=columns).select(
        entity_id(view), "day", *(pl.col(column).alias(f"__{name}") for name, column in stored.items())
    )
    same = ["entity_id"] if names_its_time(view) else ["entity_id", "day"]
    offline = offline.unique(same, keep="none").select(*same, pl.col("^__.*$"))
    matched = rows.join(offline, on=same, how="inner", maintain_order="left")
    return [_skew_of(measure, matched) if measure.name in stored else measure for measure in measures]


def _skew_of(measure: InputMeasure, matched: pl.DataFrame) -> InputMeasure:
    if matched.is_empty():
        return measure
    sent, offline = pl.col(measure.name), pl.col(f"__{measure.name}")
    differs = sent.ne_missing(offline)
    if matched.schema[measure.name] == pl.Float64:
        near = (sent - offline).abs() <= RELATIVE_TOLERANCE * pl.max_horizontal(sent.abs(), offline.abs(), pl.lit(1e-9))
        differs = differs & ~near.fill_null(value=False)
    others = matched.filter(differs)
    example = ""
    if others.height:
        entity, request, value, stored = others.select("entity_id", CORRELATION_ID, sent, offline).row(0)
        example = f"{entity}: sent {_text(value)}, offline {_text(stored)}{_named(request)}"
    return measure.model_copy(
        update={"matched_rows": matched.height, "differing_share": others.height / matched.height, "differing": example}
    )


def _named(correlation_id: str | None) -> str:
    """The id by which the request of an example is found in logs."""
    return f" (correlation id {mask_message(correlation_id)})" if correlation_id else ""


def _text(value: float | str | None) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else value


def _with_recent(
    measures: list[InputMeasure], rows: pl.DataFrame, kinds: Mapping[str, str], spec: ModelSpec
) -> tuple[list[InputMeasure], int, int]:
    """The measures with the newest rows against those before them, and how many rows both sides have."""
    limits = spec.monitoring.live_inputs
    newest, former = rows.tail(limits.recent_rows), rows.head(-limits.recent_rows).tail(limits.former_rows)
    if former.height < limits.recent_rows:
        return measures, 0, 0
    sides = profile_features(former, kinds), profile_features(newest, kinds)
    recent: dict[str, DriftMeasure] = {name: compare(name, *sides, limits.recent_rows) for name in kinds}
    return (
        [measure.model_copy(update={"recent": recent[measure.name]}) for measure in measures],
        newest.height,
        former.height,
    )
