"""A practice is four files and a row under one stem; this is the first thing a newcomer's mistake meets."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
import re
import sys
from pathlib import Path

import pytest
from airflow.sdk import BaseOperator

from pipelines.settings import REPOSITORY

PRACTICES = REPOSITORY / "plugins" / "practices"
STEMS = sorted(path.stem for path in PRACTICES.glob("*.py") if not path.stem.startswith("_"))
SOURCES = sorted(
    path
    for folder in ("pipelines", "plugins", "dags", "tests")
    for path in (REPOSITORY / folder).rglob("*.py")
    if "__pycache__" not in path.parts
)
BANNED = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}


def name_of(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def operator_of(stem: str) -> type[BaseOperator]:
    """The one public operator that a practice's file defines."""
    module = importlib.import_module(f"practices.{stem}")
    found = [
        value
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__ and not name.startswith("_")
    ]
    operators = [value for value in found if issubclass(value, BaseOperator)]
    assert len(operators) == 1, f"{stem}.py defines {operators}; one operator per file"
    return operators[0]


def test_there_are_practices() -> None:
    assert len(STEMS) >= 16


@pytest.mark.parametrize("stem", STEMS)
def test_a_practice_has_its_rule_its_tests_and_its_row(stem: str) -> None:
    wanted = [f"pipelines/rules/{stem}.py", f"tests/practices/test_{stem}.py", f"tests/rules/test_{stem}.py"]
    missing = [path for path in wanted if not (REPOSITORY / path).is_file()]
    if f"`{stem}`" not in re.findall(r"^\| (`\w+`)", (REPOSITORY / "docs/practices.md").read_text(), re.MULTILINE):
        missing.append(f"a row for `{stem}` in docs/practices.md")
    assert not missing, f"{stem} lacks {missing}"


def test_every_row_of_the_catalogue_belongs_to_a_practice() -> None:
    rows = set(re.findall(r"^\| `(\w+)`", (REPOSITORY / "docs/practices.md").read_text(), re.MULTILINE))
    assert rows == set(STEMS)


def test_each_row_of_the_catalogue_names_an_operator_and_rules_that_exist() -> None:
    page = (REPOSITORY / "docs/practices.md").read_text()
    rows = [line.split("|")[1:5] for line in page.splitlines() if re.match(r"\| `\w+`", line)]
    for stem, _, operator, rules in rows:
        module = importlib.import_module(f"pipelines.rules.{stem.strip(' `')}")
        assert operator_of(stem.strip(" `")).__name__ == operator.strip(" `")
        names = re.findall(r"`(\w+)`", rules)
        assert [name for name in names if not hasattr(module, name)] == []
        assert names, stem


def test_a_rule_without_a_practice_is_tested_by_itself_or_through_the_rule_that_asks_it() -> None:
    askers = [*(REPOSITORY / "pipelines/rules").glob("*.py"), *(REPOSITORY / "tests/rules").glob("test_*.py")]
    imports = "\n".join(path.read_text() for path in askers)
    rules = {path.stem for path in (REPOSITORY / "pipelines/rules").glob("*.py")} - {"__init__"} - set(STEMS)
    forms = ("from pipelines.rules.{} import", "from pipelines.rules import {}")
    assert not [stem for stem in sorted(rules) if not any(form.format(stem) in imports for form in forms)]


@pytest.mark.parametrize("stem", STEMS)
def test_an_operator_takes_keywords_only_and_names_what_varies(stem: str) -> None:
    operator = operator_of(stem)
    own = [p for p in inspect.signature(operator.__init__).parameters.values() if p.name != "self"]
    positional = [p.name for p in own if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)]
    assert not positional, f"{operator.__name__} takes {positional} by position"
    assert operator.template_fields, f"{operator.__name__} names no template_fields"
    named = {p.name for p in own if p.kind is p.KEYWORD_ONLY}
    for base in operator.__mro__[1:]:
        if base.__module__.startswith("practices."):
            named |= set(inspect.signature(base.__init__).parameters)  # type: ignore[misc]
    assert set(operator.template_fields) <= named
    assert operator.ui_color != BaseOperator.ui_color, f"{operator.__name__} has no ui_color of its own"
    assert operator.__doc__


@pytest.mark.parametrize("stem", STEMS)
def test_a_constructor_only_stores_its_arguments(stem: str) -> None:
    """A value may still be a template when the constructor sees it: nothing is checked or computed there."""
    for constructor in (
        node
        for node in ast.walk(ast.parse((PRACTICES / f"{stem}.py").read_text()))
        if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    ):
        for statement in constructor.body:
            calls_parent = ast.unparse(statement).startswith("super().__init__(")
            stores = isinstance(statement, ast.Assign | ast.AnnAssign) and not any(
                isinstance(part, ast.Call) for part in ast.walk(statement)
            )
            assert calls_parent or stores, f"{stem}.py: {ast.unparse(statement)}"


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ("dags/*.py", 60),
        ("plugins/practices/*.py", 130),
        ("plugins/practices/_*/*.py", 190),
        *((f"pipelines/rules/{stem}.py", 120) for stem in STEMS),
        ("pipelines/rules/*.py", 250),
        ("pipelines/**/*.py", 400),
    ],
)
def test_a_file_is_small_enough_to_be_read_at_once(files: str, limit: int) -> None:
    lines = {name_of(path): len(path.read_text().splitlines()) for path in REPOSITORY.glob(files)}
    assert not {name: count for name, count in lines.items() if count > limit}


def test_an_execute_is_small_enough_to_be_seen_through() -> None:
    long = {}
    for path in PRACTICES.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name == "execute":
                statements = sum(isinstance(part, ast.stmt) for part in ast.walk(node)) - 1
                if statements > 18:
                    long[name_of(path)] = statements
    assert not long


def test_every_module_begins_with_what_it_guarantees() -> None:
    """Test modules are spared where their tests' names say it all."""
    silent = [
        name_of(path)
        for path in SOURCES
        if not path.name.startswith("test_")
        and path.read_text().strip()
        and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent


def test_no_file_is_a_drawer_for_odds_and_ends() -> None:
    assert not [name_of(path) for path in SOURCES if path.stem.strip("_") in BANNED]


def test_no_file_of_airflows_folders_takes_the_name_of_a_library() -> None:
    """Airflow puts both folders on ``sys.path`` and plugins in ``sys.modules`` under their bare names."""
    taken = set(sys.stdlib_module_names) | set(importlib.metadata.packages_distributions())
    found = [
        name_of(path)
        for folder in ("dags", "plugins")
        for path in (REPOSITORY / folder).iterdir()
        if path.stem in taken - {"practices"} and (path.is_dir() or path.suffix == ".py") and path.stem != "__pycache__"
    ]
    assert not found


def test_practices_are_imported_once_and_not_executed_as_plugins() -> None:
    assert "practices/" in (REPOSITORY / "plugins" / ".airflowignore").read_text().splitlines()
