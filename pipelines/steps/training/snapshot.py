"""Opens a snapshot for a training, verified by its digest, and refuses one whose rows cannot be trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from pydantic import ValidationError

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.training import SnapshotResult
from pipelines.ports import Store
from pipelines.spec.fault_text import fault_texts
from pipelines.steps.snapshot.files import SnapshotFiles, open_files
from pipelines.steps.snapshot.split import PARTS
from pipelines.steps.take_snapshot import RECORD_FILE, read_snapshot
from pipelines.steps.training.fitting import EncodedPart
from pipelines.tables.encoding import FeatureInput, Kind, check_columns, encode

BATCH_ROWS = 1_000_000
"""Rows per batch of a snapshot that is one table, by default."""


@dataclass(frozen=True)
class TargetFacts:
    """Targets of one part. ``missing``: null or NaN; ``not_binary``: known, and neither 0 nor 1."""

    rows: int = 0
    missing: int = 0
    not_binary: int = 0
    total: float = 0.0
    smallest: float = float("inf")
    largest: float = float("-inf")

    @property
    def mean(self) -> float | None:
        known = self.rows - self.missing
        return self.total / known if known else None

    def add(self, targets: pl.Series) -> TargetFacts:
        known = targets.cast(pl.Float64).drop_nulls().drop_nans().to_numpy()
        return TargetFacts(
            rows=self.rows + targets.len(),
            missing=self.missing + targets.len() - len(known),
            not_binary=self.not_binary + int(np.sum((known != 0) & (known != 1))),
            total=self.total + float(known.sum()),
            smallest=float(known.min(initial=self.smallest)),
            largest=float(known.max(initial=self.largest)),
        )


@dataclass(frozen=True)
class Snapshot:
    """One row per entity, with features, ``target``, ``part`` and ``prediction_time``.

    ``table``: all rows, where they were frozen as one table; ``files``: the files otherwise.
    """

    record: SnapshotResult
    table: pl.DataFrame | None = None
    files: SnapshotFiles | None = None

    @cached_property
    def frame(self) -> pl.DataFrame:
        """All rows at once. A snapshot in batches is read whole for it: ask for ``batches`` where it may be large."""
        if self.files is None:
            assert self.table is not None
            return self.table
        return self.files.frame(*PARTS)

    @cached_property
    def columns(self) -> dict[str, pl.DataType]:
        """Name and type of each column; none in a snapshot of no file."""
        if self.files is None:
            return dict(self.frame.schema)
        return dict(next((self.files.read(file).schema for file in self.files.list.files), {}))

    @cached_property
    def targets(self) -> dict[str, TargetFacts]:
        """By part. In a snapshot in batches this reads, and so verifies, every file."""
        facts = {}
        for part in PARTS:
            facts[part] = TargetFacts()
            frames = self.files.batches(part, ["target"]) if self.files else [self.frame.filter(pl.col("part") == part)]
            for frame in frames:
                facts[part] = facts[part].add(frame["target"])
        return facts

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
        frames = [self.rows(part)] if self.files is None else self.files.batches(part, columns)
        size = batch_rows or (BATCH_ROWS if self.files is None else self.files.list.batch_rows)
        for frame in frames:
            check_columns(frame.columns, list(columns or []))
            yield from (frame if columns is None else frame.select(columns)).iter_slices(size)


def open_snapshot(store: Store, model: str, digest: str) -> Snapshot:
    """``Refused`` if it does not exist, or its content is not what the digest says.

    The content of a snapshot in batches is looked at batch by batch, when each is first read.
    """
    files = open_files(store, model, digest)
    frame = None if files else read_snapshot(store, model, digest)
    path = store_paths.snapshot(model, digest, RECORD_FILE)
    try:
        record = SnapshotResult.model_validate_json(store.get(path))
    except ValidationError as error:
        raise Refused(f"{path} is not a record of a snapshot; take the snapshot again", fault_texts(error)) from error
    return Snapshot(record, frame, files)


def check_rows(snapshot: Snapshot, problem: str, features: dict[str, Kind]) -> None:
    """``Refused`` with everything that makes the rows unfit for a training."""
    required = [*features, "target", "part", "prediction_time"]
    faults = [f"column {name!r} is missing" for name in required if snapshot.columns and name not in snapshot.columns]
    if faults:
        raise Refused(f"snapshot {snapshot.record.digest} cannot be trained on", faults)
    unlabelled = sum(facts.missing for facts in snapshot.targets.values())
    if unlabelled:
        faults.append(f"{unlabelled} rows have no target")
    for part in ("train", "validation"):
        facts = snapshot.targets[part]
        if not facts.rows:
            faults.append(f"part {part!r} has no rows")
        elif problem == "classification":
            if facts.not_binary:
                faults.append(f"part {part!r} has {facts.not_binary} targets that are neither 0 nor 1")
            elif facts.smallest == facts.largest:
                faults.append(f"part {part!r} has only targets of {facts.smallest:g}; a classification needs both")
    if faults:
        raise Refused(f"snapshot {snapshot.record.digest} cannot be trained on", faults)


def encode_part(rows: pl.DataFrame, features: list[FeatureInput]) -> EncodedPart:
    return EncodedPart(encode(rows, features), rows["target"].cast(pl.Float64).to_numpy())


def prediction_times(rows: pl.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.datetime64]]:
    return rows["prediction_time"].dt.replace_time_zone(None).to_numpy()
