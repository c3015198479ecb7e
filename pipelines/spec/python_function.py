"""A feature that a function of the owner computes; its source is part of what the feature means and is kept with it."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Literal

from pipelines.spec.aggregate import Aggregate
from pipelines.spec.declared import DeclarationBlock, Identifier
from pipelines.spec.durations import Duration

FOLDER = "python"
"""Folder of ``include/`` in which the functions lie: ``module:function`` is in ``module.py``."""
ROW_ID, MOMENT, HAPPENED = "row_id", "t", "event_time"
"""Columns that a function receives beside those of an event: a row's number and moment, an event's time."""
NAME = re.compile(r"[a-z][a-z0-9_]*:[a-z_][a-z0-9_]*")
ARGUMENTS = 2


class PythonFunction(DeclarationBlock):
    """One value per row, by a function of the rows and of the events that were visible to each.

    Seen are events with event time in ``(t - window, t]`` that were known at ``t``, once all columns that are read are
    known; a row's own event never.
    """

    type: Literal["python"] = "python"
    function: str
    source: str
    """The whole text of its module: what changes it needs a higher version."""
    of: Identifier
    columns: list[str]
    """The columns of an event that it receives."""
    by: list[str]
    window: Duration | None = None

    @property
    def max_delay(self) -> None:
        """Events are in the window by when they happened."""
        return

    @property
    def events(self) -> Aggregate:
        """What is visible to it."""
        return Aggregate(function="count", of=self.of, by=self.by, window=self.window)

    def columns_read(self) -> list[str]:
        """The columns of an event that it reads."""
        return list(dict.fromkeys([*self.columns, *self.by]))


def read_source(function: str, folder: Path | None) -> str:
    """The text of the function's module. Raises ``ValueError`` that says what to write."""
    if NAME.fullmatch(function) is None:
        raise ValueError(f"{function!r} is no function; write module:function, as in baskets:shape")
    module, _, name = function.partition(":")
    path = None if folder is None else folder / f"{module}.py"
    if path is None or not path.is_file():
        raise ValueError(f"there is no include/{FOLDER}/{module}.py; write it, with a function {name}(rows, pairs)")
    source = path.read_text(encoding="utf-8")
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise ValueError(f"{module}.py line {error.lineno}: {error.msg}") from error
    defined = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    if not defined or len(defined[-1].args.args) != ARGUMENTS:
        raise ValueError(f"{module}.py has no function {name}(rows, pairs); write it")
    return source
