"""Candidate and champion answer the very same rows, and none of them was seen in the training of either."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl

from pipelines import layout
from pipelines.errors import Refused
from pipelines.ports import Ports, VersionInfo
from pipelines.steps.take_snapshot import read_snapshot

SNAPSHOT_TAG = "airworthy.snapshot"


def snapshot_digest(info: VersionInfo) -> str:
    """Digest of the snapshot a version was trained on. ``Refused`` for a version that does not say."""
    digest = info.tags.get(SNAPSHOT_TAG)
    if not digest:
        raise Refused(f"{info.model} {info.version} has no tag {SNAPSHOT_TAG}; train it by the train step")
    return digest


def snapshot_of(info: VersionInfo, ports: Ports) -> pl.DataFrame:
    """The snapshot of a version, one row per entity, in order of prediction time. ``Refused`` if it was altered."""
    return read_snapshot(ports.store, info.model, snapshot_digest(info))


def trained_until(snapshot: pl.DataFrame) -> datetime | None:
    """Last prediction time of the train and validation parts; None if there are none."""
    seen = snapshot.filter(pl.col("part") != "test").get_column("prediction_time")
    last = seen.max()
    return last if isinstance(last, datetime) else None


def span(frame: pl.DataFrame) -> tuple[datetime | None, datetime | None]:
    """First and last prediction time."""
    times = frame.get_column("prediction_time")
    first, last = times.min(), times.max()
    return first if isinstance(first, datetime) else None, last if isinstance(last, datetime) else None


def later_than(frame: pl.DataFrame, *moments: datetime | None) -> pl.DataFrame:
    """Rows whose prediction time is later than every given moment."""
    for moment in moments:
        if moment is not None:
            frame = frame.filter(pl.col("prediction_time") > moment)
    return frame


def completed(frame: pl.DataFrame, columns: Sequence[str], model: str, ports: Ports) -> pl.DataFrame:
    """The rows with the named columns; those that the snapshot lacks come from the feature table, by key.

    ``Refused`` if the feature table has not got them either, or has lost a row.
    """
    missing = [name for name in columns if name not in frame.columns]
    if not missing or frame.is_empty():
        return frame
    view = ports.catalog.view_of(model)
    table = layout.features(view.view)
    first, last = span(frame)
    days = ports.store.days(table)
    if first is not None and last is not None:  # a day is local, a prediction time is UTC
        margin = timedelta(days=2)
        days = [day for day in days if first.date() - margin <= day <= last.date() + margin]
    known = ports.store.read(table, days=days)
    unknown = [name for name in missing if name not in known.columns]
    if unknown:
        raise Refused(f"neither the snapshot nor {table} has the columns {', '.join(unknown)}")
    known = known.select(*view.key, *missing).with_columns(pl.lit(True).alias("_found"))
    joined = frame.join(known, on=view.key, how="left", maintain_order="left")
    lost = joined.get_column("_found").null_count()
    if lost or joined.height != frame.height:
        raise Refused(f"{lost} of {frame.height} rows of the snapshot are not once in {table}; build its features")
    return joined.drop("_found")
