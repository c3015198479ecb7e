"""Measures how much each feature of a view gives away of the label of its row, known labels and unknown ones alike."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from pipelines import store_paths
from pipelines.ports import Store
from pipelines.rules.leaks import ColumnFacts
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import FeatureView
from pipelines.steps.features.validated_table import ValidatedTable
from pipelines.steps.labels.read_labels import read_labels
from pipelines.steps.leakage.measure import leak_facts

OUTCOME = "__outcome"


def labelled_features(
    store: Store, view: FeatureView, dataset: DatasetSpec, expression: str, features: Sequence[str]
) -> pl.DataFrame:
    """Key, ``day``, ``prediction_time``, features and ``label`` of every row that was built, by prediction time.

    ``expression``: of the target. ``label`` is null where it is not known; a column ``__outcome`` has the value that
    the label reads, where it reads one column of the row.
    """
    table = store_paths.features(view.view)
    read = dict.fromkeys([*view.key, "prediction_time", *features])
    rows = store.read(table, columns=[*read, "day"])
    on = ["day", *view.key]
    labels = read_labels(store, view, dataset, expression, None).select(*on, "label")
    frame = rows.join(labels, on=on, how="left").sort("prediction_time", *view.key)
    columns = view.label.columns if view.label is not None else []
    if len(columns) != 1:
        return frame
    own = ValidatedTable(store, view, view.entity_source).read(None, list(dict.fromkeys([*view.key, *columns])))
    outcomes = own.select(*on, pl.col(columns[0]).alias(OUTCOME))
    return frame.join(outcomes, on=on, how="left", maintain_order="left")


def feature_leaks(
    frame: pl.DataFrame, view: FeatureView, features: Sequence[str], *, is_condition: bool
) -> list[ColumnFacts]:
    """Facts of each feature. ``frame``: that of ``labelled_features``."""
    return leak_facts(
        frame.select(features),
        frame["label"],
        is_condition=is_condition,
        outcome=frame[OUTCOME] if OUTCOME in frame.columns else None,
        moments=None if view.is_table else frame["prediction_time"],
    )
