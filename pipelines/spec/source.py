"""A source declares its files, its key, its columns, and when its events happen and are known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    field_validator,
    model_validator,
)

from pipelines.spec.column import ColumnSpec
from pipelines.spec.declared import DeclarationBlock, Identifier
from pipelines.spec.durations import Duration
from pipelines.spec.event_time import TIME_TYPES, EventTime
from pipelines.spec.fault_text import FieldFaults
from pipelines.spec.known_time import DeclaredKnownTime, KnownTime
from pipelines.spec.partitions import PartitionCalendar
from pipelines.spec.source_files import FOLDER, DeclaredFiles
from pipelines.spec.sql_table import EXTRACT_FILE, SqlTable

OWN_DAY_COLUMN = "source_day"
"""Column of the tables that holds a source's own column ``day``: the partition's column has that name."""
OWN_PARTITION_COLUMN = "source_partition"
"""The same for a source's own column ``partition``."""
OWN_REASONS_COLUMN = "source_reasons"
"""Column of the quarantine table that holds a source's own column ``reasons``."""
RESERVED_NAMES = {"day": OWN_DAY_COLUMN, "partition": OWN_PARTITION_COLUMN, "reasons": OWN_REASONS_COLUMN}
ROW_KEY = "row"
"""In place of key columns: rows may repeat, and each is a row of its own."""
ROW_NAME = "__row"
"""Column of its tables that names each row by its file and line; no source's own column begins so."""


def _read_key(value: Any) -> Any:
    if value != ROW_KEY and not (isinstance(value, list) and value and all(isinstance(name, str) for name in value)):
        example = f"[{value}]" if isinstance(value, str) and value else "[order_id]"
        raise ValueError(
            f"must be a list of columns that tell rows apart: write `key: {example}`, or `key: row` if rows may repeat"
        )
    return value


def _read_event_time(value: Any) -> EventTime | Literal["none"] | None:
    return value if value is None or value == "none" else EventTime.parse(value)


def _written_event_time(value: EventTime | str | None) -> str | None:
    return None if value is None else str(value)


def _files_or_sql(schema: dict[str, Any]) -> None:
    schema["required"].remove("files")
    schema["oneOf"] = [{"required": ["files"]}, {"required": ["sql"]}]


class LateRows(DeclarationBlock):
    """``late`` of a source: which rows of earlier partitions a delivery may hold."""

    allow: Duration
    """Rows whose event lies at most so long before the delivered partition begins belong to their own partition."""


