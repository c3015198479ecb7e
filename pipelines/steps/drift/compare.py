"""Compares one column of the window with its reference: test and effect size, or None where they cannot be measured."""

from __future__ import annotations

from pipelines.messages.monitoring import DriftMeasure
from pipelines.steps.drift.chi_squared import chi_squared_test, pooled_counts
from pipelines.steps.drift.ks import ks_test
from pipelines.steps.drift.psi import psi, psi_numeric
from pipelines.steps.drift.sketch import Sketch
from pipelines.tables.profile import CategoricalProfile, NumericProfile, TableProfile


def compare(name: str, reference: TableProfile | None, current: TableProfile | None, minimum_rows: int) -> DriftMeasure:
    """Measure one column of ``current``; ``rows`` counts its rows, nulls included.

    Statistic, p-value and PSI are None where the column is missing on either side, is of another kind there, or has
    fewer than ``minimum_rows`` rows in either.
    """
    ours = _column(reference, name)
    theirs = _column(current, name)
    categorical = isinstance(theirs if theirs is not None else ours, CategoricalProfile)
    blank = DriftMeasure(
        name=name,
        kind="categorical" if categorical else "numeric",
        method="chi_squared" if categorical else "ks",
        rows=_rows(theirs),
        statistic=None,
        p_value=None,
        psi=None,
    )
    if min(_rows(ours), _rows(theirs)) < max(minimum_rows, 1):
        return blank
    if isinstance(ours, NumericProfile) and isinstance(theirs, NumericProfile):
        return blank.model_copy(update=_numeric(ours, theirs))
    if isinstance(ours, CategoricalProfile) and isinstance(theirs, CategoricalProfile):
        return blank.model_copy(update=_categorical(ours, theirs))
    return blank


def _numeric(reference: NumericProfile, current: NumericProfile) -> dict[str, float]:
    ours = Sketch.of(reference.points, reference.weights, reference.nulls)
    theirs = Sketch.of(current.points, current.weights, current.nulls)
    statistic, p_value = ks_test(ours, theirs)
    return {"statistic": statistic, "p_value": p_value, "psi": psi_numeric(ours, theirs)}


def _categorical(reference: CategoricalProfile, current: CategoricalProfile) -> dict[str, float]:
    _, ours, theirs = pooled_counts(reference.counts, current.counts, (reference.nulls, current.nulls))
    statistic, p_value = chi_squared_test(ours, theirs)
    return {"statistic": statistic, "p_value": p_value, "psi": psi(ours, theirs)}


def _column(profile: TableProfile | None, name: str) -> NumericProfile | CategoricalProfile | None:
    if profile is None:
        return None
    return profile.numeric.get(name) or profile.categorical.get(name)


def _rows(column: NumericProfile | CategoricalProfile | None) -> int:
    if column is None:
        return 0
    valued = sum(column.weights) if isinstance(column, NumericProfile) else sum(column.counts.values())
    return valued + column.nulls
