"""Computes an expression over the columns of each row: arithmetic of doubles, and null for what is not finite."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import reduce

import polars as pl

from pipelines.spec.row_expression import Call, ColumnName, Constant, Node

ARITHMETIC: Mapping[str, Callable[..., pl.Expr]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "abs": pl.Expr.abs,
    "ln": pl.Expr.log,
    "exp": pl.Expr.exp,
    "sqrt": pl.Expr.sqrt,
    "floor": pl.Expr.floor,
    "ceil": pl.Expr.ceil,
}
LOGIC: Mapping[str, Callable[..., pl.Expr]] = {
    "and": operator.and_,
    "or": operator.or_,
    "not": operator.invert,
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "is null": pl.Expr.is_null,
}


PARTS: Mapping[str, Callable[[pl.Expr], pl.Expr]] = {
    "year": lambda moment: moment.dt.year(),
    "quarter": lambda moment: moment.dt.quarter(),
    "month": lambda moment: moment.dt.month(),
    "week": lambda moment: moment.dt.week(),
    "day_of_month": lambda moment: moment.dt.day(),
    "day_of_year": lambda moment: moment.dt.ordinal_day(),
    "weekday": lambda moment: moment.dt.weekday(),
    "hour": lambda moment: moment.dt.hour(),
    "minute": lambda moment: moment.dt.minute(),
}


def row_expression(node: Node, schema: pl.Schema, timezone: str) -> pl.Expr:
    """The polars expression of a tree; ``schema``: the types of the columns that it reads.

    Parts of the calendar are those of ``timezone``.
    """
    if isinstance(node, Constant):
        return pl.lit(node.value)
    if isinstance(node, ColumnName):
        column = pl.col(node.name)
        return _finite(column) if schema[node.name].is_float() else column
    operands = [row_expression(operand, schema, timezone) for operand in node.operands]
    if node.name in ARITHMETIC:
        return _finite(ARITHMETIC[node.name](*(operand.cast(pl.Float64) for operand in operands)))
    if node.name in PARTS:
        return calendar_part(node.name, operands[0], None if _is_date(node.operands[0], schema) else timezone)
    if node.name == "in":
        return reduce(operator.or_, (operands[0] == value for value in operands[1:]))
    if node.name in ("least", "greatest"):
        return _of_all(operands, highest=node.name == "greatest")
    if node.name == "coalesce":
        return pl.coalesce(operands)
    return LOGIC[node.name](*operands)


def calendar_part(part: str, moment: pl.Expr, timezone: str | None) -> pl.Expr:
    """A part of a time as the clocks of ``timezone`` show it; None: ``moment`` is a date."""
    return PARTS[part](moment if timezone is None else moment.dt.convert_time_zone(timezone)).cast(pl.Int64)


def _is_date(node: Node, schema: pl.Schema) -> bool:
    if isinstance(node, ColumnName):
        return schema[node.name] == pl.Date
    return isinstance(node, Call) and _is_date(node.operands[0], schema)


def _finite(expression: pl.Expr) -> pl.Expr:
    return pl.when(expression.is_finite()).then(expression)


def _of_all(operands: list[pl.Expr], *, highest: bool) -> pl.Expr:
    """Null where one of them is."""
    best = pl.max_horizontal(operands) if highest else pl.min_horizontal(operands)
    return pl.when(pl.all_horizontal(operand.is_not_null() for operand in operands)).then(best)