class SourceSpec(DeclarationBlock):
    """One source system's files, or its table in a database.

    ``cadence: partition`` delivers once for each partition; ``cadence: reference`` delivers a whole copy now and then,
    and a partition uses the newest copy delivered for it or before.
    """

    model_config = ConfigDict(json_schema_extra=_files_or_sql)

    files: DeclaredFiles
    """Needed unless the rows come from ``sql``: they are then written into files of our own."""
    sql: SqlTable | None = None
    cadence: Literal["partition", "reference"] = "partition"
    key: Annotated[Literal["row"] | list[str], BeforeValidator(_read_key)]
    event_time: Annotated[
        EventTime | Literal["none"] | None,
        PlainValidator(_read_event_time, json_schema_input_type=str | None),
        PlainSerializer(_written_event_time, return_type=str | None),
    ] = None
    """When the event of a row happened; its partition follows from it, and rows of another are refused.

    None: the only timestamp or date of the key, or of all columns. ``none``: rows of any time are taken.
    """
    late: LateRows | None = None
    """None: a row of an earlier partition refuses its delivery."""
    known: DeclaredKnownTime | None = None
    """When the values of a row are known; none: when its partition is due."""
    known_columns: dict[str, DeclaredKnownTime] = {}
    """The same of single columns; ``ended, duration`` names two."""
    columns: dict[str, ColumnSpec] = Field(min_length=1)
    suite: Identifier | None = None
    """Name of the Great Expectations suite in ``include/expectations/``; none: only the contract is checked."""
    empty: Literal["refused", "allowed"] = "refused"
    """Whether a delivery may have no rows."""
    minimum_rows: int = Field(default=1, ge=1)
    """A delivery with fewer rows is refused, unless it is empty and that is allowed."""

    @model_validator(mode="before")
    @classmethod
    def write_extracts_as_files(cls, declared: Any) -> Any:
        """Rows that were read from a database lie in the landing folder like those of any other source."""
        if not isinstance(declared, dict) or declared.get("sql") is None:
            return declared
        if "files" in declared:
            raise FieldFaults([("files", "a source has `files` or `sql`, and not both; remove one")])
        return {**declared, "files": f"{FOLDER}{EXTRACT_FILE}"}

    @model_validator(mode="after")
    def check_key_is_declared(self) -> Self:
        unknown = [name for name in self.key_columns if name not in self.columns]
        if unknown:
            raise ValueError(f"key names undeclared columns {unknown}; declare them under columns")
        nullable = [name for name in self.key_columns if self.columns[name].nullable]
        if nullable:
            raise ValueError(f"key columns {nullable} may be null; a key must not be, so remove `or null`")
        personal = [name for name in self.key_columns if self.columns[name].pii]
        if personal:
            raise ValueError(
                f"key columns {personal} are personal data, and a key is in ids, logs and reports; have the source "
                "deliver a pseudonym, or write `key: row` if rows may repeat"
            )
        repeated = sorted({name for name in self.key_columns if self.key_columns.count(name) > 1})
        if repeated:
            raise ValueError(f"key names {repeated} more than once; name each column once")
        return self

    @model_validator(mode="after")
    def check_times(self) -> Self:
        types = {name: column.type for name, column in self.columns.items()}
        nullable = {name: column.nullable for name, column in self.columns.items()}
        faults = [*self._known_column_faults(), *(("sql.window", fault) for fault in self._window_faults())]
        if self.late is not None and (self.row_time is None or self.sql is not None):
            why = "a table is read by its own times" if self.sql is not None else "rows without a time are never late"
            faults.append(("late", f"{why}; remove it"))
        if isinstance(self.event_time, EventTime):
            if self.cadence == "reference":
                faults.append(("event_time", "a reference copy holds rows of any time; remove it"))
            faults += [("event_time", fault) for fault in self.event_time.faults(types, nullable)]
        named = [
            ("known", self.known),
            *((f"known_columns.{names}", known) for names, known in self.known_columns.items()),
        ]
        faults += [
            (place, fault)
            for place, known in named
            if known is not None
            for fault in known.faults(types, has_event_time=self.row_time is not None)
        ]
        if faults:
            raise FieldFaults(faults)
        return self

    @field_validator("columns")
    @classmethod
    def check_column_names(cls, columns: dict[str, ColumnSpec]) -> dict[str, ColumnSpec]:
        own = [name for name in columns if not name or name.startswith(("__", "*", "^"))]
        if own:
            raise ValueError(f"column names {own} are empty, or begin with __, ^ or *; have the source rename them")
        spelt = [name for name in columns if name.lower() in RESERVED_NAMES and name not in RESERVED_NAMES]
        alike = [name for name in columns if [other.lower() for other in columns].count(name.lower()) > 1]
        if spelt or alike:
            raise ValueError(
                f"columns {sorted({*spelt, *alike})} differ from another column of their table only by capitals, which "
                "tables do not tell apart; have the source rename them"
            )
        taken = [name for name in columns if name in RESERVED_NAMES and RESERVED_NAMES[name] in columns]
        if taken:
            stored = [RESERVED_NAMES[name] for name in taken]
            raise ValueError(
                f"columns {taken} are stored as {stored}, which are columns, too; have the source rename one"
            )
        return columns

    @property
    def key_columns(self) -> list[str]:
        """The columns that tell rows apart; none where each row is one of its own."""
        return [] if self.key == ROW_KEY else list(self.key)

    @property
    def row_time(self) -> EventTime | None:
        """When the event of a row happened, declared or by its only column of a time; None: rows have no time."""
        if isinstance(self.event_time, EventTime):
            return self.event_time
        if self.event_time == "none" or self.cadence == "reference":
            return None
        candidates = self.time_columns()
        return EventTime(candidates[0]) if len(candidates) == 1 else None

    @property
    def window(self) -> str | None:
        """Column by which a partition is read from a database; None: rows have none, or it is no table."""
        if self.sql is None or self.cadence == "reference":
            return None
        return self.sql.window or (self.row_time.column if self.row_time is not None else None)

    @property
    def stored_time(self) -> EventTime | None:
        """``row_time`` by the names that its columns have in the tables."""
        time = self.row_time
        return time and EventTime(self.stored_name(time.column), tuple(map(self.stored_name, time.minutes)))

    @property
    def stored_key(self) -> list[str]:
        """``key_columns`` by their names in the tables."""
        return [self.stored_name(name) for name in self.key_columns]

    @property
    def stored_personal(self) -> list[str]:
        """The columns with personal data by their names in the tables."""
        return [name for name, column in self.stored_columns().items() if column.pii]

    @property
    def may_land_no_file(self) -> bool:
        """Whether a delivery without a file is one without rows: its files are any number, and it may be empty."""
        return self.empty == "allowed" and "*" in self.files.name

    def known_time(self, column: str) -> KnownTime | None:
        """When the values of a column are known, as declared; None: when the partition is due."""
        for names, known in self.known_columns.items():
            if column in _listed(names):
                return known
        return self.known

    def stored_columns(self) -> dict[str, ColumnSpec]:
        """The columns by their names in the raw and validated tables."""
        return {self.stored_name(name): column for name, column in self.columns.items()}

    def stored_name(self, column: str) -> str:
        """Name of a declared column in the raw and validated tables."""
        return RESERVED_NAMES[column] if column in ("day", "partition") else column

    def contract_digest(self, calendar: PartitionCalendar) -> str:
        """sha256 of all that decides whether a delivery is accepted and how its rows are read, 64 hex digits."""
        columns = {
            name: column.model_dump(mode="json", exclude={"pii", "description", "unit"})
            for name, column in self.columns.items()
        }
        fields = self.model_dump(
            mode="json", include={"files", "key", "empty", "minimum_rows"}, exclude={"files": {"complete"}}
        )
        if self.late is not None:
            fields["late"] = str(self.late.allow)
        fields |= {
            "columns": columns,
            "event_time": str(self.row_time),
            "calendar": [calendar.every, calendar.timezone],
        }
        return hashlib.sha256(json.dumps(fields).encode()).hexdigest()

    def time_columns(self) -> list[str]:
        """Columns that may be the time of a row: of the key, or else of all; without those that may be null."""
        times = [name for name, column in self.columns.items() if column.type in TIME_TYPES and not column.nullable]
        return [name for name in times if name in self.key_columns] or times

    def _window_faults(self) -> list[str]:
        if self.sql is None or self.cadence == "reference":
            return ["a reference copy is read whole; remove it"] if self.sql and self.sql.window else []
        if self.window is None:
            return []
        if self.sql.window is None and self.row_time is not None and self.row_time.minutes:
            return [
                f"no database finds rows by {self.row_time}; write the sum as a column of `query`, or name a window"
            ]
        column = self.columns.get(self.window)
        if column is None:
            return [f"{self.window!r} is no column of the source; declare it"]
        faults = []
        if column.type not in TIME_TYPES:
            faults.append(f"{self.window!r} is {column.type}; it must be a timestamp or a date")
        if column.nullable:
            faults.append(f"{self.window!r} may be null, and such a row is of no partition; remove `or null`")
        return faults

    def _known_column_faults(self) -> list[tuple[str, str]]:
        listed = [(place, name) for place in self.known_columns for name in _listed(place)]
        names = [name for _, name in listed]
        unknown = [(place, name, "is no column of the source") for place, name in listed if name not in self.columns]
        repeated = [(place, name, "is given twice; remove one") for place, name in listed if names.count(name) > 1]
        return [(f"known_columns.{place}", f"{name!r} {fault}") for place, name, fault in [*unknown, *repeated]]


def _listed(names: str) -> Sequence[str]:
    """``ended, duration`` as two names."""
    return [name.strip() for name in names.split(",")]
