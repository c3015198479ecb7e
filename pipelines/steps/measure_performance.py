"""Joins logged predictions with their labels, late ones included, and measures them by day and over the window."""

from __future__ import annotations

import json
from datetime import date, timedelta

import polars as pl

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.monitoring import (
    AnchorComparison,
    DayComparison,
    DayPerformance,
    DayValue,
    MonitorRequest,
    PerformanceResult,
    ScoredAnswer,
)
from pipelines.ports import Ports
from pipelines.spec.model import CLASSIFICATION_METRICS, REGRESSION_METRICS, ModelSpec
from pipelines.statistics.day_comparison import difference_of_days
from pipelines.steps.evaluation.metrics import measure
from pipelines.steps.monitoring.certificate_comparison import (
    compare_days,
    compare_test_metric,
    signed_values,
    values_in_window,
)
from pipelines.steps.monitoring.day_values import day_values
from pipelines.steps.monitoring.labelled_answers import read_labelled_answers
from pipelines.steps.monitoring.prediction_log import flush_log
from pipelines.steps.monitoring.training_profile import read_training_profile

TEST_METRIC_PREFIX = "test_"
WATCHED_DAYS = 90
"""Days over which the losses of a version are summed up."""
READ_DAYS = 10
SHOWN_ANSWERS = 5
"""Answers that are furthest off, which a person may look up."""


def run(request: MonitorRequest, ports: Ports) -> PerformanceResult:
    """Join the prediction log with ``validated/<dataset>.<entity_source>`` and measure.

    The day and the ``label_horizon_days`` before it are joined again (more, where a label tells of a longer time), and
    their rows of the performance table are replaced: one row per local day of the event, or per period of a panel, over
    all answers about it. The window ends at the newest day whose labels can be known. The window's metrics are of the
    answers of one version alone, since they are held against that version's own test metrics: the live version that the
    request names, or, where it gave no answer about these days, the one that gave most of them. An endpoint that cannot
    flush its log leaves a note, and what is logged is measured.
    Raises ``Unavailable`` when the store or the registry does not answer.
    """
    spec = ports.catalog.model(request.model)
    notes = flush_log(ports, request.model)
    view = ports.catalog.view_of(request.model)
    horizon = max(spec.monitoring.label_horizon_days, view.label_lag)
    joined_again = view.days(request.day - timedelta(days=horizon), request.day)
    window_end = request.day - timedelta(days=view.label_lag)
    window = view.window(window_end, spec.monitoring.performance.window_days)
    first = min([*joined_again, *window])
    answers = read_labelled_answers(spec, ports, first, request.day, notes)

    days = [_measure_day(day, answers.filter(pl.col("day") == day), spec) for day in joined_again]
    for measured in days:
        ports.store.replace_partition(store_paths.performance(request.model), measured.day, _table_row(measured, spec))

    in_window = answers.filter(pl.col("day").is_in(window))
    version = _measured_version(in_window, request.version)
    of_version = in_window.filter(pl.col("version") == version) if version else in_window
    metrics, reference = _metrics(of_version, spec), _test_metrics(request, version, ports, notes)
    last = window[-1] if window else request.day
    live = _version_days(spec, ports, version, last) if version else []
    comparison = _compare_days(spec, ports, version, last, metrics, reference, live, notes) if version else None
    uncompared = None
    if version and comparison is None:
        certificate = _certificate_days(spec.model, version, ports)
        live_in_window = values_in_window(live, spec, last)
        uncompared = len(signed_values(live_in_window, spec)), len(signed_values(certificate, spec))
    anchors = request.anchors if version == request.version else []
    return PerformanceResult(
        model=request.model,
        day=request.day,
        window=window,
        days=days,
        window_metrics=metrics,
        window_predictions=of_version.height,
        window_labelled=of_version["label"].count(),
        right=_right_answers(of_version, spec),
        version=version,
        reference=reference,
        comparison=comparison,
        uncompared=uncompared,
        anchor=_compare_with_anchor(spec, ports, anchors, last, live),
        furthest_off=_furthest_off(of_version),
        notes=notes,
    )


def _measure_day(day: date, answers: pl.DataFrame, spec: ModelSpec) -> DayPerformance:
    counted = answers.group_by("version").len().sort("version")
    return DayPerformance(
        day=day,
        predictions=answers.height,
        labelled=answers["label"].count(),
        metrics=_metrics(answers, spec),
        versions=dict(counted.iter_rows()),
    )


def _metrics(answers: pl.DataFrame, spec: ModelSpec) -> dict[str, float | None]:
    labelled = answers.filter(pl.col("label").is_not_null() & pl.col("prediction").is_finite())
    return measure(
        spec.problem, labelled["label"].to_numpy(), labelled["prediction"].to_numpy(), spec.evaluation.threshold
    )


