"""Small changes of a module that a test should notice: one comparison, constant, operator or operand at a time."""

from __future__ import annotations

import ast
from collections import Counter
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
    place: tuple[int, int]
    """Number of the expression in its module, and of the change among those of this expression."""
    repetition: int
    """1 for the first such change of this function, 2 for the second."""

    @property
    def change(self) -> str:
        again = f" ({self.repetition})" if self.repetition > 1 else ""
        return f"{self.function}: {self.before} -> {self.after}{again}"

    @property
    def name(self) -> str:
        """What it is called in the list of equivalent ones; it survives a move of its lines."""
        return f"{self.path} {self.change}"

    def tree(self, source: str) -> ast.Module:
        """The module's syntax tree with this change."""
        tree = ast.parse(source)
        node = _candidates(tree)[self.place[0]][1]
        _replace(tree, node, _changes(node)[self.place[1]](node))
        return ast.fix_missing_locations(tree)


def mutations(path: str, source: str) -> Iterator[Mutation]:
    """Every change of a module, in the order of its lines. Annotations, texts and decorators are left alone."""
    occurrences: Counter[tuple[str, str, str]] = Counter()
    for number, (function, node) in enumerate(_candidates(ast.parse(source))):
        before = ast.unparse(node)
        for place, change in enumerate(_changes(node)):
            after = ast.unparse(change(node))
            if after != before:
                occurrences[function, before, after] += 1
                repetition = occurrences[function, before, after]
                yield Mutation(path, function, node.lineno, before, after, (number, place), repetition)


def _candidates(tree: ast.Module) -> list[tuple[str, ast.expr]]:
    """Every expression with its function or class, or ``module``; neither texts nor assertions nor forms."""
    candidates: list[tuple[str, ast.expr]] = []

    def visit(node: ast.AST, function: str) -> None:
        for name, field in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "bases", "keywords") and not isinstance(
                node, ast.Call
            ):
                continue
            for child in field if isinstance(field, list) else [field]:
                if isinstance(child, ast.JoinedStr | ast.Assert) or _is_declaration(child):
                    continue
                if isinstance(child, ast.AST):
                    inner = function
                    if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                        inner = f"{function}.{child.name}".lstrip(".")
                    if isinstance(child, ast.expr):
                        candidates.append((function or "module", child))
                    visit(child, inner)

    visit(tree, "")
    return candidates


def _is_declaration(node: object) -> bool:
    """Whether this is ``ConfigDict(...)``: it declares the form of a message and decides nothing."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "ConfigDict"


def _changes(node: ast.expr) -> list[Callable[[Any], ast.expr]]:
    """Functions that make of the node its changed form; the node itself stays as it is."""
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in COMPARISONS:
            return [lambda node: ast.Compare(node.left, [COMPARISONS[type(operator)]()], node.comparators)]
        case ast.BoolOp():
            other = ast.Or if isinstance(node.op, ast.And) else ast.And
            dropped = [
                lambda node, place=place: (
                    ast.BoolOp(node.op, [v for i, v in enumerate(node.values) if i != place])
                    if len(node.values) > 2
                    else node.values[1 - place]
                )
                for place in range(len(node.values))
            ]
            return [lambda node: ast.BoolOp(other(), node.values), *dropped]
        case ast.UnaryOp(op=ast.Not()):
            return [lambda node: node.operand]
        case ast.UnaryOp(op=ast.USub()):
            return [lambda node: node.operand]
        case ast.BinOp() if type(node.op) in OPERATORS and not _is_text(node):
            return [lambda node: ast.BinOp(node.left, OPERATORS[type(node.op)](), node.right)]
        case ast.Constant(value=bool()):
            return [lambda node: ast.Constant(not node.value)]
        case ast.Constant(value=int() | float()):
            return [lambda node: ast.Constant(node.value + 1)]
        case ast.IfExp():
            return [lambda node: ast.IfExp(node.test, node.orelse, node.body)]
        case ast.Call(func=ast.Name(id=name)) if name in CALLS and (len(node.args) > 1 or name in ("any", "all")):
            return [lambda node: ast.Call(ast.Name(CALLS[name], ast.Load()), node.args, node.keywords)]
    return []


def _is_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(part, ast.JoinedStr) or (isinstance(part, ast.Constant) and isinstance(part.value, str))
        for part in (node.left, node.right)
    )


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
