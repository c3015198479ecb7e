"""Writes complete segments as Parquet, under reproducible file names, and then deletes them."""

from __future__ import annotations

import io
import itertools
from collections import defaultdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.serving.files import write_file
from pipelines.serving.prediction_log.writer import RECORD_HEADER, LogColumns, LoggedAnswer, read_segment

UTC_MICROSECONDS = pl.Datetime("us", "UTC")
FIXED_COLUMNS: dict[str, type[pl.DataType] | pl.DataType] = {
    "prediction_time": UTC_MICROSECONDS,
    "logged_at": UTC_MICROSECONDS,
    "request_id": pl.String,
    "row": pl.Int64,
    "correlation_id": pl.String,
    "entity_id": pl.String,
    "model": pl.String,
    "version": pl.String,
    "generation": pl.Int64,
    "prediction": pl.Float64,
    "latency_us": pl.Int64,
    "role": pl.String,
    "rollout_id": pl.String,
    "bucket": pl.Int64,
    "fallback": pl.Boolean,
    "cache_hit": pl.Boolean,
    "weight": pl.Float64,
    "unit": pl.String,
}


def log_frame(columns: LogColumns, answers: list[LoggedAnswer]) -> pl.DataFrame:
    """One row per answered row; features as columns ``f_<name>``, categorical as text, numeric as double."""
    counts = [len(answer.predictions) for answer in answers]

    def repeat_per_row(values: list[Any]) -> list[Any]:
        return [value for value, count in zip(values, counts, strict=True) for _ in range(count)]

    content: dict[str, list[Any]] = {
        "prediction_time": repeat_per_row([answer.prediction_time for answer in answers]),
        "logged_at": repeat_per_row([answer.logged_at for answer in answers]),
        "request_id": repeat_per_row([answer.request_id for answer in answers]),
        "row": [row for count in counts for row in range(count)],
        "correlation_id": repeat_per_row([answer.correlation_id for answer in answers]),
        "entity_id": [
            entity_id
            for answer, count in zip(answers, counts, strict=True)
            for entity_id in (answer.ids or itertools.repeat(None, count))
        ],
        "model": [columns.model] * sum(counts),
        "version": [columns.version] * sum(counts),
        "generation": repeat_per_row([answer.generation for answer in answers]),
        "prediction": [value for answer in answers for value in answer.predictions],
        "latency_us": repeat_per_row([answer.latency_us for answer in answers]),
        "role": [columns.role] * sum(counts),
        "rollout_id": [columns.rollout_id or None] * sum(counts),
        "bucket": repeat_per_row([None if answer.bucket < 0 else answer.bucket for answer in answers]),
        "fallback": repeat_per_row([answer.fallback for answer in answers]),
        "cache_hit": repeat_per_row([answer.cache_hit for answer in answers]),
        "weight": repeat_per_row([answer.weight for answer in answers]),
        "unit": repeat_per_row([None if answer.unit is None else f"{answer.unit:016x}" for answer in answers]),
    }
    series = [pl.Series(name, content[name], dtype=kind, strict=False) for name, kind in FIXED_COLUMNS.items()]
    for index, (name, kind) in enumerate(zip(columns.names, columns.types, strict=True)):
        values = [value for answer in answers for value in answer.values[index]]
        dtype = pl.String if kind == "categorical" else pl.Float64
        series.append(pl.Series(f"f_{name}", values, dtype=dtype, strict=False))
    return pl.DataFrame(series)


def compact_segment(path: Path, store: str) -> tuple[int, int]:
    """Write one segment to ``predictions/<model>/date=<day>/part-<segment>.parquet`` and delete it.

    Returns the number of files and rows written. A segment with a damaged record in its middle is kept under
    ``damaged/`` after its complete records were written. Raises ``OSError`` if the store does not answer: the segment
    stays, and the next attempt writes the same files.
    """
    content = path.read_bytes()
    records, rest_bytes = read_segment(content)
    columns: dict[int, LogColumns] = {}
    grouped: dict[tuple[str, date], dict[int, list[LoggedAnswer]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if isinstance(record, LogColumns):
            columns[record.number] = record
            continue
        day = datetime.fromtimestamp(record.prediction_time / 1e6, UTC).date()
        grouped[columns[record.columns].model, day][record.columns].append(record)
    written = 0
    for (model, day), by_version in sorted(grouped.items()):
        frames = [log_frame(columns[number], answers) for number, answers in by_version.items()]
        frame = pl.concat(frames, how="diagonal_relaxed") if len(frames) > 1 else frames[0]
        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression="zstd")
        name = f"predictions/{model}/date={day:%Y-%m-%d}/part-{path.stem}.parquet"
        write_file(f"{store.rstrip('/')}/{name}", buffer.getvalue())
        written += frame.height
    if rest_bytes > 0 and _is_damaged(content, rest_bytes):
        damaged = path.parent / "damaged"
        damaged.mkdir(exist_ok=True)
        path.replace(damaged / path.name)
    else:
        path.unlink()
    return len(grouped), written


def _is_damaged(content: bytes, rest_bytes: int) -> bool:
    """Whether the rest of a segment is more than one unfinished record of a killed writer."""
    tail = content[len(content) - rest_bytes :]
    if len(tail) < RECORD_HEADER.size:
        return False
    size, _ = RECORD_HEADER.unpack_from(tail)
    return bool(len(tail) >= RECORD_HEADER.size + size)


def compact_all(folder: Path, store: str) -> dict[str, Any]:
    """Compact every complete segment, oldest first; ``errors`` lists those that were not written."""
    files = written = 0
    errors: list[str] = []
    for path in sorted(folder.glob("*.seg"), key=lambda segment: (segment.stat().st_mtime, segment.name)):
        try:
            new_files, new_rows = compact_segment(path, store)
        except Exception as error:  # one bad segment must not hold up the others
            errors.append(f"{path.name}: {type(error).__name__}: {error}")
            continue
        files, written = files + new_files, written + new_rows
    return {"files": files, "rows": written, "errors": errors}
