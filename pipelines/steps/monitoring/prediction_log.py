"""Reads the answers of the prediction log: each entity once per version, by the local day of its event."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from io import BytesIO
from zoneinfo import ZoneInfo

import polars as pl

from pipelines import store_paths
from pipelines.errors import AirworthyError, Refused
from pipelines.ports import Ports, Store
from pipelines.tables.entity_id import names_its_time
from pipelines.tables.row_days import row_days

SCHEMA = pl.Schema(
    {
        "prediction_time": pl.Datetime("us", "UTC"),
        "logged_at": pl.Datetime("us", "UTC"),
        "entity_id": pl.String(),
        "version": pl.String(),
        "prediction": pl.Float64(),
        "correlation_id": pl.String(),
    }
)
"""The columns that monitoring reads; the log holds more (the features, the latency)."""

OPTIONAL_COLUMNS = ("correlation_id", "role")
"""A file that was written elsewhere, or before there were roles, may lack them."""
INTERNAL_ROLES = ["shadow", "probe"]
"""Roles of rows that no caller received: mirrored requests and probes of a candidate."""


def flush_log(ports: Ports, model: str) -> list[str]:
    """Have the endpoint write its buffered answers; if it cannot, return a note and use what is logged."""
    try:
        ports.endpoint.flush_log(model)
    except AirworthyError as error:
        return [f"the endpoint did not flush its log, so the latest answers may be missing: {error}"]
    return []


def read_answers(ports: Ports, model: str, first: date, last: date) -> pl.DataFrame:
    """Answers about entities whose event lies on the local days ``first`` to ``last`` (both inclusive).

    One row per entity and version (of a key without the time of the event: per day, too), the answer logged first;
    every answer without an entity id.
    Columns are those of ``SCHEMA`` and ``day``: the local date of ``prediction_time`` plus the view's lead, or of a
    panel the first date of the period that is answered about. Rows of neighbouring days may be among them, since a
    local day lies in several UTC dates: filter by ``day``.
    """
    view, dataset = ports.catalog.view_of(model), ports.catalog.dataset_of(model)
    log = read_log(ports.store, model, dates_about(ports, model, first, last)).sort("logged_at", maintain_order=True)
    named = pl.col("entity_id").is_not_null()
    answered = pl.struct("entity_id", "version", *(() if names_its_time(view) else ("day",)))
    return (
        log.with_columns(row_days(view, dataset, log["prediction_time"]))
        .filter(~named | answered.is_first_distinct())
        .sort("prediction_time", "entity_id", "version", maintain_order=True)
    )


def dates_about(ports: Ports, model: str, first: date, last: date) -> list[date]:
    """UTC dates of the log in which answers about events of these local days may be."""
    zone, view = ZoneInfo(ports.catalog.dataset_of(model).partition.timezone), ports.catalog.view_of(model)
    until = last if view.panel is None else last + view.panel.longest  # its rows are asked about until the next period
    return utc_dates(first, until, zone, view.lead)


def utc_dates(first: date, last: date, zone: ZoneInfo, lead: timedelta) -> list[date]:
    """UTC dates in which an answer about an event of these local days may have been requested.

    At the earliest a day or the declared lead before the first local midnight; at the latest when the last local day
    ends.
    """
    start = datetime(first.year, first.month, first.day, tzinfo=zone) - max(lead, timedelta(days=1))
    following = last + timedelta(days=1)
    end = datetime(following.year, following.month, following.day, tzinfo=zone)
    begin, stop = start.astimezone(ZoneInfo("UTC")).date(), end.astimezone(ZoneInfo("UTC")).date()
    return [begin + timedelta(days=n) for n in range((stop - begin).days + 1)]


def read_log(store: Store, model: str, dates: list[date]) -> pl.DataFrame:
    """All rows answered to callers on these UTC dates, with the columns of ``SCHEMA``; empty if nothing was logged.

    Raises ``Refused`` that names every unreadable file.
    """
    frames: list[pl.DataFrame] = []
    read_files(store, model, dates, lambda content: frames.append(_served_rows(content)))
    return pl.concat(frames) if frames else pl.DataFrame(schema=SCHEMA)


def read_files(store: Store, model: str, dates: Iterable[date], read: Callable[[bytes], None]) -> None:
    """Hand the content of each file of the log of these UTC dates to ``read``.

    Raises ``Refused`` that names every unreadable file.
    """
    faults: list[str] = []
    for day in dates:
        for path in store.list(f"{store_paths.predictions(model)}date={day:%Y-%m-%d}/"):
            if not path.endswith(".parquet"):
                continue
            try:
                read(store.get(path))
            except (pl.exceptions.PolarsError, OSError) as error:
                faults.append(f"{path}: {str(error).splitlines()[0]}")
    if faults:
        raise Refused(f"the prediction log of {model} has unreadable files; restore or move them away", faults)


def without_internal_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """``rows`` that callers received; all of them where there is no column ``role``, as before roles were logged."""
    return rows.filter(~pl.col("role").is_in(INTERNAL_ROLES)) if "role" in rows.columns else rows


def _served_rows(content: bytes) -> pl.DataFrame:
    present = pl.read_parquet_schema(BytesIO(content))
    absent = [name for name in OPTIONAL_COLUMNS if name not in present]
    columns = [name for name in (*SCHEMA, "role") if name not in absent]
    frame = without_internal_rows(pl.read_parquet(BytesIO(content), columns=columns))
    nulls = [pl.lit(None).alias(name) for name in absent if name in SCHEMA]
    return frame.with_columns(nulls).select(SCHEMA.names()).cast(SCHEMA)
