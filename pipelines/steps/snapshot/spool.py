"""Writes a table to local disk in batches, with one day and about a batch of rows of each part in memory.

A split by time gives the same parts as for the whole table: rows are counted per day first, and only the day in
which a part ends is read row by row.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

import polars as pl

from pipelines.messages.training import SplitPart
from pipelines.spec.split import SplitSpec
from pipelines.steps.snapshot.files import FileList, SnapshotFile
from pipelines.steps.snapshot.split import PARTS, PartEnds, part_end_rows, part_ends, parts_by_end_times
from pipelines.steps.snapshot.table_digest import table_digest
from pipelines.tables.column_types import UTC_TIMESTAMP


@dataclass(frozen=True)
class SpooledTable:
    """A table in batches on local disk, and what it holds."""

    folder: Path
    list: FileList
    parts: dict[str, SplitPart]
    latest_label_time: datetime | None

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts.values())


def spool(
    days: Iterable[pl.DataFrame], split: SplitSpec, *, batch_rows: int, classification: bool, folder: Path
) -> SpooledTable:
    """Write ``days`` below ``folder`` as files of one part each, every one but a part's last of ``batch_rows`` rows.

    ``days``: frames with ``prediction_time``, ``label_time`` and ``target``, sorted, one after the other in order of
    day. They need up to twice the disk that they take as Parquet.
    """
    spooled = _SpooledDays.spool(days, folder)
    if split.gap:
        ends = part_ends(spooled.moments(), split)
    else:
        ends = PartEnds(*(spooled.prediction_time_at(end) for end in part_end_rows(spooled.rows, split)))
    writers = {part: _PartWriter(folder, part, batch_rows, classification) for part in PARTS}
    for path in spooled.paths:
        frame = pl.read_parquet(path)
        frame = frame.with_columns(parts_by_end_times(frame["prediction_time"], ends))
        for part, writer in writers.items():
            writer.add(frame.filter(pl.col("part") == part))
        path.unlink()
    for writer in writers.values():
        writer.close()
    files = [file for writer in writers.values() for file in writer.files]
    return SpooledTable(
        folder=folder,
        list=FileList(batch_rows=batch_rows, files=files),
        parts={part: writer.summary() for part, writer in writers.items()},
        latest_label_time=spooled.latest_label_time,
    )


@dataclass
class _SpooledDays:
    """The days as files, with the number of rows of each UTC date of prediction."""

    paths: list[Path] = field(default_factory=list)
    dates: list[set[date]] = field(default_factory=list)
    rows_by_date: Counter[date] = field(default_factory=Counter)
    latest_label_time: datetime | None = None

    @classmethod
    def spool(cls, days: Iterable[pl.DataFrame], folder: Path) -> _SpooledDays:
        spooled = cls()
        for number, frame in enumerate(days):
            if frame.is_empty():
                continue
            path = folder / f"day-{number:06d}.parquet"
            frame.write_parquet(path, compression="lz4")
            dates = frame["prediction_time"].dt.date().value_counts()
            spooled.paths.append(path)
            spooled.dates.append(set(dates["prediction_time"].to_list()))
            spooled.rows_by_date.update(dict(dates.iter_rows()))
            latest = frame["label_time"].max()
            assert isinstance(latest, datetime)
            spooled.latest_label_time = max(latest, spooled.latest_label_time or latest)
        return spooled

    @property
    def rows(self) -> int:
        return self.rows_by_date.total()

    def moments(self) -> pl.DataFrame:
        """Each ``prediction_time`` once, with its number of ``rows``."""
        counts = [
            pl.read_parquet(path, columns=["prediction_time"]).to_series().value_counts(name="rows")
            for path in self.paths
        ]
        if not counts:
            return pl.DataFrame(schema={"prediction_time": UTC_TIMESTAMP, "rows": pl.UInt32})
        return pl.concat(counts).group_by("prediction_time").agg(pl.col("rows").sum())

    def prediction_time_at(self, place: int) -> datetime | None:
        """Prediction time of the row at ``place`` (from 1) in order of time; None for place 0."""
        for day in sorted(self.rows_by_date):
            if place <= self.rows_by_date[day]:
                break
            place -= self.rows_by_date[day]
        if not place:
            return None
        holding = [path for path, dates in zip(self.paths, self.dates, strict=True) if day in dates]
        moments = pl.concat([pl.read_parquet(path, columns=["prediction_time"]) for path in holding]).to_series()
        moment = moments.filter(moments.dt.date() == day).sort()[place - 1]
        assert isinstance(moment, datetime)
        return moment


@dataclass
class _PartWriter:
    """Cuts the rows of one part into files."""

    folder: Path
    part: str
    batch_rows: int
    classification: bool
    files: list[SnapshotFile] = field(default_factory=list)
    positives: int = 0
    _pending: list[pl.DataFrame] = field(default_factory=list)

    def add(self, frame: pl.DataFrame) -> None:
        self._pending.append(frame)
        if sum(pending.height for pending in self._pending) < self.batch_rows:
            return
        rows = pl.concat(self._pending)
        whole = rows.height // self.batch_rows * self.batch_rows
        for batch in rows.head(whole).iter_slices(self.batch_rows):
            self._write(batch)
        self._pending = [rows.slice(whole)]

    def close(self) -> None:
        if any(pending.height for pending in self._pending):
            self._write(pl.concat(self._pending))
        self._pending = []

    def summary(self) -> SplitPart:
        return SplitPart(
            rows=sum(file.rows for file in self.files),
            first=min((file.first for file in self.files), default=None),
            last=max((file.last for file in self.files), default=None),
            positives=self.positives if self.classification else None,
        )

    def _write(self, batch: pl.DataFrame) -> None:
        name = f"{self.part}-{len(self.files):05d}.parquet"
        path = self.folder / name
        batch.write_parquet(path, compression="zstd")
        first, last = batch["prediction_time"].min(), batch["prediction_time"].max()
        assert isinstance(first, datetime)
        assert isinstance(last, datetime)
        if self.classification:
            self.positives += int(batch["target"].sum())
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        content = table_digest(batch)
        self.files.append(
            SnapshotFile(
                name=name, part=self.part, rows=batch.height, first=first, last=last, content=content, sha256=sha256
            )
        )


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """An empty folder on local disk (``TMPDIR``), deleted at the end."""
    return tempfile.TemporaryDirectory(prefix="airworthy-snapshot-")
