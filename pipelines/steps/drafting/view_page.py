"""Drafts the page of a view: rows per event or per entity and period, a label, and a first set of features."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from pipelines.errors import Refused
from pipelines.spec.durations import written_duration
from pipelines.spec.feature_faults import COLUMN_NAME, RESERVED_COLUMNS, SNAKE_CASE, VAGUE_NAME_PATTERN
from pipelines.spec.feature_meaning import TYPES
from pipelines.steps.drafting.column_guess import numeric
from pipelines.steps.drafting.declaration_page import DeclarationPage, flow
from pipelines.steps.drafting.join_guess import guess_joins
from pipelines.steps.drafting.key_guess import PARTS_OF_A_TIME
from pipelines.steps.drafting.question import FutureQuestion
from pipelines.steps.drafting.row_outcome import Outcome
from pipelines.steps.drafting.table_guess import TableGuess, identifier
from pipelines.steps.drafting.time_guess import instants_of

WINDOWS = ("7d", "30d", "90d")
FRESH = 6
"""Distances between observations after which the newest one tells nothing."""
MOST_JOINS = 2
"""Columns of a row that are looked up in the same table."""
AGGREGATED = 3
"""Columns of numbers of which a first view has aggregates."""
NO_QUANTITY = re.compile(rf"{PARTS_OF_A_TIME.pattern}|(?:^|_)(id|code|zip|no|nr|number|time|lat|lon)(?:_|$)")
"""Names of numbers whose sum means nothing."""


def row_page(
    dataset: str, view: str, tables: Sequence[TableGuess], main: TableGuess, outcome: Outcome, lead: timedelta
) -> DeclarationPage:
    page = _view_head(dataset, view)
    if main.key:
        page.write(f"entity: {flow([main.stored(name) for name in main.key])}")
    if main.event_time is None:
        page.write(f"rows: {{table: {main.source}}}")
    else:
        page.ask("how long before its event is a row asked about? `lead` says so")
        page.write(f"rows: {{per: {main.source}, lead: {written_duration(lead)}}}")
    for text in outcome.questions:
        page.ask(text)
    page.write(f"label: {flow({outcome.name: outcome.expression})}")
    page.write("features:")
    taken = {main.stored(name) for name in main.columns} | {outcome.name, *RESERVED_COLUMNS}
    late = {*outcome.columns, *outcome.suspects, *main.later}
    own = [
        name for name, column in main.columns.items()
        if name not in late and name not in main.key and column.type in TYPES and not column.is_personal
    ]  # fmt: skip
    plain = all(_is_feature_name(main.stored(name)) and main.stored(name) != outcome.name for name in own)
    if main.event_time is None:
        for name, reasons in outcome.suspects.items():
            page.ask(f"is {name} known when the question is put? {'; '.join(reasons)}; if it is, add it here", 2)
        plain = plain and not outcome.suspects
    if own and plain:
        page.remark("all columns that are known by then, but the label's, the key's and personal data", 2)
        page.write('"*": own', 2)
    elif own:
        for name in own:
            stored = main.stored(name)
            if _is_feature_name(stored) and stored != outcome.name:
                page.write(f"{flow(stored)}: own", 2)
            else:
                page.write(f"{_new_name(stored, taken)}: {flow({'own': stored})}", 2)
    if main.event_time is None:
        return page
    parts = ["weekday", "month"] if main.columns[main.event_time].type == "date" else ["hour", "weekday"]
    names = [_new_name(f"event_{part}", taken) for part in parts]
    page.write(f"{', '.join(names)}: {{calendar: {flow(parts)}}}", 2)
    for table in tables:
        if table is not main:
            _write_joined(page, _only(main, [name for name in main.columns if name not in late]), table, taken)
    groups = [name for name in _groups(main, tables) if name not in late]
    for group in groups[:1]:
        _write_history(page, main, group, late, outcome)
    return page


def _view_head(dataset: str, view: str) -> DeclarationPage:
    page = DeclarationPage()
    page.write("# yaml-language-server: $schema=../schemas/features.schema.json")
    page.write("schema: 2")
    page.write(f"view: {view}")
    page.ask("what is a row, and as of when? write `description: …`; and who answers for it? write `owner: …`")
    page.write(f"dataset: {dataset}")
    return page


def _write_joined(page: DeclarationPage, main: TableGuess, other: TableGuess, taken: set[str]) -> None:
    """What the row can know of another table: columns of a reference, latest values, or aggregates of its events."""
    if other.event_time is None:
        if other.key:
            _write_lookups(page, main, other, taken)
        return
    shared = [
        name
        for name in other.key
        if name != other.event_time and name in main.columns and main.columns[name].type == other.columns[name].type
    ]
    if shared and {*other.key} == {*shared, other.event_time}:
        _write_latest(page, main, other, shared, taken)
    elif shared:
        by = [main.stored(name) for name in shared]
        _write_aggregates(page, f"{other.source}_", other, by, set())


def _write_lookups(page: DeclarationPage, main: TableGuess, other: TableGuess, taken: set[str]) -> None:
    ways = guess_joins(main.columns, other.source, other.columns, other.key)
    if not ways:
        page.ask(f"which columns of {main.source} equal the key {', '.join(other.key)} of {other.source}?", 2)
    noun = other.source.removesuffix("s")
    for on in ways[:MOST_JOINS]:
        prefix = noun if len(ways) == 1 else f"{identifier(on[0])}_{noun}"
        for name, column in other.columns.items():
            if name not in other.key and column.type in TYPES and not column.is_personal:
                fields = {"lookup": f"{other.source}.{other.stored(name)}", "on": [main.stored(item) for item in on]}
                page.write(f"{_new_name(f'{prefix}_{name}', taken)}: {flow(fields)}", 2)


def _write_latest(
    page: DeclarationPage, main: TableGuess, other: TableGuess, shared: Sequence[str], taken: set[str]
) -> None:
    """Of observations that come again and again, the newest that is not older than a few of their distances."""
    assert other.event_time is not None
    names = [
        other.stored(name)
        for name, column in other.columns.items()
        if name not in other.key and column.type in TYPES and not column.is_personal
        and other.stored(name) not in taken and COLUMN_NAME.fullmatch(name)
    ]  # fmt: skip
    if names:
        taken |= {*names}
        times = instants_of(other.columns[other.event_time], other.timezone).unique().sort()
        apart = times.diff().drop_nulls().median()
        age = (
            written_duration(FRESH * apart) if isinstance(apart, timedelta) and apart >= timedelta(minutes=1) else "1d"
        )
        fields = {"latest": other.source, "by": [main.stored(name) for name in shared], "max_age": age}
        page.write(f"{', '.join(names)}: {flow(fields)}", 2)


def _groups(main: TableGuess, tables: Sequence[TableGuess]) -> list[str]:
    """Columns that name whose event a row is: what another table has as its key, or a name that ends with ``_id``."""
    joined = [
        name
        for table in tables
        if table is not main and table.event_time is None and len(table.key) == 1
        for on in guess_joins(main.columns, table.source, table.columns, table.key)
        for name in on
    ]
    named = [
        name for name, column in main.columns.items()
        if name.lower().endswith(("_id", "id")) and [name] != main.key and column.type in ("string", "integer")
        and not column.is_nullable and not column.is_personal and 2 * column.values.n_unique() <= main.rows
    ]  # fmt: skip
    return [name for name in dict.fromkeys([*joined, *named]) if not main.columns[name].is_personal]


def _write_history(page: DeclarationPage, main: TableGuess, group: str, late: set[str], outcome: Outcome) -> None:
    """Aggregates of the earlier rows of the same group, their outcomes among them."""
    prefix = f"{identifier(group).removesuffix('_id')}_"
    _write_aggregates(page, prefix, main, [main.stored(group)], {*late, group})
    if outcome.is_condition:
        page.remark("the outcomes of earlier rows count from when they were known", 2)
        fields = {
            "aggregate": "share",
            "where": outcome.expression,
            "of": main.source,
            "by": [main.stored(group)],
            "windows": _windows(main),
        }
        page.write(f"{prefix}{outcome.name}_share_{{window}}: {flow(fields)}", 2)


def _write_aggregates(
    page: DeclarationPage, prefix: str, table: TableGuess, by: list[str] | None, without: set[str]
) -> None:
    columns = [
        table.stored(column.name)
        for column in numeric([*table.columns.values()])
        if column.name not in without
        and column.name not in table.key
        and SNAKE_CASE.fullmatch(column.name)
        and not NO_QUANTITY.search(column.name)
        and not column.is_personal
    ][:AGGREGATED]
    aggregates = ["count", *(f"{function}({name})" for name in columns for function in ("sum", "mean"))]
    windows = _windows(table)
    fields = {"aggregate": aggregates, "of": table.source, **({} if by is None else {"by": by}), "windows": windows}
    page.write(f"{prefix}{{aggregate}}_{{window}}: {flow(fields)}", 2)


def _windows(table: TableGuess) -> list[str]:
    """Those that fit twice into the time of which there are rows."""
    days = table.days()
    return [text for text in WINDOWS if 2 * int(text[:-1]) <= (days[-1] - days[0]).days] or [WINDOWS[0]]


def panel_page(
    dataset: str, view: str, tables: Sequence[TableGuess], main: TableGuess, question: FutureQuestion
) -> DeclarationPage:
    entity = _panel_entity(tables, main, question)
    days = main.days()
    span = (days[-1] - days[0]).days
    active = 365 if span >= 365 else max(question.days, span // 2)
    page = _view_head(dataset, view)
    page.write(f"entity: [{flow(main.stored(entity))}]")
    page.ask("who is asked about, and how often? `active_within` says how long after its last event an entity still is")
    rows = {"each": f"{main.source}.{main.stored(entity)}", "every": question.every, "active_within": f"{active}d"}
    page.write(f"rows: {flow(rows)}")
    page.write(f"label: {flow({question.name: question.expression, 'within': f'{question.days}d'})}")
    page.write("features:")
    taken = {*RESERVED_COLUMNS, question.name, main.stored(entity)}
    prefix = identifier(entity).removesuffix("_id")
    _write_aggregates(page, f"{prefix}_{main.source}_", main, None, {entity})
    since = _new_name(f"{prefix}_days_since_last_{main.source}", taken)
    page.write(f"{since}: {{aggregate: since_last, of: {main.source}}}", 2)
    month = _new_name("month_of_year", taken)
    page.write(f"{month}: {{calendar: month}}", 2)
    for table in tables:
        if table is main:
            continue
        is_its_own = (
            table.event_time is None
            and table.key
            and guess_joins({entity: main.columns[entity]}, table.source, table.columns, table.key)
        )
        if is_its_own:
            _write_joined(page, _only(main, [entity]), table, taken)
    return page


def _only(table: TableGuess, names: Sequence[str]) -> TableGuess:
    """The table with the columns that a row has when it is asked about."""
    return replace(table, columns={name: table.columns[name] for name in names})


def _panel_entity(tables: Sequence[TableGuess], main: TableGuess, question: FutureQuestion) -> str:
    """The column of the events that names the entity, be it theirs or the key of another table."""
    if question.entity_source == main.source:
        entity = question.entity_column
    else:
        others = {table.source: table for table in tables}
        if question.entity_source not in others:
            raise Refused(f"no file is called {question.entity_source}; the files are {', '.join(others)}")
        other = others[question.entity_source]
        key = [question.entity_column] if question.entity_column in other.columns else []
        joined = guess_joins(main.columns, other.source, other.columns, key) if key else []
        if not joined:
            raise Refused(
                f"no column of {main.file} holds {question.entity_column} of {other.file}; write FOR EACH "
                f"{main.source}. and its column"
            )
        entity = joined[0][0]
    if entity not in main.columns:
        raise Refused(f"{main.file} has no column {entity!r}; it has {', '.join(main.columns)}")
    column = main.columns[entity]
    if column.is_nullable or column.is_personal or column.type not in ("string", "integer"):
        why = "may be null" if column.is_nullable else "looks personal" if column.is_personal else f"is a {column.type}"
        raise Refused(
            f"{entity} {why}, and names no entity; have the source deliver a pseudonym, or name another column"
        )
    return entity


def _is_feature_name(name: str) -> bool:
    """Whether a feature that is a column may be called so."""
    return COLUMN_NAME.fullmatch(name) is not None and name not in RESERVED_COLUMNS


def _new_name(name: str, taken: set[str]) -> str:
    """A name like it that a feature may have and none has; it is taken from now on."""
    plain = identifier(name)
    plain = f"{plain}_of_row" if plain in RESERVED_COLUMNS or VAGUE_NAME_PATTERN.match(plain) else plain
    number, new = 2, plain
    while new in taken:
        new, number = f"{plain}_{number}", number + 1
    taken.add(new)
    return new
