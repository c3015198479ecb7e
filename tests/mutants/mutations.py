"""Small changes of a module that a test should notice: one comparison, constant, operator or operand at a time."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True)
class Mutation:
    """One change: where it is (function and line), and the code before and after."""

    path: str
    function: str
    line: int
    before: str
    after: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """What it is called in the list of equivalent ones; it survives a move of its lines."""
        return f"{self.path} {self.function}: {self.before} -> {self.after}"


def mutations(path: str, source: str) -> Iterator[Mutation]:
    """Every change of a module, in the order of its lines. Annotations, texts and decorators are left alone."""
    tree = ast.parse(source)
    for function, node in _candidates(tree):
        for change in _changes(node):
            mutated, twin = _with_twin(tree, node)
            before = ast.unparse(twin)
            after = change(twin)
            _replace(mutated, twin, after)
            text = ast.unparse(after)
            if text != before:
                yield Mutation(path, function, node.lineno, before, text, ast.fix_missing_locations(mutated))


def _candidates(tree: ast.Module) -> list[tuple[str, ast.expr]]:
    """Expressions in functions and classes, each with the name of its function. Texts and assertions are left out."""
    found: list[tuple[str, ast.expr]] = []

    def visit(node: ast.AST, function: str) -> None:
        for name, field in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "bases", "keywords") and not isinstance(
                node, ast.Call
            ):
                continue
            for child in field if isinstance(field, list) else [field]:
                if isinstance(child, ast.JoinedStr | ast.Assert):
                    continue
                if isinstance(child, ast.AST):
                    inner = function
                    if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                        inner = f"{function}.{child.name}".lstrip(".")
                    if isinstance(child, ast.expr) and function:
                        found.append((function, child))
                    visit(child, inner)

    visit(tree, "")
    return found


def _changes(node: ast.expr) -> list[Callable[[Any], ast.expr]]:
    """Functions that make of a copy of the node its changed form."""
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in COMPARISONS:
            return [lambda twin: ast.Compare(twin.left, [COMPARISONS[type(operator)]()], twin.comparators)]
        case ast.BoolOp():
            other = ast.Or if isinstance(node.op, ast.And) else ast.And
            dropped = [
                lambda twin, place=place: (
                    ast.BoolOp(twin.op, [v for i, v in enumerate(twin.values) if i != place])
                    if len(twin.values) > 2
                    else twin.values[1 - place]
                )
                for place in range(len(node.values))
            ]
            return [lambda twin: ast.BoolOp(other(), twin.values), *dropped]
        case ast.UnaryOp(op=ast.Not()):
            return [lambda twin: twin.operand]
        case ast.UnaryOp(op=ast.USub()):
            return [lambda twin: twin.operand]
        case ast.BinOp() if type(node.op) in OPERATORS and not _is_text(node):
            return [lambda twin: ast.BinOp(twin.left, OPERATORS[type(node.op)](), twin.right)]
        case ast.Constant(value=bool()):
            return [lambda twin: ast.Constant(not twin.value)]
        case ast.Constant(value=int() | float()):
            return [lambda twin: ast.Constant(twin.value + 1)]
        case ast.IfExp():
            return [lambda twin: ast.IfExp(twin.test, twin.orelse, twin.body)]
        case ast.Call(func=ast.Name(id=name)) if name in CALLS and (len(node.args) > 1 or name in ("any", "all")):
            return [lambda twin: ast.Call(ast.Name(CALLS[name], ast.Load()), twin.args, twin.keywords)]
    return []


def _is_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(part, ast.JoinedStr) or (isinstance(part, ast.Constant) and isinstance(part.value, str))
        for part in (node.left, node.right)
    )


def _with_twin(tree: ast.Module, node: ast.expr) -> tuple[ast.Module, ast.expr]:
    """A copy of the tree, and the node in it that is the copy of this one."""
    memo: dict[int, ast.AST] = {}
    mutated = copy.deepcopy(tree, memo)
    return mutated, memo[id(node)]  # type: ignore[return-value]


def _replace(tree: ast.Module, old: ast.expr, new: ast.expr) -> None:
    for parent in ast.walk(tree):
        for name, field in ast.iter_fields(parent):
            if field is old:
                setattr(parent, name, new)
                return
            if isinstance(field, list):
                for place, child in enumerate(field):
                    if child is old:
                        field[place] = new
                        return
