"""Drafts the page of a dataset: its partitions, its sources, and the contract of each column."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from pipelines.spec.durations import written_duration
from pipelines.steps.drafting.column_guess import ColumnGuess
from pipelines.steps.drafting.declaration_page import DeclarationPage, flow
from pipelines.steps.drafting.row_outcome import Outcome
from pipelines.steps.drafting.table_guess import TableGuess
from pipelines.steps.drafting.time_guess import has_gaps

FINISHED = timedelta(days=365)
"""A table whose newest row is older than this is taken to be finished."""


def dataset_page(
    name: str, tables: Sequence[TableGuess], main: TableGuess, outcome: Outcome | None, lead: timedelta, today: date
) -> DeclarationPage:
    page = DeclarationPage()
    page.write("# yaml-language-server: $schema=../schemas/dataset.schema.json")
    files = ", ".join(table.file for table in tables)
    page.remark(f"Drafted from {files}. Every line is a guess: `min` and `allowed` are what these files have.")
    page.write("schema: 2")
    page.write(f"dataset: {name}")
    page.ask("what are the rows? write `description: …`; and who answers for them? write `owner: …`")
    days = {table.source: table.days() for table in tables if table.event_time is not None}
    every = [day for listed in days.values() for day in listed]
    if not every:
        page.write("partition: {every: once}")
    else:
        first, last = min(every), max(every)
        fields: dict[str, object] = {"every": "day", "start": first, "timezone": main.timezone, "due": "6h"}
        if today - last > FINISHED:
            page.ask(f"the newest row is of {last}; will more come? then remove `end`")
            fields["end"] = last
        page.ask("how long after its day is a file there? `due` says so; from then on what it tells counts as known")
        page.write(f"partition: {flow(fields)}")
    page.write("sources:")
    for table in tables:
        own = outcome if table is main else None
        _write_source(page, table, own, lead, days.get(table.source), is_main=table is main)
    return page


def _write_source(
    page: DeclarationPage,
    table: TableGuess,
    outcome: Outcome | None,
    lead: timedelta,
    days: Sequence[date] | None,
    *,
    is_main: bool,
) -> None:
    page.write(f"{table.source}:", 2)
    for text in table.form.questions:
        page.ask(text, 4)
    page.write(f"files: {flow(table.files())}", 4)
    if days is None and not is_main:
        page.remark("no column says when its rows happened: each file is a whole copy", 4)
        page.write("cadence: reference", 4)
        page.write("known: partition_start", 4)
    if table.key:
        page.remark(f"tells all {table.rows:,} rows apart, and not by chance", 4)
        page.write(f"key: {flow(table.key)}", 4)
    else:
        page.ask(
            "no columns tell the rows apart, so each is one of its own; is there an id that could be delivered?", 4
        )
        page.write("key: row", 4)
    if days is not None:
        if table.other_times:
            page.ask(f"when did a row happen? it may also be {', '.join(table.other_times)}", 4)
        page.write(f"event_time: {flow(table.event_time)}", 4)
        if has_gaps(days):
            page.remark(
                f"{(days[-1] - days[0]).days + 1 - len(days):,} days between the first and the last have no row", 4
            )
            page.write("empty: allowed", 4)
    if outcome is not None and days is not None:
        _write_known_times(page, table, outcome, lead)
    elif days is not None and not is_main:
        page.ask("how long after its event is a row known? without `known` it is when its day is due", 4)
        page.write("known: {after: 0m}", 4)
    page.write("columns:", 4)
    for column in table.columns.values():
        for text in column.questions:
            page.ask(text, 6)
        page.write(f"{flow(column.name)}: {flow(_short(column))}", 6)


def _write_known_times(page: DeclarationPage, table: TableGuess, outcome: Outcome, lead: timedelta) -> None:
    """Of a source whose rows are asked about: what is known when, or no feature may read them."""
    when = f"{written_duration(lead)} before its event" if lead else "at its event"
    page.ask(f"is all of a row known {when}? what is known later belongs to `known_columns`", 4)
    page.write(f"known: {flow({'before': written_duration(lead)} if lead else {'after': '0m'})}", 4)
    page.write("known_columns:", 4)
    page.ask("how long after the event is the outcome known?", 6)
    page.write(f"{flow(', '.join(outcome.columns))}: {{after: 1d}}", 6)
    later = [name for name in table.later if name not in outcome.columns and "," not in name]
    suspects = {**{name: ["it comes after the event"] for name in later}, **outcome.suspects}
    for name, reasons in suspects.items():
        page.ask(f"is {name} known when the question is put? {'; '.join(reasons)}; if it is, remove its line", 6)
        page.write(f"{flow(name)}: {{after: 1d}}", 6)
    for name, reasons in outcome.doubts.items():
        page.ask(f"is {name} known when the question is put? {'; '.join(reasons)}; if not, name it above", 6)


def _short(column: ColumnGuess) -> str | dict[str, object]:
    """``integer or null`` where nothing else is declared."""
    fields = dict(column.fields)
    kind = f"{fields.pop('type')}{' or null' if fields.pop('nullable', False) else ''}"
    return {"type": kind, **fields} if fields else kind
