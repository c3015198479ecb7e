"""Measures each metric of an A/B test per user, and the difference of the arms with bounds that hold at any time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.comparison import ExperimentMeasure, ExperimentRequest, MetricInterval
from pipelines.messages.rollout import ArmCounts
from pipelines.ports import Ports
from pipelines.spec.experiment import LABEL_METRICS, better_direction, outcome_column
from pipelines.spec.model import ModelSpec
from pipelines.spec.strategy import FULL_SHARE, AbTestSpec
from pipelines.statistics.e_values import StageEvents, log_e_sample_ratio
from pipelines.statistics.mean_difference import Difference, Moments, mean_difference, minimum_units
from pipelines.statistics.rate_difference import rate_difference
from pipelines.steps.monitoring.prediction_log import flush_log
from pipelines.steps.rollouts.log import OUTCOME_PREFIX, read_rollout, with_outcomes

CONTROL, VARIANT = "control", "variant"
MIN_ROWS = 100
"""From so many rows on, a note says if no user has returned."""


def run(request: ExperimentRequest, ports: Ports) -> ExperimentMeasure:
    """Measure both arms as they were assigned, or draw the earlier measurement ``request.found``.

    An answer of control in the variant's place counts for the variant. A user counts once, by the mean over all
    their answers (over those with a label where one is needed, each entity once). ``error_rate`` is the share of users
    with a bad answer, from the target's counts. An unreadable log and a column of outcomes that is not
    numeric are listed in ``errors``.
    """
    spec = ports.catalog.model(request.model)
    if request.found:
        return _with_picture(request.found, spec, ports)
    declared = spec.deployment.ab or AbTestSpec()
    users = {
        role: sum(arm.units for arm in _largest_stage(request.arms) if arm.role == role) for role in (CONTROL, VARIANT)
    }
    alpha, notes = 1 - declared.confidence_level, []
    logged = [name for name in declared.metrics if name != "error_rate"]
    values = pl.DataFrame()
    errors = count_faults(request.arms)
    if logged:
        notes += flush_log(ports, request.model)
        try:
            values = _logged_metrics(request, logged, spec, ports, notes)
        except Refused as error:
            errors.append(str(error))
    metrics = [
        _error_rate_interval(request.arms, users, alpha, alpha / len(declared.metrics))
        if name == "error_rate"
        else _mean_interval(name, values, declared, alpha, alpha / len(declared.metrics))
        for name in declared.metrics
    ]
    return ExperimentMeasure(
        model=request.model,
        control=request.control,
        variant=request.variant,
        rollout_id=request.rollout_id,
        elapsed=(request.now - request.started).total_seconds(),
        control_units=users[CONTROL],
        variant_units=users[VARIANT],
        split_log_e=log_e_sample_ratio(
            [StageEvents(share / FULL_SHARE, users[VARIANT], users[CONTROL]) for share in _variant_shares(request.arms)]
        ),
        metrics=metrics,
        errors=errors,
        notes=notes,
    )


def _logged_metrics(
    request: ExperimentRequest, metrics: Sequence[str], spec: ModelSpec, ports: Ports, notes: list[str]
) -> pl.DataFrame:
    rows = read_rollout(ports.store, request.model, request.rollout_id, request.started)
    rows = rows.filter(pl.col("logged_at") >= request.started)  # before the split no user was assigned
    values = metrics_per_user(_assigned_rows(rows, notes), metrics, spec, ports)
    if unknown := [name for name in metrics if values[name].count() == 0]:
        notes.append(f"no answer has a value yet of {', '.join(unknown)}: outcomes come when the days are validated")
    return values


def _with_picture(measure: ExperimentMeasure, spec: ModelSpec, ports: Ports) -> ExperimentMeasure:
    where = store_paths.rollout(measure.model, measure.rollout_id, "experiment.png")
    try:
        from pipelines.steps.rollouts.pictures import experiment_picture

        return measure.model_copy(update={"picture": ports.store.put(where, experiment_picture(measure, spec))})
    except Exception as error:  # a failed plot must not fail the measurement
        return measure.model_copy(update={"notes": [*measure.notes, f"no picture: {error}"]})


def count_faults(arms: Sequence[ArmCounts]) -> list[str]:
    """Every count that contradicts another."""
    return [
        f"stage {arm.step} counts {arm.bad_units} users with a bad answer among {arm.units} of the {arm.role}"
        for arm in arms
        if not 0 <= arm.bad_units <= arm.units
    ]


def _largest_stage(arms: Sequence[ArmCounts]) -> list[ArmCounts]:
    """The arms of the stage with most users: a user who returns in a later stage is not a new one."""
    users_by_stage = {arm.step: 0 for arm in arms if arm.share}
    for arm in arms:
        if arm.step in users_by_stage:
            users_by_stage[arm.step] += arm.units
    most = max(users_by_stage, key=lambda stage: (users_by_stage[stage], stage), default=None)
    return [arm for arm in arms if arm.step == most]


def _variant_shares(arms: Sequence[ArmCounts]) -> list[int]:
    """Basis points of the variant in that stage; none before it began."""
    return sorted({arm.share for arm in _largest_stage(arms)})[:1]


def _assigned_rows(rows: pl.DataFrame, notes: list[str]) -> pl.DataFrame:
    """Rows of users that the router assigned to exactly one arm."""
    assigned = rows.filter(pl.col("role").is_in([CONTROL, VARIANT]) & pl.col("unit").is_not_null())
    if assigned.height and assigned["unit"].str.len_chars().max() < 16:  # type: ignore[operator]
        notes.append("the log names no users, only buckets: users who share a bucket are counted as one")
    arms = assigned.group_by("unit").agg(pl.col("role").n_unique().alias("arms"))
    both = arms.filter(pl.col("arms") > 1)
    if both.height:
        notes.append(f"{both.height} users were answered as both arms and are left out")
    if assigned.height >= MIN_ROWS and arms.height == assigned.height:
        notes.append("every user sent exactly one request; do callers send what routing.key names?")
    return assigned.join(both.select("unit"), on="unit", how="anti", maintain_order="left")


def metrics_per_user(rows: pl.DataFrame, metrics: Sequence[str], spec: ModelSpec, ports: Ports) -> pl.DataFrame:
    """One row per user: ``role``, and each metric's mean over the user's answers (null: no value)."""
    columns = [column for name in metrics if (column := outcome_column(name))]
    if columns or LABEL_METRICS & set(metrics):
        rows = with_outcomes(rows, ports, spec, columns)
    else:
        rows = rows.with_columns(label=pl.lit(None, pl.Float64))
    # A repeated prediction of an entity has the same label.
    first = pl.col("entity_id").is_null() | pl.struct("unit", "entity_id").is_first_distinct()
    rows = rows.sort("logged_at", maintain_order=True).with_columns(first.alias("first"))
    return rows.group_by("role", "unit").agg(_metric_value(name, spec).mean().alias(name) for name in metrics)


def _metric_value(name: str, spec: ModelSpec) -> pl.Expr:
    """The metric of one answer, null where it does not count."""
    prediction, label = pl.col("prediction"), pl.when(pl.col("first")).then(pl.col("label"))
    if name == "latency":
        return pl.when(~pl.col("cache_hit").fill_null(value=False)).then(pl.col("latency_us") / 1000)
    if name == "prediction":
        return prediction
    if name == "accuracy":
        decision = prediction >= spec.evaluation.threshold
        return pl.when(label.is_not_null()).then((decision == (label >= 0.5)).cast(pl.Float64))
    if name == "absolute_error":
        return (prediction - label).abs()
    if name in ("squared_error", "brier"):
        return (prediction - label) ** 2
    return pl.when(pl.col("first")).then(pl.col(f"{OUTCOME_PREFIX}{outcome_column(name)}"))


def _mean_interval(
    name: str, values: pl.DataFrame, declared: AbTestSpec, alpha: float, shared: float
) -> MetricInterval:
    arms = {
        role: values.filter(pl.col("role") == role)[name].drop_nulls() if values.width else pl.Series(dtype=pl.Float64)
        for role in (CONTROL, VARIANT)
    }
    return measure_mean(name, arms, declared, alpha, shared)


def measure_mean(
    name: str, arms: Mapping[str, pl.Series], declared: AbTestSpec, alpha: float, shared: float
) -> MetricInterval:
    """The difference of the means of the users' values, by arm; exact for rare shares of zeros and ones.

    ``minimum_units`` of the interval says below how many users per arm the values are too skewed for it.
    """
    moments = {role: _moments(arm) for role, arm in arms.items()}
    scale = 1.0
    if name == "latency":
        scale = moments[CONTROL].mean or 1.0
    needed, smallest = minimum_units(_skewness(list(arms.values()))), min(arm.len() for arm in arms.values())
    if smallest < needed and all(arm.is_in([0.0, 1.0]).all() for arm in arms.values()):
        bounds, needed = [_share_bounds(arms, level) for level in (alpha, shared)], 0
    else:
        bounds = [_difference_bounds(moments, level, 2 * declared.minimum_sample_size) for level in (alpha, shared)]
    units = {f"{role}_units": arm.len() for role, arm in arms.items()}
    means = {role: moments[role].mean if arm.len() else None for role, arm in arms.items()}
    interval = _metric_interval(name, bounds, scale, **units, **means)
    return interval.model_copy(update={"minimum_units": needed})


def _skewness(arms: Sequence[pl.Series]) -> float:
    """Skewness of the values about the mean of their arm, of both arms together; 0 if they do not vary."""
    residuals = np.concatenate([arm.to_numpy() - (arm.mean() or 0.0) for arm in arms])
    spread = float(np.sqrt(np.mean(residuals**2))) if len(residuals) else 0.0
    return float(np.mean((residuals / spread) ** 3)) if spread > 0 else 0.0


def _share_bounds(arms: Mapping[str, pl.Series], alpha: float) -> Difference:
    """Exact bounds of values that are 0 or 1, for few or rare ones."""
    (x, n), (y, m) = ((int(arms[role].sum()), arms[role].len()) for role in (VARIANT, CONTROL))
    stages = [StageEvents(n / (n + m), x, y)] if n and m else []
    return rate_difference(stages, (x, n), (y, m), alpha=alpha)


def _difference_bounds(moments: dict[str, Moments], alpha: float, tightest_at: int) -> Difference:
    """Without bounds while no value has varied (no user has bought anything)."""
    difference = mean_difference(moments[VARIANT], moments[CONTROL], alpha=alpha, tightest_at=tightest_at)
    varied = any(arm.variance for arm in moments.values())
    return difference if varied else Difference(difference.estimate, -math.inf, math.inf)


def _moments(arm: pl.Series) -> Moments:
    if arm.len() < 2:
        return Moments(arm.len(), float(arm.mean() or 0.0), 0.0)  # type: ignore[arg-type]
    return Moments(arm.len(), float(arm.mean()), float(arm.var()))  # type: ignore[arg-type]


def _error_rate_interval(
    arms: Sequence[ArmCounts], users: dict[str, int], alpha: float, shared: float
) -> MetricInterval:
    """A user with bad answers counts in the stage of the first one; all stages of an experiment have one split."""
    users_by_stage = [arm for arm in arms if arm.share]
    bad = {role: sum(arm.bad_units for arm in users_by_stage if arm.role == role) for role in (CONTROL, VARIANT)}
    units = {role: max(users[role], bad[role]) for role in (CONTROL, VARIANT)}
    stages = [StageEvents(share / FULL_SHARE, bad[VARIANT], bad[CONTROL]) for share in _variant_shares(arms)]
    bounds = [
        rate_difference(stages, (bad[VARIANT], units[VARIANT]), (bad[CONTROL], units[CONTROL]), alpha=level)
        for level in (alpha, shared)
    ]
    rates = {role: bad[role] / units[role] if units[role] else None for role in (CONTROL, VARIANT)}
    return _metric_interval("error_rate", bounds, 1.0, **{f"{role}_units": units[role] for role in units}, **rates)


def _metric_interval(name: str, bounds: Sequence[Difference], scale: float, **arms: float | None) -> MetricInterval:
    usual, shared = bounds
    return MetricInterval.model_validate(
        {
            "metric": name,
            "better": better_direction(name),
            "estimate": _finite(usual.estimate / scale),
            "low": _finite(usual.low / scale),
            "high": _finite(usual.high / scale),
            "low_shared": _finite(shared.low / scale),
            "high_shared": _finite(shared.high / scale),
            **arms,
        }
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
