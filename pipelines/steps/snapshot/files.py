"""A snapshot in batches is named by a digest over all its files, and every file is verified when it is read.

The digest covers the rows, their order and where they are cut into files: XGBoost's quantiles depend on the cut, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.ports import Store
from pipelines.spec.fault_text import fault_texts
from pipelines.steps.snapshot.table_digest import table_digest

FILE_LIST_NAME = "files.json"
DIGEST_PREFIX = b"airworthy.table.batches.1\n"
SAMPLE_ROWS = 1_000_000
"""Rows of a part used for what cannot be done batch by batch (ranks, resamples); notes say so."""


class SnapshotFile(BaseModel):
    """One Parquet file: rows of one part. ``content``: its ``table_digest``; ``sha256``: of its bytes as written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    part: str
    rows: int
    first: datetime
    last: datetime
    """First and last prediction time."""
    content: str
    sha256: str


class FileList(BaseModel):
    """``files.json``: the files of each part in order of day and, within it, of prediction time and key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_rows: int
    files: list[SnapshotFile]

    def digest(self) -> str:
        """sha256, 64 hex digits, over part, rows, prediction times and content of every file in order."""
        digest = hashlib.sha256(DIGEST_PREFIX)
        for file in self.files:
            digest.update(f"{file.part}|{file.rows}|{file.first!s}|{file.last!s}|{file.content}\n".encode())
        return digest.hexdigest()

    def files_of_parts(self, *parts: str) -> list[SnapshotFile]:
        return [file for part in parts for file in self.files if file.part == part]

    def last_prediction_time(self, *parts: str) -> datetime | None:
        """Last prediction time of the named parts."""
        return max((file.last for file in self.files_of_parts(*parts)), default=None)


@dataclass
class SnapshotFiles:
    """The files of one snapshot. Content is digested when a file is first read; later its bytes must be the same."""

    store: Store
    model: str
    digest: str
    list: FileList
    _verified: set[str] = field(default_factory=set)

    def read(self, file: SnapshotFile, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """``Refused`` if the file was altered, or lacks a column."""
        path = store_paths.snapshot(self.model, self.digest, file.name)
        content = self.store.get(path)
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise Refused(f"{path} was altered: its sha256 is not {file.sha256}; restore it or take a new snapshot")
        if file.name not in self._verified:
            frame = pl.read_parquet(BytesIO(content))
            if table_digest(frame) != file.content:
                raise Refused(f"{path} was altered: its content is not what {self.digest} names; take a new snapshot")
            self._verified.add(file.name)
            return frame if columns is None else _select_columns(frame, columns, path)
        missing = [name for name in columns or [] if name not in pl.read_parquet_schema(BytesIO(content))]
        if missing:
            raise Refused(f"{path} lacks columns", missing)
        return pl.read_parquet(BytesIO(content), columns=None if columns is None else [*columns])

    def batches(self, part: str, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """The rows of a part, one file after the other."""
        for file in self.list.files_of_parts(part):
            yield self.read(file, columns)

    def frame(self, *parts: str) -> pl.DataFrame:
        """The parts as one table, which must fit in memory."""
        frames = [self.read(file) for file in self.list.files_of_parts(*parts)]
        return pl.concat(frames) if frames else pl.DataFrame()

    def sample(self, max_rows: int, *parts: str) -> pl.DataFrame:
        """The parts, or where they have more rows, ``most`` of them: an equal share of every file, drawn at random.

        The same snapshot gives the same rows. In memory are the sample and one file.
        """
        files = self.list.files_of_parts(*parts)
        total = sum(file.rows for file in files)
        if total <= max_rows:
            return self.frame(*parts)
        drawn, before = [], 0
        for number, file in enumerate(files):
            share = (before + file.rows) * max_rows // total - before * max_rows // total
            before += file.rows
            random = np.random.default_rng([int(self.digest[:16], 16), number])
            places = np.sort(random.choice(file.rows, share, replace=False))
            drawn.append(self.read(file)[places])
        return pl.concat(drawn)


def open_files(store: Store, model: str, digest: str) -> SnapshotFiles | None:
    """None where the snapshot is one file. ``Refused`` if the list of files has another digest."""
    path = store_paths.snapshot(model, digest, FILE_LIST_NAME)
    if not store.exists(path):
        return None
    try:
        file_list = FileList.model_validate_json(store.get(path))
    except ValidationError as error:
        raise Refused(
            f"{path} is not a list of files; restore it or take a new snapshot", fault_texts(error)
        ) from error
    if file_list.digest() != digest:
        raise Refused(f"{path} was altered: its digest is {file_list.digest()}; restore it or take a new snapshot")
    return SnapshotFiles(store, model, digest, file_list)


def _select_columns(frame: pl.DataFrame, columns: Sequence[str], path: str) -> pl.DataFrame:
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise Refused(f"{path} lacks columns", missing)
    return frame.select(columns)
