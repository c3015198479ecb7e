"""Joins the answers of the prediction log with the labels that have arrived, by entity id."""

from __future__ import annotations

from datetime import date

import polars as pl

from pipelines import store_paths
from pipelines.ports import Ports
from pipelines.spec.model import ModelSpec
from pipelines.steps.labels.read_labels import read_labels
from pipelines.steps.monitoring.prediction_log import read_answers
from pipelines.tables.entity_id import entity_id, names_its_time, with_former_ids


def read_labelled_answers(spec: ModelSpec, ports: Ports, first: date, last: date, notes: list[str]) -> pl.DataFrame:
    """Answers of these days with ``label`` (0 or 1 for a classification, the value for a regression, null if it has
    not arrived). ``day`` is that of the labelled row; of an answer without one, the day its prediction time says, which
    must be the row's own where the key does not hold the time of the event."""
    view = ports.catalog.view_of(spec.model)
    table = (
        store_paths.features(view.view)
        if view.label_follows
        else store_paths.validated(view.dataset, view.entity_source)
    )
    days = view.days(first, last)
    published = set(ports.store.days(table))
    absent = [day for day in days if day not in published]
    if absent:
        notes.append(f"{table} has no rows yet of {', '.join(map(str, absent))}: no labels of these days")
    answers = read_answers(ports, spec.model, first, last)
    present = [day for day in days if day in published]
    if not present:
        return answers.with_columns(label=pl.lit(None, pl.Float64)).filter(pl.col("day").is_between(first, last))
    rows = read_labels(ports.store, view, ports.catalog.dataset(view.dataset), spec.target.expression, present)
    labels = rows.select(entity_id(view), "label", "day", own_day="day")
    same = ["entity_id"] if names_its_time(view) else ["entity_id", "day"]
    labels = with_former_ids(labels).select(*same, "label", "own_day")
    return (
        answers.join(labels, on=same, how="left", maintain_order="left")
        .with_columns(day=pl.coalesce("own_day", "day"))
        .drop("own_day")
        .filter(pl.col("day").is_between(first, last))
    )
