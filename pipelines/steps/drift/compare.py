"""Compares one column of the window with its reference: test and effect size, or None where they cannot be measured."""

from __future__ import annotations

from pipelines.messages.monitoring import DriftMeasure
from pipelines.steps.drift.chi_squared import chi_squared_test, pooled_counts
from pipelines.steps.drift.daily_statistics import find_column, rows_of
from pipelines.steps.drift.ks import ks_test
from pipelines.steps.drift.psi import psi, psi_numeric
from pipelines.steps.drift.sketch import QuantileSketch
from pipelines.tables.profile import CategoricalProfile, NumericProfile, TableProfile


def compare(
    name: str,
    reference: TableProfile | None,
    current: TableProfile | None,
    minimum_rows: int,
    *,
    reference_rows: int | None = None,
) -> DriftMeasure:
    """Measure one column of ``current``; ``rows`` counts its rows, nulls included.

    Statistic, p-value and PSI are None where the column is missing on either side, is of another kind there, or has
    fewer than ``minimum_rows`` rows in either (``reference_rows`` in the reference, if given).
    """
    ref = find_column(reference, name)
    cur = find_column(current, name)
    categorical = isinstance(cur if cur is not None else ref, CategoricalProfile)
    blank = DriftMeasure(
        name=name,
        kind="categorical" if categorical else "numeric",
        method="chi_squared" if categorical else "ks",
        rows=rows_of(cur),
        statistic=None,
        p_value=None,
        psi=None,
    )
    if rows_of(cur) < max(minimum_rows, 1) or rows_of(ref) < max(reference_rows or minimum_rows, 1):
        return blank
    if isinstance(ref, NumericProfile) and isinstance(cur, NumericProfile):
        return blank.model_copy(update=_numeric(ref, cur))
    if isinstance(ref, CategoricalProfile) and isinstance(cur, CategoricalProfile):
        return blank.model_copy(update=_categorical(ref, cur))
    return blank


def _numeric(reference: NumericProfile, current: NumericProfile) -> dict[str, float]:
    ref, cur = QuantileSketch.of(reference), QuantileSketch.of(current)
    statistic, p_value = ks_test(ref, cur)
    return {"statistic": statistic, "p_value": p_value, "psi": psi_numeric(ref, cur)}


def _categorical(reference: CategoricalProfile, current: CategoricalProfile) -> dict[str, float]:
    _, ref, cur = pooled_counts(reference, current)
    statistic, p_value = chi_squared_test(ref, cur)
    return {"statistic": statistic, "p_value": p_value, "psi": psi(ref, cur)}
