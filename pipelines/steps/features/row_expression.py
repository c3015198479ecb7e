"""Computes an expression over the columns of each row: arithmetic of doubles, and null for what is not finite."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import reduce

import polars as pl

from pipelines.spec.row_expression import ColumnName, Constant, Node

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


def row_expression(node: Node, schema: pl.Schema) -> pl.Expr:
    """The polars expression of a tree; ``schema``: the types of the columns that it reads."""
    if isinstance(node, Constant):
        return pl.lit(node.value)
    if isinstance(node, ColumnName):
        column = pl.col(node.name)
        return _finite(column) if schema[node.name].is_float() else column
    operands = [row_expression(operand, schema) for operand in node.operands]
    if node.name in ARITHMETIC:
        return _finite(ARITHMETIC[node.name](*(operand.cast(pl.Float64) for operand in operands)))
    if node.name == "in":
        return reduce(operator.or_, (operands[0] == value for value in operands[1:]))
    if node.name in ("least", "greatest"):
        return _of_all(operands, highest=node.name == "greatest")
    if node.name == "coalesce":
        return pl.coalesce(operands)
    return LOGIC[node.name](*operands)


def _finite(expression: pl.Expr) -> pl.Expr:
    return pl.when(expression.is_finite()).then(expression)


def _of_all(operands: list[pl.Expr], *, highest: bool) -> pl.Expr:
    """Null where one of them is."""
    best = pl.max_horizontal(operands) if highest else pl.min_horizontal(operands)
    return pl.when(pl.all_horizontal(operand.is_not_null() for operand in operands)).then(best)
