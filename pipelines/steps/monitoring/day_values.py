"""The metrics within each day: the unit of monitoring, because rows of one day share their weather and their news."""

from __future__ import annotations

import polars as pl

from pipelines.messages.monitoring import DayValue
from pipelines.ports import Ports
from pipelines.spec.model import ModelSpec
from pipelines.steps.evaluation.metrics import measure, measure_one
from pipelines.tables.row_days import row_days

SMALLEST_CLASS = 5
SMALLEST_ROWS = 10


def day_values(answers: pl.DataFrame, spec: ModelSpec, metric: str | None = None) -> list[DayValue]:
    """All metrics, or the named one, of ``answers`` (``day``, ``label``, ``prediction``), ascending by day.

    Rows without label or prediction are left out. A day counts by itself if it has five rows of each class (a
    regression: ten rows); else it is taken together with the days after it until there are as many. Days that are too
    few at the end have no value yet.
    """
    known = answers.filter(pl.col("label").is_not_null() & pl.col("prediction").is_finite()).sort("day")
    values: list[DayValue] = []
    pending: list[pl.DataFrame] = []
    for rows in known.partition_by("day", maintain_order=True):
        pending.append(rows)
        together = pl.concat(pending)
        if not _is_enough(together, spec):
            continue
        label, prediction = together["label"].to_numpy(), together["prediction"].to_numpy()
        if metric is None:
            metrics = measure(spec.problem, label, prediction, spec.evaluation.threshold)
        else:
            metrics = {metric: measure_one(spec.problem, metric, label, prediction, spec.evaluation.threshold)}
        values.append(
            DayValue(
                first=together["day"][0],
                day=together["day"][-1],
                rows=together.height,
                metrics={name: value for name, value in metrics.items() if value is not None},
            )
        )
        pending = []
    return values


def with_local_day(frame: pl.DataFrame, model: str, ports: Ports) -> pl.DataFrame:
    """``frame`` with ``day``: the local date of the event, or of a panel the first date of the period."""
    view, dataset = ports.catalog.view_of(model), ports.catalog.dataset_of(model)
    return frame.with_columns(row_days(view, dataset, frame["prediction_time"]))


def _is_enough(rows: pl.DataFrame, spec: ModelSpec) -> bool:
    if spec.problem == "regression":
        return rows.height >= SMALLEST_ROWS
    positive = int((rows["label"] == 1).sum())
    return min(positive, rows.height - positive) >= SMALLEST_CLASS
