"""Writes complete segments as Parquet, under reproducible file names, and then deletes them.

Whatever a record holds, it keeps no other one from being written: what cannot be converted goes to a side file.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from pipelines.serving.files import write_file
from pipelines.serving.prediction_log.conversion import CONVERSION_ERRORS, answer_fault, convert, utc_date
from pipelines.serving.prediction_log.segment_scan import scan_segment
from pipelines.serving.prediction_log.side_files import RejectedAnswer, write_side_file
from pipelines.serving.prediction_log.writer import LogColumns, LoggedAnswer, Record, read_segment
from pipelines.tables.parquet_bytes import parquet_bytes


class Compacted(msgspec.Struct):
    """Numbers of files and rows written, and of records set aside."""

    files: int = 0
    rows: int = 0
    set_aside: int = 0


Group = dict[int, list[LoggedAnswer]]
"""The answers of one model and day, by the position of their columns among those of the segment."""


def compact_segment(path: Path, store: str) -> Compacted:
    """Write one segment to ``predictions/<model>/date=<day>/part-<segment>.parquet`` and delete it.

    Raises ``OSError`` if the store, or the disk for the side file, did not take a part of it: the others are written,
    the segment stays, and the next attempt writes the same files.
    """
    records, damaged = _read_records(path.read_bytes())
    columns, groups, rejected = _group_by_day(records)
    done, errors = Compacted(), []
    for (model, day), group in sorted(groups.items()):
        rows, content, unfit = _parquet(columns, group)
        rejected += unfit
        if rows == 0:
            continue
        try:
            write_file(f"{store.rstrip('/')}/predictions/{model}/date={day}/part-{path.stem}.parquet", content)
        except Exception as error:  # whatever a store raises, the other groups are written
            errors.append(f"{type(error).__name__}: {error}")
        else:
            done.files, done.rows = done.files + 1, done.rows + rows
    try:
        done.set_aside = write_side_file(path, rejected, damaged)
    except OSError as error:
        errors.append(f"{type(error).__name__}: {error}")
    if errors:
        raise OSError("; ".join(errors))
    path.unlink()
    return done


def _read_records(content: bytes) -> tuple[list[Record], list[tuple[bytes, str]]]:
    """All records of a segment, and what is damaged between them, each with its fault."""
    records, rest_bytes = read_segment(content)
    rest = content[len(content) - rest_bytes :]
    stretches = list(scan_segment(rest))
    records += [stretch.record for stretch in stretches if stretch.record is not None]
    return records, [(rest[start:end], fault) for start, end, record, fault in stretches if record is None]


def _group_by_day(records: list[Record]) -> tuple[list[LogColumns], dict[tuple[str, str], Group], list[RejectedAnswer]]:
    """The columns of a segment, its answers by model and UTC date, and the answers that fit no table."""
    columns: list[LogColumns] = []
    positions: dict[int, int] = {}
    groups: dict[tuple[str, str], Group] = defaultdict(lambda: defaultdict(list))
    rejected: list[RejectedAnswer] = []
    for record in records:
        if isinstance(record, LogColumns):
            positions[record.number] = len(columns)
            columns.append(record)
            continue
        position = positions.get(record.columns)
        own_columns = None if position is None else columns[position]
        fault = answer_fault(own_columns, record)
        if position is None or own_columns is None or fault:
            rejected.append(RejectedAnswer(own_columns, record, fault))
        else:
            groups[own_columns.model, utc_date(record.prediction_time).isoformat()][position].append(record)
    return columns, groups, rejected


def _parquet(columns: list[LogColumns], group: Group) -> tuple[int, bytes, list[RejectedAnswer]]:
    """Number of rows and Parquet file of all answers that can be converted, and the other answers."""
    frames: list[pl.DataFrame] = []
    rejected: list[RejectedAnswer] = []
    for position, answers in group.items():
        converted, unfit = convert(columns[position], answers)
        frames += converted
        rejected += unfit
    if not frames:
        return 0, b"", rejected
    try:
        frame = pl.concat(frames, how="diagonal_relaxed") if len(frames) > 1 else frames[0]
        content = parquet_bytes(frame)
    except CONVERSION_ERRORS as error:
        fault = f"its file cannot be written ({type(error).__name__})"
        group_answers = [(columns[position], answer) for position, answers in group.items() for answer in answers]
        return 0, b"", [RejectedAnswer(own_columns, answer, fault) for own_columns, answer in group_answers]
    return frame.height, content, rejected


def compact_all(folder: Path, store: str) -> dict[str, Any]:
    """Compact every complete segment, oldest first; ``errors`` lists those that were not written."""
    files = rows = set_aside = 0
    errors: list[str] = []
    for path in sorted(folder.glob("*.seg"), key=lambda segment: (segment.stat().st_mtime, segment.name)):
        try:
            done = compact_segment(path, store)
        except Exception as error:  # one bad segment must not hold up the others
            errors.append(f"{path.name}: {error if isinstance(error, OSError) else f'{type(error).__name__}: {error}'}")
            continue
        files, rows, set_aside = files + done.files, rows + done.rows, set_aside + done.set_aside
    return {"files": files, "rows": rows, "set_aside": set_aside, "errors": errors}
