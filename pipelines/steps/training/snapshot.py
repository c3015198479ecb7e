"""A training sees exactly the rows that the snapshot's digest names, complete and labelled, or is refused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from pydantic import ValidationError

from pipelines import layout
from pipelines.encoding import FeatureInput, Kind, encode
from pipelines.errors import Refused
from pipelines.messages import SnapshotResult
from pipelines.ports import Store
from pipelines.steps.take_snapshot import RECORD, read_snapshot
from pipelines.steps.training.fitting import Part


@dataclass(frozen=True)
class Snapshot:
    """``frame``: one row per entity, with features, ``target``, ``part`` and ``prediction_time``."""

    record: SnapshotResult
    frame: pl.DataFrame

    def rows(self, *parts: str) -> pl.DataFrame:
        """Rows of the named parts, in order of prediction time."""
        return self.frame.filter(pl.col("part").is_in(parts)).sort("prediction_time", maintain_order=True)


def open_snapshot(store: Store, model: str, digest: str) -> Snapshot:
    """``Refused`` if it does not exist, or its content is not what the digest says."""
    frame = read_snapshot(store, model, digest)
    path = layout.snapshot(model, digest, RECORD)
    try:
        record = SnapshotResult.model_validate_json(store.get(path))
    except ValidationError as error:
        raise Refused(f"{path} is no record of a snapshot; take the snapshot again", [str(error)]) from error
    return Snapshot(record, frame)


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
