"""Assigns each row to train, validation or test by the declared split; it depends on the rows and the seed alone."""

from __future__ import annotations

import hashlib
from datetime import datetime

import polars as pl

from pipelines.spec.model import SplitSpec

TRAIN, VALIDATION, TEST = PARTS = ("train", "validation", "test")
TARGET_STRATA = 5
"""Equal-sized groups by target value among which a stratified split of a regression is balanced."""


def assign_parts(frame: pl.DataFrame, split: SplitSpec, *, seed: int, classification: bool) -> pl.Series:
    """``train``, ``validation`` or ``test`` for each row of ``frame``, in its order; a series called ``part``.

    ``frame`` has ``prediction_time``, ``target`` and ``entity_id``. Shares are of rows, rounded to whole rows.

    - ``time_ordered``: by prediction time; rows of one moment stay together in the earlier part, so every train row
      is strictly earlier than every validation row, and those than every test row.
    - ``random``: by the sha256 of seed and entity, which is the same on every machine and in every release.
    - ``stratified``: the same within each class, or within each fifth of the target's range of ranks.
    """
    if split.strategy == "time_ordered":
        return _assign_by_time(frame["prediction_time"], split)
    digests = [hashlib.sha256(f"{seed}|{entity}".encode()).hexdigest() for entity in frame["entity_id"]]
    drawn = frame.select("target").with_columns(pl.Series("drawn", digests, dtype=pl.String))
    if split.strategy == "random":
        stratum = pl.lit(0)
    elif classification:
        stratum = pl.col("target").rank("dense")
    else:
        stratum = (pl.col("target").rank("ordinal") - 1) * TARGET_STRATA // pl.len()
    place = pl.col("drawn").rank("ordinal").over("stratum").cast(pl.Float64)
    size = pl.len().over("stratum").cast(pl.Float64)
    until_train, until_validation = (size * split.train).round(), (size * (split.train + split.validation)).round()
    part = pl.when(place <= until_train).then(pl.lit(TRAIN)).when(place <= until_validation).then(pl.lit(VALIDATION))
    return drawn.with_columns(stratum.alias("stratum")).select(part.otherwise(pl.lit(TEST)).alias("part")).to_series()


def _assign_by_time(moments: pl.Series, split: SplitSpec) -> pl.Series:
    ordered = moments.sort()
    train, validation = (ordered[end - 1] if end else None for end in part_end_rows(ordered.len(), split))
    return parts_by_end_times(moments, train, validation)


def part_end_rows(rows: int, split: SplitSpec) -> tuple[int, int]:
    """How many rows, the earliest first, end the train part, and the validation part."""
    return round(rows * split.train), round(rows * (split.train + split.validation))


def parts_by_end_times(moments: pl.Series, train: datetime | None, validation: datetime | None) -> pl.Series:
    """The part of each prediction time, given the last moment of train and of validation; None: no row is in it."""
    moment = pl.col("moment")
    in_train, until_validation = (moment.is_null() if end is None else moment <= end for end in (train, validation))
    part = pl.when(in_train).then(pl.lit(TRAIN)).when(until_validation).then(pl.lit(VALIDATION))
    return pl.DataFrame({"moment": moments}).select(part.otherwise(pl.lit(TEST)).alias("part")).to_series()
