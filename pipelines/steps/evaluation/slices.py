"""Measures each value of a declared column by itself; one with fewer than ``min_rows`` rows is not measured."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy import stats

from pipelines.messages.evaluation import SliceMetric
from pipelines.spec.model import Slices
from pipelines.steps.evaluation.metrics import Array, gain, measure_one
from pipelines.steps.evaluation.paired_gain import PairedAnswers, gain_error

MISSING_SLICE = "(missing)"


def slice_metrics(
    problem: str, declared: Slices, frame: pl.DataFrame, target: Array, candidate: Array, threshold: float
) -> list[SliceMetric]:
    """One line per value of each declared column, most rows first; null is a value of its own.

    ``frame`` holds the declared columns, row by row beside the arrays. Below ``min_rows`` nothing is measured.
    """
    return [
        SliceMetric(
            column=column,
            value=value,
            rows=int(inside.sum()),
            metric=declared.metric,
            candidate=None
            if inside.sum() < declared.min_rows
            else measure_one(problem, declared.metric, target[inside], candidate[inside], threshold),
        )
        for column in declared.columns
        for value, inside in _values(frame, column)
    ]


def compared_slices(
    problem: str, declared: Slices, frame: pl.DataFrame, answers: PairedAnswers, threshold: float
) -> list[SliceMetric]:
    """The same with the gain over the champion, its standard error, and how probable such a loss is by chance."""
    measured = slice_metrics(problem, declared, frame, answers.target, answers.candidate, threshold)
    inside = {(column, value): rows for column in declared.columns for value, rows in _values(frame, column)}
    return [
        line if line.rows < declared.min_rows else _with_gain(line, problem, answers, inside, threshold)
        for line in measured
    ]


def _with_gain(
    line: SliceMetric,
    problem: str,
    answers: PairedAnswers,
    inside: dict[tuple[str, str], np.ndarray[tuple[int], np.dtype[np.bool_]]],
    threshold: float,
) -> SliceMetric:
    part = answers.take(inside[line.column, line.value])
    champion = measure_one(problem, line.metric, part.target, part.champion, threshold)
    difference = gain(line.metric, line.candidate, champion)
    error = None if difference is None else gain_error(line.metric, part, threshold)
    loss_p = None
    if difference is not None and error is not None:
        loss_p = _loss_probability(difference, error.standard_error, error.blocks)
    return line.model_copy(
        update={
            "champion": champion,
            "gain": difference,
            "units": part.units,
            "standard_error": error.standard_error if error else None,
            "loss_p": loss_p,
        }
    )


def _loss_probability(difference: float, standard_error: float, units: int) -> float:
    if standard_error == 0:
        return 1.0 if difference >= 0 else 0.0
    return float(stats.t.cdf(difference / standard_error, units - 1))


def _values(frame: pl.DataFrame, column: str) -> list[tuple[str, np.ndarray[tuple[int], np.dtype[np.bool_]]]]:
    """Each value with its rows, most rows first."""
    values = frame.get_column(column).cast(pl.String).fill_null(MISSING_SLICE).to_numpy().astype(str)
    names, counts = np.unique(values, return_counts=True)
    ordered = sorted(zip(names, counts, strict=True), key=lambda item: (-item[1], item[0]))
    return [(str(name), values == name) for name, _ in ordered]