def _right_answers(answers: pl.DataFrame, spec: ModelSpec) -> int | None:
    """Labelled answers of the label's class, or within the tolerance that a regression declares; None: it has none."""
    label, prediction = pl.col("label"), pl.col("prediction")
    if spec.problem == "classification":
        is_right = (prediction >= spec.evaluation.threshold) == (label == 1)
    elif spec.worth is not None and spec.worth.tolerance is not None:
        is_right = (prediction - label).abs() <= spec.worth.tolerance
    else:
        return None
    return answers.filter(label.is_not_null() & prediction.is_finite() & is_right).height


def _furthest_off(answers: pl.DataFrame) -> list[ScoredAnswer]:
    labelled = answers.filter(pl.col("label").is_not_null() & pl.col("prediction").is_finite())
    distance = (pl.col("label") - pl.col("prediction")).abs()
    worst = labelled.sort(distance, descending=True, maintain_order=True).head(SHOWN_ANSWERS)
    return [
        ScoredAnswer.model_validate(row)
        for row in worst.select("day", "correlation_id", "prediction", "label").iter_rows(named=True)
    ]


def _measured_version(answers: pl.DataFrame, live: str | None) -> str | None:
    """The live version if it answered, else the version with most answers; of equals, the newest."""
    if live is not None and live in answers["version"]:
        return live
    counted = answers.group_by("version").agg(n=pl.len(), latest=pl.col("prediction_time").max())
    return None if counted.is_empty() else str(counted.sort("n", "latest", "version")["version"][-1])


def _compare_days(
    spec: ModelSpec,
    ports: Ports,
    version: str,
    last: date,
    metrics: dict[str, float | None],
    reference: dict[str, float],
    of_version: list[DayValue],
    notes: list[str],
) -> DayComparison | None:
    """``compare_days`` with the days of the version's certificate.

    A version from before certificates kept their days is compared by its whole test metric, as if that were of as many
    days as the window's, and has no sum of losses.
    """
    certificate = _certificate_days(spec.model, version, ports)
    if certificate:
        return compare_days(spec, certificate, of_version, last)
    notes.append(
        f"the certificate of version {version} has no day values (it was trained before they were kept): its whole "
        "test metric is compared, and no sum of losses is watched; train it anew"
    )
    return compare_test_metric(spec, of_version, last, metrics, reference)


def _compare_with_anchor(
    spec: ModelSpec, ports: Ports, anchors: list[str], last: date, of_version: list[DayValue]
) -> AnchorComparison | None:
    """The window beside the certificate of the first anchor that has day values."""
    in_window = signed_values(values_in_window(of_version, spec, last), spec)
    for anchor in anchors:
        former = signed_values(_certificate_days(spec.model, anchor, ports), spec)
        if (shown := difference_of_days(former, in_window)) is not None:
            facts = {"difference": shown.mean, "half_width": shown.half_width}
            return AnchorComparison(version=anchor, certificate_days=len(former), **facts)
    return None


def _version_days(spec: ModelSpec, ports: Ports, version: str, last: date) -> list[DayValue]:
    """The version's day values of the last ``WATCHED_DAYS``; the log is read a few days at a time."""
    days, parts = ports.catalog.view_of(spec.model).last_days(last, WATCHED_DAYS), []
    for start in range(0, len(days), READ_DAYS):
        chunk = days[start : start + READ_DAYS]
        answers = read_labelled_answers(spec, ports, chunk[0], chunk[-1], [])
        parts.append(answers.filter(pl.col("version") == version).select("day", "label", "prediction"))
    return day_values(pl.concat(parts), spec)


def _certificate_days(model: str, version: str, ports: Ports) -> list[DayValue]:
    profile = read_training_profile(ports.store, model, version)
    return profile.test_days if profile is not None else []


def _test_metrics(request: MonitorRequest, version: str | None, ports: Ports, notes: list[str]) -> dict[str, float]:
    """Test metrics of a version by their bare names; empty, with a note, if nobody knows the version."""
    if version is None:
        return {}
    if recorded := request.test_metrics.get(version):
        return recorded
    try:
        metrics = ports.registry.get(request.model, version).metrics
    except Refused as error:
        notes.append(f"the answers name version {version}, which the registry does not have: {error}")
        return {}
    known = (*CLASSIFICATION_METRICS, *REGRESSION_METRICS)
    return {name: metrics[TEST_METRIC_PREFIX + name] for name in known if TEST_METRIC_PREFIX + name in metrics}


def _table_row(measured: DayPerformance, spec: ModelSpec) -> pl.DataFrame:
    """The day's row of the performance table: the same columns every day, a metric that was not measured null."""
    names = CLASSIFICATION_METRICS if spec.problem == "classification" else REGRESSION_METRICS
    counts = {"predictions": measured.predictions, "labelled": measured.labelled}
    values = {
        **counts,
        "versions": json.dumps(measured.versions),
        **{name: measured.metrics.get(name) for name in names},
    }
    types = {**dict.fromkeys(counts, pl.Int64()), "versions": pl.String(), **dict.fromkeys(names, pl.Float64())}
    return pl.DataFrame([values], schema=types)
