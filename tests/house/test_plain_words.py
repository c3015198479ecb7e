"""What a validation library says is never shown: `pipelines.spec.fault_text` says it in plain words."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.house.test_one_truth import SOURCES, name_of, text_of


def pydantic_handlers(tree: ast.Module) -> Iterator[ast.ExceptHandler]:
    """The handlers of pydantic's ``ValidationError`` that have a name for it."""
    imported = any(
        isinstance(node, ast.ImportFrom)
        and node.module == "pydantic"
        and any(alias.name == "ValidationError" for alias in node.names)
        for node in ast.walk(tree)
    )
    for node in ast.walk(tree):
        if not imported or not isinstance(node, ast.ExceptHandler) or node.type is None or node.name is None:
            continue
        if any(isinstance(part, ast.Name) and part.id == "ValidationError" for part in ast.walk(node.type)):
            yield node


def shows_the_error(handler: ast.ExceptHandler) -> bool:
    """Whether its text is taken by ``str(error)``, a format or ``error.errors()``; a cause (``from error``) is none."""
    for node in ast.walk(handler):
        named: list[ast.expr] = [node.value] if isinstance(node, ast.FormattedValue | ast.Attribute) else []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("str", "repr"):
            named = node.args
        if any(isinstance(value, ast.Name) and value.id == handler.name for value in named):
            return True
    return False


def test_no_fault_of_a_message_or_a_declaration_is_told_in_the_words_of_the_library() -> None:
    catchers = [path for path in SOURCES if "ValidationError" in text_of(path)]
    trees = {name_of(path): ast.parse(text_of(path)) for path in catchers}
    handlers = [(name, handler) for name, tree in trees.items() for handler in pydantic_handlers(tree)]
    assert len(handlers) > 10
    assert [f"{name}:{handler.lineno}" for name, handler in handlers if shows_the_error(handler)] == []
