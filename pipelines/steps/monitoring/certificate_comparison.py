"""Holds the day values of a live version against those of its certificate; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from pipelines.messages.monitoring import DayComparison, DayValue
from pipelines.spec.model import LOWER_IS_BETTER, ModelSpec
from pipelines.statistics.day_comparison import difference_of_days, sum_of_losses, yearly_error


def compare_days(
    spec: ModelSpec, certificate: Sequence[DayValue], of_version: Sequence[DayValue], last: date
) -> DayComparison | None:
    """The declared metric of the version's days up to ``last`` against its certificate's days.

    ``of_version``: since it is live, ascending. None while the window has fewer than two days with the metric.
    """
    metric = spec.monitoring.performance.metric
    live = [value for value in of_version if metric in value.metrics]
    former, days = signed_values(certificate, spec), signed_values(live, spec)
    compared = _compared(spec, former, live, last)
    if compared is None:
        return None
    losses = sum_of_losses(former, days)
    since = losses.since if losses else None
    return compared.model_copy(
        update={
            "certificate_days": len(former),
            "cusum": float(losses.sums[-1]) if losses else None,
            "cusum_limit": losses.limit if losses else None,
            "cusum_since": live[since].first if since is not None else None,
        }
    )


def compare_test_metric(
    spec: ModelSpec,
    of_version: Sequence[DayValue],
    last: date,
    metrics: Mapping[str, float | None],
    reference: Mapping[str, float],
) -> DayComparison | None:
    """The same of a version whose certificate has no days: the window's metric against that of its whole test."""
    metric = spec.monitoring.performance.metric
    live = [value for value in of_version if metric in value.metrics]
    compared = _compared(spec, signed_values(values_in_window(live, spec, last), spec), live, last)
    value, test = metrics.get(metric), reference.get(metric)
    if compared is None or value is None or test is None:
        return None
    return compared.model_copy(update={"difference": _sign(spec) * (value - test)})


def values_in_window(values: Sequence[DayValue], spec: ModelSpec, last: date) -> list[DayValue]:
    """Those of the declared window that ends on ``last``."""
    window_start = last - timedelta(days=spec.monitoring.performance.window_days - 1)
    return [value for value in values if value.day >= window_start]


def signed_values(values: Sequence[DayValue], spec: ModelSpec) -> list[float]:
    """The watched metric of the days that have it, higher values being better."""
    metric = spec.monitoring.performance.metric
    return [_sign(spec) * value.metrics[metric] for value in values if metric in value.metrics]


def _sign(spec: ModelSpec) -> float:
    return -1.0 if spec.monitoring.performance.metric in LOWER_IS_BETTER else 1.0


def _compared(spec: ModelSpec, former: Sequence[float], live: Sequence[DayValue], last: date) -> DayComparison | None:
    """Without a sum of losses."""
    performance = spec.monitoring.performance
    in_window = signed_values(values_in_window(live, spec, last), spec)
    shown = difference_of_days(former, in_window)
    judged = difference_of_days(former, in_window, 1 - 2 * yearly_error(performance.window_days))
    if shown is None or judged is None:
        return None
    return DayComparison(
        metric=performance.metric,
        certificate_days=0,
        window_days=len(in_window),
        difference=shown.mean,
        half_width=shown.half_width,
        limit_half_width=judged.half_width,
        autocorrelation=shown.autocorrelation,
        watched_days=len(live),
    )
