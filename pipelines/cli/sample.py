"""Reads a file through the real reader and contract of its source: what it is, its partitions, and every fault."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import polars as pl

from pipelines import store_paths
from pipelines.cli.named_file import read_named_file
from pipelines.errors import Refused, unknown_name
from pipelines.ports import Store
from pipelines.rules.complete_delivery import complete_partitions
from pipelines.spec.column import ColumnSpec
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.fault_text import shortened
from pipelines.spec.personal_names import may_be_personal, personal_kind
from pipelines.spec.source import SourceSpec
from pipelines.steps.ingestion.column_values import INTEGER, NUMBER
from pipelines.steps.ingestion.contract import read_delivery
from pipelines.tables.event_instants import event_instants
from pipelines.tables.row_identity import ROW_COLUMN

SHOWN_ROWS = 3
SHOWN_PARTITIONS = 3
VALUE_WIDTH = 24
LOOKED_AT = 1_000
"""Values of a column that are looked at for personal data."""


def named_sample(spec: DatasetSpec, source: str | None, path: Path) -> tuple[str, dict[str, bytes]]:
    """The source whose file it is by its name, and its content. ``Refused`` if several could be and none is named."""
    if source is not None and source not in spec.sources:
        raise unknown_name(f"{spec.dataset} has no source {source}", spec.sources)
    names = [name for name, declared in spec.sources.items() if declared.files.has(path.name)]
    names = [source] if source is not None else names if len(names) == 1 else []
    if not names:
        raise Refused(f"{path.name} may be of any of {', '.join(spec.sources)}; say which with --source")
    return names[0], {path.name: read_named_file(path)}


def newest_samples(spec: DatasetSpec, source: str | None, store: Store, now: datetime) -> dict[str, dict[str, bytes]]:
    """Of each source the files of its newest delivery. ``Refused`` if nothing has landed."""
    samples = {}
    for name in spec.sources if source is None else [source]:
        stamps = store.stamps(store_paths.landing_of(spec.dataset, name))
        if keys := complete_partitions(spec.sources[name].files, stamps, now):
            folder = store_paths.landing(spec.dataset, name, max(keys))
            has = spec.sources[name].files.has
            files = [path for path in stamps if path.startswith(folder) and has(path.removeprefix(folder))]
            samples[name] = {path.removeprefix(folder): store.get(path) for path in files}
    if not samples:
        raise Refused(f"nothing of {spec.dataset} has landed; name a file: --sample FILE")
    return samples


def sample_lines(spec: DatasetSpec, name: str, files: Mapping[str, bytes]) -> tuple[list[str], list[str], list[str]]:
    """What the files are, their faults, and what looks unlike its declaration; no personal value is shown."""
    source = spec.sources[name]
    rows, faults = read_delivery(files, source, None, timezone=spec.partition.timezone)
    lines = [f"{', '.join(files)}: {rows.height:,} row(s) of {name}"]
    if rows.width == 0:
        return lines, faults, []
    partitions, outside = _partitions(spec, source, rows)
    lines[0] += partitions
    width = max(map(len, rows.columns))
    for stored, column in source.stored_columns().items():
        if stored in rows.columns:
            values = rows[stored].head(SHOWN_ROWS).to_list()
            hidden = column.pii or _personal_question(stored, column, rows[stored]) is not None
            shown = "(personal)" if hidden else "  ".join(_shown(value) for value in values)
            lines.append(f"  {stored:<{width}}  {column.type:<9}  {shown}")
    if source.key_columns == [] and ROW_COLUMN in rows.columns:
        lines.append("  each row is one of its own (`key: row`)")
    return lines, [*faults, *outside], _questions(source, rows)


def _partitions(spec: DatasetSpec, source: SourceSpec, rows: pl.DataFrame) -> tuple[str, list[str]]:
    """In which partitions the rows are, and the fault of rows that are in none."""
    calendar, time = spec.partition_calendar, source.row_time
    if time is None or calendar.every == "once":
        return ", of any time", []
    renamed = rows.rename({source.stored_name(column): column for column in time.columns})
    counts: dict[str | None, int] = {}
    for instant, count in event_instants(renamed, time, calendar.timezone).drop_nulls().value_counts().iter_rows():
        partition = calendar.partition_of(instant)
        key = None if partition is None else partition.key
        counts[key] = counts.get(key, 0) + count
    outside = counts.pop(None, 0)
    keys = sorted(key for key in counts if key is not None)
    shown = ", ".join(f"{key} ({counts[key]:,})" for key in keys[:SHOWN_PARTITIONS])
    more = f" and {len(keys) - SHOWN_PARTITIONS:,} more" if len(keys) > SHOWN_PARTITIONS else ""
    split = "; `airworthy deliver --split` spreads them" if len(keys) > 1 else ""
    span = f"{calendar.start} to {calendar.end or 'now'}"
    faults = [f"{outside} rows lie outside of {span}, which the dataset declares"] if outside else []
    return f", by {time} of {len(keys)} {calendar.noun}(s): {shown}{more}{split}" if keys else "", faults


def _questions(source: SourceSpec, rows: pl.DataFrame) -> list[str]:
    """Columns that look personal, and texts that are all numbers, without leading zeros, which would be codes."""
    questions = [
        question
        for stored, column in source.stored_columns().items()
        if stored in rows.columns and (question := _personal_question(stored, column, rows[stored]))
    ]
    for stored, column in source.stored_columns().items():
        if column.type == "string" and not column.pii and stored in rows.columns:
            values = rows[stored].drop_nulls()
            is_code = values.str.contains(r"^[+-]?0[0-9]").any()
            kinds = [
                kind for kind, form in (("integer", INTEGER), ("number", NUMBER)) if values.str.contains(form).all()
            ]
            if len(values) and kinds and not is_code:
                questions.append(f"column {stored!r} is declared as string and all its values are {kinds[0]}s")
    return questions


def _personal_question(name: str, column: ColumnSpec, values: pl.Series) -> str | None:
    """None where the declaration says whether the column is personal, or nothing looks so."""
    if "pii" in column.model_fields_set:
        return None
    texts = values.drop_nulls().head(LOOKED_AT).to_list() if values.dtype == pl.String else []
    looks = personal_kind(texts) or ("personal data, by its name" if may_be_personal(name) else None)
    return looks and f"column {name!r} looks like {looks}; write `pii: true` if it tells of a person, else `pii: false`"


def _shown(value: object) -> str:
    return shortened("null" if value is None else f"{value}", VALUE_WIDTH)
