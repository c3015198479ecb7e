"""Guesses what a file of unknown data is: how it is written, its columns, its key, and the time of its rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import PurePosixPath
from typing import Any

from pipelines.errors import Refused
from pipelines.spec.source import RESERVED_NAMES, SourceSpec
from pipelines.steps.drafting.column_guess import ColumnGuess, guess_columns
from pipelines.steps.drafting.key_guess import guess_key
from pipelines.steps.drafting.time_guess import guess_event_time, instants_of, later_times, local_dates, time_columns
from pipelines.steps.drafting.written_form import WrittenForm, read_unknown_file


@dataclass(frozen=True)
class TableGuess:
    """One file. ``key`` is empty where no columns tell its rows apart, ``event_time`` None where rows have no time."""

    source: str
    file: str
    form: WrittenForm
    signs: Mapping[str, str]
    columns: Mapping[str, ColumnGuess]
    rows: int
    key: list[str]
    event_time: str | None
    other_times: list[str]
    """Which may be the event time as well."""
    later: list[str]
    """Times that come after the event."""
    timezone: str

    def stored(self, column: str) -> str:
        """Name of a column in the tables, by which views and models know it."""
        return RESERVED_NAMES[column] if column in ("day", "partition") else column

    def days(self) -> list[date]:
        """The different days of its events, ascending; none without an event time."""
        if self.event_time is None:
            return []
        return local_dates(instants_of(self.columns[self.event_time], self.timezone), self.timezone)

    def files(self) -> str | dict[str, Any]:
        path = f"{{source}}/{{partition}}/{self.form.pattern}"
        fields = {**self.form.fields, **self.signs}
        return {"path": path, **fields} if fields else path


def guess_table(
    name: str,
    content: bytes,
    *,
    timezone: str,
    source: str = "",
    names: Sequence[str] = (),
    key: Sequence[str] = (),
    event_time: str | None = None,
    outcomes: Sequence[str] = (),
) -> TableGuess:
    """``source``: its name, else that of the file. ``names``: of the columns of a file without a header. ``key``,
    ``event_time``: what a person knows already.

    ``outcomes``: columns that are predicted, and so are no key. Raises ``Refused`` for what no declaration can say.
    """
    form, file = read_unknown_file(name, content, names)
    assert file.rows is not None
    if not file.rows.height:
        raise Refused(f"{name} has no rows; name a file with some")
    _check_names(name, file.rows.columns)
    columns, signs = guess_columns(file.rows, form.file_format(), timezone)
    for given in [*key, *([event_time] if event_time else [])]:
        if given not in columns:
            raise Refused(f"{name} has no column {given!r}; it has {', '.join(columns)}")
    time, others = guess_event_time(columns, timezone)
    if event_time:
        if event_time not in time_columns(columns):
            written = f"{columns[event_time].type}{' or null' if columns[event_time].is_nullable else ''}"
            raise Refused(f"{event_time!r} is {written}; the time of a row is a date or a timestamp that each row has")
        time, others = event_time, []
    return TableGuess(
        source=source or identifier(PurePosixPath(name).name.partition(".")[0]),
        file=name,
        form=form,
        signs=signs,
        columns=columns,
        rows=file.rows.height,
        key=list(key) or guess_key(columns, file.rows.height, outcomes),
        event_time=time,
        other_times=others,
        later=later_times(columns, time, timezone) if time else [],
        timezone=timezone,
    )


def identifier(text: str) -> str:
    """A name as declarations have them: ``Orders 2024`` is ``orders_2024``."""
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).lower())
    name = "_".join(words)[:60].strip("_")
    return name if name[:1].isalpha() else f"table_{name}".rstrip("_")


def _check_names(file: str, names: Sequence[str]) -> None:
    """Those that no source may have, with the way on."""
    try:
        SourceSpec.check_column_names(dict.fromkeys(names))  # type: ignore[arg-type]
    except ValueError as error:
        raise Refused(f"{file} has columns that cannot be declared", [str(error)]) from error
