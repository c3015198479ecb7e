"""The local day of each row of a source, by the time of its event: the folder in which the source delivers it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.spec.source import SourceSpec

if TYPE_CHECKING:
    import polars as pl


def event_days(source: SourceSpec, text: pl.DataFrame, timezone: str) -> pl.Series:
    """A date per row, in ``timezone``; ``text`` holds the columns of the event time as the source writes them."""
    from pipelines.steps.ingestion.column_values import typed_columns
    from pipelines.tables.event_instants import event_instants

    row_time = source.row_time
    assert row_time is not None, "a source without event times is a reference source"
    columns = {name: source.columns[name] for name in row_time.columns}
    typed = typed_columns(text, columns, source.files)[1]
    return event_instants(typed, row_time, timezone).dt.convert_time_zone(timezone).dt.date()
