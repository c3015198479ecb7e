"""Measures each value of a declared column by itself; one with fewer than ``min_rows`` rows is not measured."""

from __future__ import annotations

import numpy as np
import polars as pl

from pipelines.messages.evaluation import SliceMetric
from pipelines.spec.model import Slices
from pipelines.steps.evaluation.metrics import Array, gain, measure_one

MISSING_SLICE = "(missing)"


def slice_metrics(
    problem: str,
    declared: Slices,
    frame: pl.DataFrame,
    target: Array,
    candidate: Array,
    champion: Array | None,
    threshold: float,
) -> list[SliceMetric]:
    """One line per value of each declared column, most rows first; null is a value of its own.

    ``frame`` holds the declared columns, row by row beside the arrays. Below ``min_rows`` nothing is measured.
    """
    metrics = []
    for column in declared.columns:
        values = frame.get_column(column).cast(pl.String).fill_null(MISSING_SLICE).to_numpy()
        names, counts = np.unique(values.astype(str), return_counts=True)
        for name, rows in sorted(zip(names, counts, strict=True), key=lambda item: (-item[1], item[0])):
            inside = values == name
            candidate_value = champion_value = None
            if rows >= declared.min_rows:
                candidate_value = measure_one(problem, declared.metric, target[inside], candidate[inside], threshold)
                if champion is not None:
                    champion_value = measure_one(problem, declared.metric, target[inside], champion[inside], threshold)
            metrics.append(
                SliceMetric(
                    column=column,
                    value=str(name),
                    rows=int(rows),
                    metric=declared.metric,
                    candidate=candidate_value,
                    champion=champion_value,
                    gain=gain(declared.metric, candidate_value, champion_value),
                )
            )
    return metrics
