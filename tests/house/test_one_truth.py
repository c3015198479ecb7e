"""The target says what is live, the ledger what became of a version; copies in the registry decide nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from pipelines.settings import REPOSITORY

SOURCES = [
    path
    for folder in ("pipelines", "plugins", "dags")
    for path in (REPOSITORY / folder).rglob("*.py")
    if "__pycache__" not in path.parts
]


def name_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


@cache
def text_of(path: Path) -> str:
    return path.read_text()


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(text_of(path))))


def calls_of(path: Path, method: str) -> Iterator[ast.Call]:
    for node in nodes_of(path) if method in text_of(path) else ():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method:
            yield node


def test_nobody_asks_an_alias_which_version_is_live() -> None:
    askers = {name_of(path) for path in SOURCES if any(calls_of(path, "by_alias"))}
    assert askers == {
        "pipelines/steps/measure_drift.py",  # for requests from before 0.2.0, which name no version
        "plugins/practices/_rollouts/rollback.py",  # finds a rollback that nobody recorded, after the ledger
    }


def test_aliases_are_moved_in_one_place() -> None:
    movers = {name_of(path) for path in SOURCES if any(calls_of(path, "move_alias"))}
    assert movers == {"pipelines/versions/records.py"}


def test_the_status_tag_has_its_name_in_one_place() -> None:
    named = {
        name_of(path)
        for path in SOURCES
        if "airworthy.status" in text_of(path)
        for node in nodes_of(path)
        if isinstance(node, ast.Constant) and node.value == "airworthy.status"
    }
    assert named == {"pipelines/versions/standing.py"}


def test_a_line_about_a_rollback_is_written_in_one_place() -> None:
    """So that each bears the version that was taken back, the one that answers now, who and why."""
    kinds = {"rollback", "rollout_end"}
    writers = {
        name_of(path)
        for path in SOURCES
        for call in calls_of(path, "append")
        if call.args and isinstance(call.args[0], ast.Constant) and call.args[0].value in kinds
    }
    assert writers == set()
    assert "append(kind, model, taken_back," in (REPOSITORY / "pipelines/versions/records.py").read_text()
