"""Reads what is predicted of a row, and finds the columns that give it away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import polars as pl

from pipelines.errors import Refused
from pipelines.rules.leaks import leak_reasons
from pipelines.spec.feature_faults import COLUMN_NAME, RESERVED_COLUMNS
from pipelines.spec.row_expression import KINDS, columns_of, kind_of, parsed
from pipelines.steps.drafting.column_guess import ColumnGuess
from pipelines.steps.drafting.join_guess import guess_joins
from pipelines.steps.drafting.table_guess import TableGuess, identifier
from pipelines.steps.drafting.time_guess import instants_of
from pipelines.steps.features.row_expression import row_expression
from pipelines.steps.leakage.measure import leak_facts

YES = {
    *("yes", "y", "true", "t", "1", "bad", "late", "default", "defaulted", "churned", "lost", "failed", "fraud"),
    *("returned", "cancelled", "positive", "malignant", "dead", "died", "won", "converted", "clicked", "sick"),
}
"""Words of two that are what a question asks about."""


@dataclass(frozen=True)
class Outcome:
    """What is predicted of a row: an expression over its columns, and those that are known after the question."""

    name: str
    expression: str
    columns: list[str]
    is_condition: bool
    questions: list[str] = field(default_factory=list)
    suspects: Mapping[str, list[str]] = field(default_factory=dict)
    """Columns that give the label away, each with why: they are declared as outcomes."""
    doubts: Mapping[str, list[str]] = field(default_factory=dict)
    """Columns that are asked about and taken as known: they are the keys of other tables."""


def row_outcome(table: TableGuess, text: str, lead: timedelta) -> Outcome:
    """The label of a row that a column or a condition stands for, and the columns that give it away.

    Raises ``Refused`` for what is no condition and no number.
    """
    if text in table.columns:
        expression, questions = _column_outcome(table, table.columns[text])
    else:
        expression, questions = text, []
    try:
        node = parsed(expression)
        kinds = {table.stored(name): KINDS[column.type] for name, column in table.columns.items()}
        kind = kind_of(node, kinds)
    except ValueError as error:
        raise Refused(f"{text!r} cannot be predicted", [f"{error}"]) from error
    if kind not in ("boolean", "number"):
        raise Refused(f'{text!r} is a {kind}; predict a condition or a number, as in "{text} is not null"')
    stored = {table.stored(name): name for name in table.columns}
    columns = [stored[name] for name in columns_of(node)]
    if table.event_time in columns:
        raise Refused(f"{table.event_time} is the time of the row, which is known when the question is put")
    if listed := [name for name in columns if "," in name]:
        raise Refused(f"column {listed[0]!r} has a comma in its name, and cannot be declared as an outcome; rename it")
    name = identifier(columns[0] if columns and expression != text else text)
    name = f"{name}_outcome" if name in RESERVED_COLUMNS or name in {table.stored(item) for item in table.key} else name
    return Outcome(
        name,
        expression,
        columns,
        kind == "boolean",
        questions,
        leak_suspects(table, expression, columns, is_condition=kind == "boolean", lead=lead),
    )


def without_keys(outcome: Outcome, main: TableGuess, tables: Sequence[TableGuess]) -> Outcome:
    """A key of another table is no outcome, though it may be missing where nothing came of the row."""
    keys = {
        name
        for table in tables
        if table is not main and table.event_time is None
        for on in guess_joins(main.columns, table.source, table.columns, table.key)
        for name in on
    }
    suspects = {name: reasons for name, reasons in outcome.suspects.items() if name not in keys}
    doubts = {name: reasons for name, reasons in outcome.suspects.items() if name in keys}
    return replace(outcome, suspects=suspects, doubts=doubts)


def _column_outcome(table: TableGuess, column: ColumnGuess) -> tuple[str, list[str]]:
    written = quoted_column(table.stored(column.name))
    values = column.values.drop_nulls()
    if column.type == "boolean" or (
        column.type in ("integer", "number", "decimal") and {*values.unique().to_list()} != {0, 1}
    ):
        return written, []
    if column.type in ("integer", "number", "decimal"):
        return f"{written} = 1", []
    if column.type != "string":
        raise Refused(f'{column.name} is a {column.type}; predict a condition, as in "{written} is not null"')
    counts = values.value_counts(sort=True)
    words = counts[column.name].to_list()
    if len(words) < 2:
        raise Refused(f"{column.name} has one value; nothing can be learnt of it")
    positive = next((word for word in words if word.lower() in YES), words[-1] if len(words) == 2 else words[0])
    escaped = positive.replace("'", "''")
    others = (
        ", ".join(repr(word) for word in words if word != positive) if len(words) <= 12 else f"{len(words) - 1} others"
    )
    return f"{written} = '{escaped}'", [f"is {positive!r} what is asked about? the column also has {others}"]


def quoted_column(name: str) -> str:
    """As expressions write it."""
    return name if COLUMN_NAME.fullmatch(name) else f'"{name}"'


def leak_suspects(
    table: TableGuess, expression: str, outcome_columns: Sequence[str], *, is_condition: bool, lead: timedelta
) -> dict[str, list[str]]:
    """Columns that give the label away, but for those of the label, the key and the time; each with why."""
    frame = pl.DataFrame([column.values.alias(table.stored(name)) for name, column in table.columns.items()])
    value = row_expression(parsed(expression), frame.schema, table.timezone).cast(pl.Float64)
    label = frame.select(pl.when(value.is_finite()).then(value).alias("label")).to_series()
    known = {*outcome_columns, *table.key, table.event_time}
    names = {table.stored(name): name for name in table.columns if name not in known and "," not in name}
    outcome = frame[table.stored(outcome_columns[0])] if len(outcome_columns) == 1 else None
    moments = instants_of(table.columns[table.event_time], table.timezone) - lead if table.event_time else None
    facts = leak_facts(frame.select(list(names)), label, is_condition=is_condition, outcome=outcome, moments=moments)
    return {names[fact.name]: reasons for fact in facts if (reasons := leak_reasons(fact))}
