"""Builds an entity's id, one text for one key in predictions, labels and features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from pipelines.spec.features import FeatureView

MOMENT_FORMAT = "%Y-%m-%dT%H:%M:%S%.fZ"
"""A whole second has no decimals."""


def entity_id(view: FeatureView) -> pl.Expr:
    """The key columns joined by ``|``, as in ``2013-03-01T10:00:00Z|UA|1545``; null if one of them is null.

    A ``|`` or ``\\`` within a value has a ``\\`` before it, so that two keys never have one id.
    """
    parts = [
        pl.col(name).dt.convert_time_zone("UTC").dt.strftime(MOMENT_FORMAT)
        if name in view.key_times
        else pl.col(name).cast(pl.String)
        for name in view.key
    ]
    escaped = [part.str.replace_all(r"([\\|])", r"\$1") for part in parts]
    return pl.concat_str(escaped, separator="|").alias("entity_id")


def names_its_time(view: FeatureView) -> bool:
    """Whether an id names one row: its key holds the time of the event, or the period, or it is a row of a table.

    Else each day may have an entity of the same id.
    """
    return view.panel is not None or view.event_time is None or view.event_time.column in view.key


def with_former_ids(rows: pl.DataFrame) -> pl.DataFrame:
    """``rows`` (with ``entity_id``), and again, under their former ids, those that were logged without a ``\\``
    before 0.2.0. A former id that several entities had is left out: it names none of them."""
    entities = rows.select("entity_id").unique().with_columns(former=_FORMER)
    several = entities.filter(pl.col("former").is_duplicated())["former"]
    again = rows.with_columns(former=_FORMER).filter(pl.col("former") != pl.col("entity_id"))
    unambiguous = again.filter(~pl.col("former").is_in(several.implode()))
    return pl.concat([rows, unambiguous.with_columns(entity_id="former").drop("former")])


_FORMER = pl.col("entity_id").str.replace_all(r"\\([\\|])", "$1")
