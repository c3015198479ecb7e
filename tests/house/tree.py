"""`make house` prints the tree of the code: a line a folder, with the first sentence of its package."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from pipelines.settings import REPOSITORY

ROOTS = ("dags", "plugins/practices", "pipelines")
SENTENCES = {"dags": "One file a stage: a loop over the declarations, nothing computed."}
"""Folders that are no packages."""
WIDTH = 34


def tree() -> Iterator[str]:
    """Each folder of code below the roots, indented by its depth, with what it says of itself and its modules."""
    for root in ROOTS:
        yield from _folder(REPOSITORY / root, root, 0)


def _folder(folder: Path, name: str, depth: int) -> Iterator[str]:
    modules = sum("kept until" not in path.read_text() for path in folder.glob("[!_]*.py"))
    yield f"{'  ' * depth + name + '/':<{WIDTH}}{modules:>3}  {SENTENCES.get(name) or _sentence(folder)}"
    for below in sorted(path for path in folder.iterdir() if (path / "__init__.py").is_file()):
        yield from _folder(below, below.name, depth + 1)


def _sentence(folder: Path) -> str:
    return ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""


if __name__ == "__main__":
    sys.stdout.write("\n".join(tree()) + "\n")
