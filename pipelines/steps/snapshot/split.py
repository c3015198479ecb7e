"""Assigns each row to train, validation or test by the declared split; it depends on the rows and the seed alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from pipelines.spec.split import SplitSpec

TRAIN, VALIDATION, TEST = PARTS = ("train", "validation", "test")
TARGET_STRATA = 5
"""Equal-sized groups by target value among which a stratified split of a regression is balanced."""


@dataclass(frozen=True)
class PartEnds:
    """Prediction times, all inclusive, that bound the parts of a split by time; None: no row is in the part.

    What lies between two parts is in none: its labels tell of the time of the later part.
    """

    train: datetime | None
    validation: datetime | None
    validation_begin: datetime | None = None
    test_begin: datetime | None = None


def assign_parts(frame: pl.DataFrame, split: SplitSpec, *, seed: int, classification: bool) -> pl.Series:
    """``train``, ``validation`` or ``test`` for each row of ``frame``, in its order; a series called ``part``.

    ``frame`` has ``prediction_time``, ``target``, ``entity_id`` and the column ``split.group``. Shares are of rows,
    rounded to whole rows; of groups, the part in which the last of its rows lies.

    - ``time_ordered``: by prediction time; rows of one moment stay together in the earlier part, so every train row
      is strictly earlier than every validation row, and those than every test row. ``split.gap``: how long after its
      moment a row's label tells of; rows of an earlier part whose labels reach beyond the first moment of the next are
      in no part (null). Test and validation keep their shares, and train has what is left.
    - ``random``: by the sha256 of seed and entity, which is the same on every machine and in every release.
    - ``stratified``: the same within each class, or within each fifth of the target's range of ranks.
    """
    if split.strategy == "time_ordered":
        moments = frame["prediction_time"]
        return parts_by_end_times(moments, part_ends(moments.value_counts(sort=False, name="rows"), split))
    names = frame[split.group or "entity_id"]
    digests = [hashlib.sha256(f"{seed}|{name}".encode()).hexdigest() for name in names]
    drawn = frame.select("target").with_columns(pl.Series("drawn", digests, dtype=pl.String))
    if split.strategy == "random":
        stratum = pl.lit(0)
    elif classification:
        stratum = pl.col("target").rank("dense")
    else:
        stratum = (pl.col("target").rank("ordinal") - 1) * TARGET_STRATA // pl.len()
    place = pl.col("drawn").rank("max" if split.group else "ordinal").over("stratum").cast(pl.Float64)
    size = pl.len().over("stratum").cast(pl.Float64)
    until_train, until_validation = (size * split.train).round(), (size * (split.train + split.validation)).round()
    part = pl.when(place <= until_train).then(pl.lit(TRAIN)).when(place <= until_validation).then(pl.lit(VALIDATION))
    return drawn.with_columns(stratum.alias("stratum")).select(part.otherwise(pl.lit(TEST)).alias("part")).to_series()


def part_end_rows(rows: int, split: SplitSpec) -> tuple[int, int]:
    """How many rows, the earliest first, end the train part, and the validation part."""
    return round(rows * split.train), round(rows * (split.train + split.validation))


def part_ends(moments: pl.DataFrame, split: SplitSpec) -> PartEnds:
    """The bounds of the parts. ``moments``: each ``prediction_time`` once, with its number of ``rows``."""
    ordered = moments.sort("prediction_time").with_columns(until=pl.col("rows").cum_sum())
    total = int(ordered["rows"].sum())
    train_rows, until_validation = part_end_rows(total, split)
    train, validation = _last_moment(ordered, train_rows), _last_moment(ordered, until_validation)
    if not split.gap:
        return PartEnds(train, validation)
    test_begin = _first_after(ordered, validation)
    judged = _known_before(ordered, test_begin, split.gap)
    rows = int(judged["rows"].sum())
    validation_begin = _first_after(judged, _last_moment(judged, max(rows - (until_validation - train_rows), 0)))
    learnt = _known_before(judged, validation_begin, split.gap)
    return PartEnds(_newest(learnt), _newest(judged), validation_begin, test_begin)


def _last_moment(ordered: pl.DataFrame, rows: int) -> datetime | None:
    """The moment of the row at this place (from 1) in order of time; None for place 0."""
    reached = ordered.filter(pl.col("until") >= rows) if rows else ordered.clear()
    moment = reached["prediction_time"].min()
    return moment if isinstance(moment, datetime) else None


def _first_after(ordered: pl.DataFrame, moment: datetime | None) -> datetime | None:
    later = ordered if moment is None else ordered.filter(pl.col("prediction_time") > moment)
    first = later["prediction_time"].min()
    return first if isinstance(first, datetime) else None


def _known_before(ordered: pl.DataFrame, begin: datetime | None, gap: timedelta) -> pl.DataFrame:
    """The moments whose labels tell of nothing after ``begin``; None: there is no later part."""
    return ordered if begin is None else ordered.filter(pl.col("prediction_time") + gap <= begin)


def _newest(ordered: pl.DataFrame) -> datetime | None:
    newest = ordered["prediction_time"].max()
    return newest if isinstance(newest, datetime) else None


def parts_by_end_times(moments: pl.Series, ends: PartEnds) -> pl.Series:
    """The part of each prediction time; null for those between two parts."""
    moment = pl.col("moment")
    in_train, until_validation = (
        moment.is_null() if end is None else moment <= end for end in (ends.train, ends.validation)
    )
    from_validation, from_test = (
        pl.lit(True) if begin is None else moment >= begin for begin in (ends.validation_begin, ends.test_begin)
    )
    part = (
        pl.when(in_train)
        .then(pl.lit(TRAIN))
        .when(until_validation & from_validation)
        .then(pl.lit(VALIDATION))
        .when(~until_validation & from_test)
        .then(pl.lit(TEST))
    )
    return pl.DataFrame({"moment": moments}).select(part.alias("part")).to_series()
