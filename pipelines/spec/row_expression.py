"""Reads an expression over the columns of one row, as SQL writes it, and says what is wrong with it.

Only what computes row by row can be written: no aggregate, no window, no subquery. Comparisons and logic are those of
SQL, with null as unknown; arithmetic is that of doubles, and a result that is not finite is null.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["number", "text", "boolean", "date", "timestamp"]
KINDS: Mapping[str, Kind] = {
    "integer": "number",
    "number": "number",
    "decimal": "number",
    "string": "text",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
}
"""Type of a declared column to its kind in an expression."""
TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<text>'(?:[^']|'')*')"
    r"|(?P<word>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?)"
    r'|(?P<column>"[^"]+")|(?P<sign><=|>=|<>|!=|[-=<>+*/(),]))'
)
KEYWORDS = frozenset({"and", "or", "not", "in", "is", "null", "between", "true", "false"})
CALENDAR_PARTS = ("year", "quarter", "month", "week", "day_of_month", "day_of_year", "weekday", "hour", "minute")
"""Parts of a date, or of a time as the clocks of the dataset's zone show it. ``week`` is that of ISO 8601, ``weekday``
is 1 on Monday and 7 on Sunday."""
PARTS_OF_A_TIME = ("hour", "minute")
"""Those that a date does not have."""
FUNCTIONS: Mapping[str, tuple[int, int]] = {
    "abs": (1, 1), "ln": (1, 1), "exp": (1, 1), "sqrt": (1, 1), "floor": (1, 1), "ceil": (1, 1),
    "coalesce": (2, 9), "least": (2, 9), "greatest": (2, 9),
    **dict.fromkeys(CALENDAR_PARTS, (1, 1)),
}  # fmt: skip
"""Name of a function to the least and most arguments that it takes: numbers, but for ``coalesce`` and the parts of the
calendar."""
MAX_LENGTH, MAX_DEPTH = 1000, 40


@dataclass(frozen=True)
class Constant:
    value: float | int | str | bool


@dataclass(frozen=True)
class ColumnName:
    name: str


@dataclass(frozen=True)
class Call:
    """An operator or a function, by its name in lower case, of its operands: ``and``, ``<=``, ``is null``, ``abs``."""

    name: str
    operands: tuple[Node, ...]


Node = Constant | ColumnName | Call


def parsed(text: str) -> Node:
    """The expression as a tree. Raises ``ValueError`` that says where and why it cannot be read."""
    return _Reader(text).whole()


def columns_of(node: Node) -> list[str]:
    """The columns that the expression reads, each once, in the order written."""
    if isinstance(node, ColumnName):
        return [node.name]
    names = [name for operand in node.operands for name in columns_of(operand)] if isinstance(node, Call) else []
    return list(dict.fromkeys(names))


def kind_of(node: Node, kinds: Mapping[str, Kind]) -> Kind:
    """Kind of the value. Raises ``ValueError`` for a column that is not in ``kinds``, or a kind that does not suit."""
    if isinstance(node, Constant):
        value = node.value
        return "boolean" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"
    if isinstance(node, ColumnName):
        if node.name not in kinds:
            raise ValueError(f"{node.name!r} is not a column; it has {', '.join(kinds)}")
        return kinds[node.name]
    operands = [kind_of(operand, kinds) for operand in node.operands]
    if node.name == "is null":
        return "boolean"
    if node.name in ("and", "or", "not"):
        _need(node.name, operands, "boolean")
        return "boolean"
    if node.name in ("=", "<>", "<", "<=", ">", ">=", "in", "coalesce"):
        if len(set(operands)) > 1:
            raise ValueError(
                f"{node.name!r} compares {' with '.join(dict.fromkeys(operands))}; give values of one kind"
            )
        return operands[0] if node.name == "coalesce" else "boolean"
    if node.name in CALENDAR_PARTS:
        _need(node.name, operands, *(("timestamp",) if node.name in PARTS_OF_A_TIME else ("date", "timestamp")))
        return "number"
    _need(node.name, operands, "number")
    return "number"


def _need(name: str, operands: list[Kind], *kinds: Kind) -> None:
    if wrong := [operand for operand in operands if operand not in kinds]:
        raise ValueError(f"{name!r} takes a {' or a '.join(kinds)}, not a {wrong[0]}")


class _Reader:
    """Recursive descent, from ``or``, which binds least, to a name or number."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_LENGTH:
            raise ValueError(f"the expression has {len(text)} characters; {MAX_LENGTH} are the most")
        self._text, self._at, self._depth = text, 0, 0
        self._tokens = list(self._read_tokens())

    def _read_tokens(self) -> list[tuple[str, str, int]]:
        tokens, at = [], 0
        end = len(self._text.rstrip())
        while at < end:
            match = TOKEN.match(self._text, at)
            if match is None:
                raise ValueError(f"{self._text[at:].strip()[0]!r} at character {at + 1} cannot be read here")
            kind = str(match.lastgroup)
            tokens.append((kind, match[kind], match.start(kind) + 1))
            at = match.end()
        return tokens

    def whole(self) -> Node:
        node = self._or()
        if self._at < len(self._tokens):
            raise self._unexpected("an operator or the end")
        return node

    def _unexpected(self, expected: str) -> ValueError:
        if self._at >= len(self._tokens):
            return ValueError(f"it ends where {expected} must follow")
        _, token, place = self._tokens[self._at]
        return ValueError(f"{token!r} at character {place}: {expected} must stand there")

    def _taken(self, *spellings: str) -> str | None:
        """The next token in lower case if it is one of these words or signs; it is passed over then."""
        if self._at < len(self._tokens):
            kind, token, _ = self._tokens[self._at]
            if kind in ("word", "sign") and token.lower() in spellings:
                self._at += 1
                return token.lower()
        return None

    def _must(self, spelling: str) -> None:
        if self._taken(spelling) is None:
            raise self._unexpected(repr(spelling))

    def _or(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")
        node = self._and()
        while self._taken("or"):
            node = Call("or", (node, self._and()))
        self._depth -= 1
        return node

    def _and(self) -> Node:
        node = self._not()
        while self._taken("and"):
            node = Call("and", (node, self._not()))
        return node

    def _not(self) -> Node:
        negations = 0
        while self._taken("not"):
            negations += 1
        node = self._comparison()
        return Call("not", (node,)) if negations % 2 else node

    def _comparison(self) -> Node:
        node = self._sum()
        if sign := self._taken("=", "<>", "!=", "<", "<=", ">", ">="):
            return Call("<>" if sign == "!=" else sign, (node, self._sum()))
        if self._taken("is"):
            negated = self._taken("not")
            self._must("null")
            return self._negated(Call("is null", (node,)), negated)
        negated = self._taken("not")
        if self._taken("in"):
            return self._negated(Call("in", (node, *self._listed())), negated)
        if self._taken("between"):
            low = self._sum()
            self._must("and")
            return self._negated(Call("and", (Call(">=", (node, low)), Call("<=", (node, self._sum())))), negated)
        if negated:
            raise self._unexpected("'in' or 'between'")
        return node

    @staticmethod
    def _negated(node: Node, negated: str | None) -> Node:
        return Call("not", (node,)) if negated else node

    def _listed(self) -> list[Node]:
        self._must("(")
        values = [self._sum()]
        while self._taken(","):
            values.append(self._sum())
        self._must(")")
        if not all(isinstance(value, Constant) for value in values):
            raise ValueError("'in' takes a list of numbers or texts")
        return values

    def _sum(self) -> Node:
        node = self._product()
        while sign := self._taken("+", "-"):
            node = Call(sign, (node, self._product()))
        return node

    def _product(self) -> Node:
        node = self._signed()
        while sign := self._taken("*", "/"):
            node = Call(sign, (node, self._signed()))
        return node

    def _signed(self) -> Node:
        negations = 0
        while self._taken("-"):
            negations += 1
        node = self._value()
        if negations % 2 == 0:
            return node
        if isinstance(node, Constant) and not isinstance(node.value, str | bool):
            return Constant(-node.value)
        return Call("-", (Constant(0), node))

    def _value(self) -> Node:
        if self._taken("("):
            node = self._or()
            self._must(")")
            return node
        if word := self._taken("true", "false"):
            return Constant(word == "true")
        if self._at >= len(self._tokens):
            raise self._unexpected("a value")
        kind, token, _ = self._tokens[self._at]
        if kind == "sign" or (kind == "word" and token.lower() in KEYWORDS):
            raise self._unexpected("a value")
        self._at += 1
        if kind == "number":
            return Constant(int(token) if token.isdigit() else float(token))
        if kind == "text":
            return Constant(token[1:-1].replace("''", "'"))
        if kind == "word" and self._taken("("):
            return self._call(token.lower())
        return ColumnName(token.strip('"'))

    def _call(self, name: str) -> Node:
        if name not in FUNCTIONS:
            raise ValueError(f"there is no function {name!r} of one row; there are {', '.join(FUNCTIONS)}")
        operands = [self._or()]
        while self._taken(","):
            operands.append(self._or())
        self._must(")")
        least, most = FUNCTIONS[name]
        if not least <= len(operands) <= most:
            raise ValueError(f"{name!r} takes {least if least == most else f'{least} to {most}'} values")
        return Call(name, tuple(operands))
