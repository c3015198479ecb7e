"""Reads the rows that callers sent from the prediction log, with their features, by the local day of the event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from io import BytesIO

import polars as pl

from pipelines.ports import Ports
from pipelines.steps.monitoring.day_values import with_local_day
from pipelines.steps.monitoring.prediction_log import dates_about, read_files, without_internal_rows

PREFIX = "f_"
"""A feature's column in the log."""
CORRELATION_ID = "correlation_id"
"""By it a caller's request is found in logs; null in files of before it was logged."""


def read_caller_rows(
    ports: Ports, model: str, days: Sequence[date], features: Mapping[str, str]
) -> tuple[pl.DataFrame, int]:
    """Rows of callers about events of these local days, and the rows left out since they lack one of the ``features``.

    ``features``: name to ``categorical`` or ``numeric``. Columns: ``day``, ``logged_at``, ``entity_id``,
    ``correlation_id`` and the features, one row per row that was answered, whichever version answered it, ascending by
    ``logged_at``. Rows of versions with other features are left out and counted.
    Raises ``Refused`` that names every unreadable file.
    """
    types = {name: pl.String() if kind == "categorical" else pl.Float64() for name, kind in features.items()}
    base = {
        "prediction_time": pl.Datetime("us", "UTC"),
        "logged_at": pl.Datetime("us", "UTC"),
        "entity_id": pl.String(),
        CORRELATION_ID: pl.String(),
    }
    frames: list[pl.DataFrame] = []
    lacking = 0

    def rows_of(content: bytes) -> None:
        nonlocal lacking
        present = pl.read_parquet_schema(BytesIO(content))
        optional = [name for name in ("role", CORRELATION_ID) if name in present]
        columns = ["prediction_time", "logged_at", "entity_id", *optional]
        complete = all(PREFIX + name in present for name in features)
        frame = pl.read_parquet(BytesIO(content), columns=[*columns, *(PREFIX + name for name in features if complete)])
        frame = without_internal_rows(frame)
        if not complete:
            lacking += frame.height
            return
        named = {PREFIX + name: name for name in features}
        if CORRELATION_ID not in present:
            frame = frame.with_columns(pl.lit(None, pl.String()).alias(CORRELATION_ID))
        typed = frame.rename(named).cast(types)  # type: ignore[arg-type]
        frames.append(typed.select(*base, *types))

    read_files(ports.store, model, dates_about(ports, model, days[0], days[-1]), rows_of)
    whole = pl.concat([pl.DataFrame(schema={**base, **types}), *frames])
    rows = with_local_day(whole, model, ports).filter(pl.col("day").is_in(list(days)))
    return rows.drop("prediction_time").sort("logged_at", "entity_id", maintain_order=True), lacking
