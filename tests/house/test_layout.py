"""The listing of the repository is its architecture: each folder says what it holds, and holds nothing else."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

from pipelines.settings import REPOSITORY
from pipelines.wiring import STEPS

PACKAGES = sorted(
    path.parent
    for folder in ("pipelines", "plugins")
    for path in (REPOSITORY / folder).rglob("__init__.py")
    if "__pycache__" not in path.parts
)
FORMER_NAMES = {
    "pipelines/rank_door.py",
    "pipelines/serving/candidate.py",
    "pipelines/serving/compactor.py",
    "pipelines/serving/shadow.py",
    "pipelines/serving/worker.py",
    "pipelines/steps/load_model.py",
    "plugins/practices/_arrival_trigger.py",
    "plugins/practices/_queued_arrivals.py",
    "plugins/practices/_rollout_trigger.py",
}
"""Modules that something stored or already running names; they go with version 0.2.0."""
TOP = {
    "__init__", "__main__", "errors", "loopback", "mlflow_client", "ports", "settings", "store_paths", "verdict",
    "wiring",
}  # fmt: skip


def name_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def modules_in(folder: str) -> set[str]:
    """Stems of the modules directly in a folder, without former names."""
    return {path.stem for path in (REPOSITORY / folder).glob("*.py") if name_of(path) not in FORMER_NAMES}


def imports_at_the_top(tree: ast.Module) -> list[ast.stmt]:
    return [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]


@pytest.mark.parametrize("package", PACKAGES, ids=name_of)
def test_a_package_holds_one_sentence_about_itself_and_nothing_else(package: Path) -> None:
    [statement] = ast.parse((package / "__init__.py").read_text()).body
    sentence = ast.get_docstring(ast.Module(body=[statement], type_ignores=[]))
    assert sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_every_folder_of_code_is_a_package() -> None:
    folders = {
        path.parent
        for folder in ("pipelines", "plugins/practices")
        for path in (REPOSITORY / folder).rglob("*.py")
        if "__pycache__" not in path.parts
    }
    assert not sorted(name_of(folder) for folder in folders - set(PACKAGES))


def test_only_what_everything_rests_on_lies_at_the_top_of_pipelines() -> None:
    assert modules_in("pipelines") == TOP


def test_the_folder_of_steps_holds_exactly_the_steps() -> None:
    assert modules_in("pipelines/steps") - {"__init__"} == set(STEPS)


@pytest.mark.parametrize("step", STEPS)
def test_a_step_runs_by_its_name(step: str) -> None:
    assert callable(import_module(f"pipelines.steps.{step}").run)


def test_only_practices_lie_in_the_folder_of_practices() -> None:
    private = {stem for stem in modules_in("plugins/practices") if stem.startswith("_")}
    assert private == {"__init__"}


@pytest.mark.parametrize("name", sorted(FORMER_NAMES))
def test_a_former_name_only_leads_to_the_present_one_and_says_until_when(name: str) -> None:
    tree = ast.parse((REPOSITORY / name).read_text())
    assert "until 0.2.0" in (ast.get_docstring(tree) or "")
    assert len(tree.body) <= 3
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def test_a_practice_imports_no_adapter_before_it_runs() -> None:
    early = [
        f"{name_of(path)}: {ast.unparse(node)}"
        for path in sorted((REPOSITORY / "plugins/practices").rglob("*.py"))
        for node in imports_at_the_top(ast.parse(path.read_text()))
        if "pipelines.adapters" in ast.unparse(node) or "pipelines import wiring" in ast.unparse(node)
    ]
    assert not early


def test_the_page_of_the_architecture_answers_twenty_questions_with_files_that_exist() -> None:
    page = (REPOSITORY / "docs" / "architecture.md").read_text()
    answers = re.findall(r"^\| [^|]+\? \| `([^`]+)` \|$", page, re.MULTILINE)
    assert len(answers) >= 20
    assert not [name for name in answers if not (REPOSITORY / name).is_file()]
