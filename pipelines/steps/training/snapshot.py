"""A training sees exactly the rows that the snapshot's digest names, complete and labelled, or is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from pydantic import ValidationError

from pipelines import layout
from pipelines.encoding import FeatureInput, Kind, check_columns, encode
from pipelines.errors import Refused
from pipelines.messages import SnapshotResult
from pipelines.ports import Store
from pipelines.steps.snapshot_files import FrozenFiles, open_files
from pipelines.steps.split import PARTS
from pipelines.steps.take_snapshot import RECORD, read_snapshot
from pipelines.steps.training.fitting import Part

BATCH_ROWS = 1_000_000
"""Rows per batch of a snapshot that is one table, unless another number is asked for."""


@dataclass(frozen=True)
class Snapshot:
    """One row per entity, with features, ``target``, ``part`` and ``prediction_time``.

    ``table``: all rows, where they were frozen as one table; ``files``: where to find them otherwise.
    """

    record: SnapshotResult
    table: pl.DataFrame | None = None
    files: FrozenFiles | None = None

    @cached_property
    def frame(self) -> pl.DataFrame:
        """All rows at once. A snapshot in batches is read whole for it: ask for ``batches`` where it may be large."""
        if self.files is None:
            assert self.table is not None
            return self.table
        return self.files.frame(*PARTS)

    def rows(self, *parts: str) -> pl.DataFrame:
        """Rows of the named parts, in order of prediction time; all of them in memory."""
        frame = self.frame if self.files is None else self.files.frame(*parts)
        return frame.filter(pl.col("part").is_in(parts)).sort("prediction_time", maintain_order=True)

    def batches(
        self, part: str, columns: Sequence[str] | None = None, *, batch_rows: int | None = None
    ) -> Iterator[pl.DataFrame]:
        """Rows of ``train``, ``validation`` or ``test``, in batches of at most ``batch_rows``, the same at each call.

        ``columns``: those to read; None: all. Without ``batch_rows`` a snapshot in batches comes as it was cut, one
        file in memory at a time, and one table in slices of a million rows. Every row comes once; in a snapshot in
        batches they are in order of day and, within it, of prediction time. ``Refused`` for a column that is not
        there, or a file that was altered.
        """
        whole = [self.rows(part)] if self.files is None else self.files.batches(part, columns)
        size = batch_rows or (BATCH_ROWS if self.files is None else self.files.list.batch_rows)
        for frame in whole:
            check_columns(frame.columns, list(columns or []))
            yield from (frame if columns is None else frame.select(columns)).iter_slices(size)


def open_snapshot(store: Store, model: str, digest: str) -> Snapshot:
    """``Refused`` if it does not exist, or its content is not what the digest says.

    The content of a snapshot in batches is looked at batch by batch, when each is first read.
    """
    files = open_files(store, model, digest)
    frame = None if files else read_snapshot(store, model, digest)
    path = layout.snapshot(model, digest, RECORD)
    try:
        record = SnapshotResult.model_validate_json(store.get(path))
    except ValidationError as error:
        raise Refused(f"{path} is no record of a snapshot; take the snapshot again", [str(error)]) from error
    return Snapshot(record, frame, files)


def check_rows(snapshot: Snapshot, problem: str, features: dict[str, Kind]) -> None:
    """``Refused`` with everything that makes the rows unfit for a training."""
    frame = snapshot.frame
    wanted = [*features, "target", "part", "prediction_time"]
    faults = [f"column {name!r} is missing" for name in wanted if name not in frame.columns]
    if faults:
        raise Refused(f"snapshot {snapshot.record.digest} cannot be trained on", faults)
    unlabelled = frame.filter(pl.col("target").is_null() | pl.col("target").is_nan()).height
    if unlabelled:
        faults.append(f"{unlabelled} rows have no target")
    for part in ("train", "validation"):
        targets = frame.filter(pl.col("part") == part)["target"]
        if targets.is_empty():
            faults.append(f"part {part!r} has no rows")
        elif problem == "classification":
            odd = targets.filter(~targets.is_in([0.0, 1.0])).len()
            if odd:
                faults.append(f"part {part!r} has {odd} targets that are neither 0 nor 1")
            elif targets.n_unique() < 2:
                faults.append(f"part {part!r} has only targets of {targets[0]:g}; a classification needs both")
    if faults:
        raise Refused(f"snapshot {snapshot.record.digest} cannot be trained on", faults)


def part_of(rows: pl.DataFrame, features: list[FeatureInput]) -> Part:
    return Part(encode(rows, features), rows["target"].cast(pl.Float64).to_numpy())


def times_of(rows: pl.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.datetime64]]:
    return rows["prediction_time"].dt.replace_time_zone(None).to_numpy()
