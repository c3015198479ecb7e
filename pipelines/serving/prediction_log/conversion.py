"""Converts logged answers to a table; an answer that does not fit is named with its fault and left out."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from pipelines.serving.prediction_log.side_files import RejectedAnswer
from pipelines.serving.prediction_log.writer import LogColumns, LoggedAnswer

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
    "caller": pl.String,
}
FEATURE_DTYPES = {"categorical": pl.String, "numeric": pl.Float64}
VALUE_TYPES: dict[str, set[type]] = {"categorical": {str, type(None)}, "numeric": {int, float, type(None)}}
MODEL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
"""A model's name can be a folder's."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CONVERSION_ERRORS = (Exception, pl.exceptions.PanicException)
"""A panic of polars is no ``Exception``, and would end the compactor."""


def utc_date(microseconds: int) -> date:
    """UTC date of a time in microseconds since 1970. Raises ``OverflowError`` outside the years 1 to 9999."""
    return (EPOCH + timedelta(microseconds=microseconds)).date()


def answer_fault(columns: LogColumns | None, answer: LoggedAnswer) -> str:
    """What keeps an answer from being rows of the table, without its values; empty if nothing does."""
    if columns is None:
        return "its columns are not in the segment"
    if MODEL_NAME.fullmatch(columns.model) is None:
        return "the name of its model cannot be a folder's"
    for field in ("prediction_time", "logged_at"):
        try:
            utc_date(getattr(answer, field))
        except OverflowError:
            return f"{field} lies outside the years 1 to 9999"
    count = len(answer.predictions)
    if len(answer.values) != len(columns.names) or len(columns.types) != len(columns.names):
        return f"it has {len(answer.values)} columns, its version has {len(columns.names)}"
    if answer.ids is not None and len(answer.ids) != count:
        return f"it has {len(answer.ids)} ids for {count} predictions"
    for name, kind, values in zip(columns.names, columns.types, answer.values, strict=True):
        if len(values) != count:
            return f"column {name!r} has {len(values)} values for {count} predictions"
        if kind not in VALUE_TYPES:
            return f"column {name!r} is neither categorical nor numeric"
        if not set(map(type, values)) <= VALUE_TYPES[kind]:
            return f"column {name!r} is {kind} and holds a value of another type"
    return ""


def convert(columns: LogColumns, answers: list[LoggedAnswer]) -> tuple[list[pl.DataFrame], list[RejectedAnswer]]:
    """``log_frame`` of all answers that can be converted, in parts, and the other answers."""
    try:
        return [log_frame(columns, answers)], []
    except CONVERSION_ERRORS as error:
        if len(answers) == 1:
            return [], [RejectedAnswer(columns, answers[0], f"it cannot be converted ({type(error).__name__})")]
    middle = len(answers) // 2
    (frames, rejected), (more_frames, more_rejected) = (
        convert(columns, half) for half in (answers[:middle], answers[middle:])
    )
    return frames + more_frames, rejected + more_rejected


def log_frame(columns: LogColumns, answers: list[LoggedAnswer]) -> pl.DataFrame:
    """One row per answered row; features as columns ``f_<name>``, categorical as text, numeric as double.

    Raises an error where a value does not fit its column.
    """
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
        "caller": repeat_per_row([answer.caller for answer in answers]),
    }
    series = [pl.Series(name, content[name], dtype=kind, strict=True) for name, kind in FIXED_COLUMNS.items()]
    for index, (name, kind) in enumerate(zip(columns.names, columns.types, strict=True)):
        values = [value for answer in answers for value in answer.values[index]]
        series.append(pl.Series(f"f_{name}", values, dtype=FEATURE_DTYPES[kind], strict=True))
    return pl.DataFrame(series)
