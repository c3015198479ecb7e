"""Writes a complete segment as Parquet, always under the same file names, and only then deletes it."""

from __future__ import annotations

import io
import itertools
from collections import defaultdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.serving.files import write_file
from pipelines.serving.prediction_log.writer import HEADER, LogColumns, LoggedAnswer, read_segment

MICROSECONDS = pl.Datetime("us", "UTC")
FIXED: dict[str, type[pl.DataType] | pl.DataType] = {
    "prediction_time": MICROSECONDS,
    "logged_at": MICROSECONDS,
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


def rows(columns: LogColumns, answers: list[LoggedAnswer]) -> pl.DataFrame:
    """One row per answered row; features under ``f_<name>``, categorical as text and numeric as double."""
    counts = [len(answer.predictions) for answer in answers]

    def spread(values: list[Any]) -> list[Any]:
        return [value for value, count in zip(values, counts, strict=True) for _ in range(count)]

    content: dict[str, list[Any]] = {
        "prediction_time": spread([answer.prediction_time for answer in answers]),
        "logged_at": spread([answer.logged_at for answer in answers]),
        "request_id": spread([answer.request_id for answer in answers]),
        "row": [row for count in counts for row in range(count)],
        "correlation_id": spread([answer.correlation_id for answer in answers]),
        "entity_id": [
            entity_id
            for answer, count in zip(answers, counts, strict=True)
            for entity_id in (answer.ids or itertools.repeat(None, count))
        ],
        "model": [columns.model] * sum(counts),
        "version": [columns.version] * sum(counts),
        "generation": spread([answer.generation for answer in answers]),
        "prediction": [value for answer in answers for value in answer.predictions],
        "latency_us": spread([answer.latency_us for answer in answers]),
        "role": [columns.role] * sum(counts),
        "rollout_id": [columns.rollout_id or None] * sum(counts),
        "bucket": spread([None if answer.bucket < 0 else answer.bucket for answer in answers]),
        "fallback": spread([answer.fallback for answer in answers]),
        "cache_hit": spread([answer.cache_hit for answer in answers]),
        "weight": spread([answer.weight for answer in answers]),
        "unit": spread([None if answer.unit is None else f"{answer.unit:016x}" for answer in answers]),
    }
    series = [pl.Series(name, content[name], dtype=kind, strict=False) for name, kind in FIXED.items()]
    for place, (name, kind) in enumerate(zip(columns.names, columns.types, strict=True)):
        values = [value for answer in answers for value in answer.values[place]]
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
    records, left = read_segment(content)
    described: dict[int, LogColumns] = {}
    grouped: dict[tuple[str, date], dict[int, list[LoggedAnswer]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if isinstance(record, LogColumns):
            described[record.number] = record
            continue
        day = datetime.fromtimestamp(record.prediction_time / 1e6, UTC).date()
        grouped[described[record.columns].model, day][record.columns].append(record)
    written = 0
    for (model, day), by_version in sorted(grouped.items()):
        frames = [rows(described[number], answers) for number, answers in by_version.items()]
        frame = pl.concat(frames, how="diagonal_relaxed") if len(frames) > 1 else frames[0]
        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression="zstd")
        name = f"predictions/{model}/date={day:%Y-%m-%d}/part-{path.stem}.parquet"
        write_file(f"{store.rstrip('/')}/{name}", buffer.getvalue())
        written += frame.height
    if left > 0 and _is_damaged(content, left):
        damaged = path.parent / "damaged"
        damaged.mkdir(exist_ok=True)
        path.replace(damaged / path.name)
    else:
        path.unlink()
    return len(grouped), written


def _is_damaged(content: bytes, left: int) -> bool:
    """Whether what is left is more than the one record that a killed writer did not finish."""
    tail = content[len(content) - left :]
    if len(tail) < HEADER.size:
        return False
    size, _ = HEADER.unpack_from(tail)
    return bool(len(tail) >= HEADER.size + size)


def compact_all(folder: Path, store: str) -> dict[str, Any]:
    """Compact every complete segment, oldest first; ``errors`` names each that has to wait."""
    files = written = 0
    errors: list[str] = []
    for path in sorted(folder.glob("*.seg"), key=lambda segment: (segment.stat().st_mtime, segment.name)):
        try:
            more_files, more_rows = compact_segment(path, store)
        except Exception as error:  # one bad segment must not hold up the others
            errors.append(f"{path.name}: {type(error).__name__}: {error}")
            continue
        files, written = files + more_files, written + more_rows
    return {"files": files, "rows": written, "errors": errors}
