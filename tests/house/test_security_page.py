"""The page on security has every door, role and asset, and each of them a test that exists or a reason why not."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from pipelines.settings import REPOSITORY

PAGE = REPOSITORY / "docs" / "security.md"
ROLES = (
    "anonymous",
    "predict key",
    "admin key",
    "Airflow viewer",
    "Airflow user",
    "Airflow op",
    "Airflow admin",
    "registry writer",
    "store writer",
    "local user",
    "pod",
)
ASSETS = ("model served", "ledger", "approvals", "predictions", "secrets", "host")
TEST_NAME = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
LEAST_WORDS = 6
LISTENERS = {
    "pipelines/serving/data_plane/worker.py": "public listener of the gateway",
    "pipelines/serving/__main__.py": "admin listener of the gateway",
    "pipelines/cli/exporter.py": "exporter",
    "plugins/stored_reports.py": "stored reports",
}
"""Who makes a server or pages, and the door that it is."""
MAKES_A_SERVER = {"create_server", "make_server", "start_server", "start_unix_server", "FastAPI", "Flask", "Starlette"}
SERVERS = ("HTTPServer", "TCPServer", "UDPServer")


def cells(role: str) -> dict[str, tuple[str, str]]:
    """By asset, what the role can do and what shows it."""
    matrix = PAGE.read_text().partition("## Roles and assets")[2]
    section = re.search(rf"^### {re.escape(role)}\n(.*?)(?=^### |\Z)", matrix, re.DOTALL | re.MULTILINE)
    assert section is not None, f"the page has no role {role!r}"
    rows = [line.strip("|").split(" | ") for line in section[1].splitlines() if line.startswith("| ")]
    return {row[0].strip(): (row[1].strip(), row[2].strip()) for row in rows[1:]}


@cache
def names_of_tests(path: str) -> frozenset[str]:
    """Names of the tests in a file; none if there is no such file."""
    file = REPOSITORY / path
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse(file.read_text()) if file.exists() else ast.Module([], [])
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, functions))


def cell_faults(role: str, asset: str, worst: str, shown_by: str) -> list[str]:
    where = f"{role}, {asset}"
    faults = [] if worst else [f"{where}: what it can do is not said"]
    named = TEST_NAME.findall(shown_by)
    faults += [f"{where}: there is no test {path}::{name}" for path, name in named if name not in names_of_tests(path)]
    if not named and (len(shown_by.split()) < LEAST_WORDS or not shown_by.endswith(".")):
        faults.append(f"{where}: {shown_by!r} is neither a test nor a sentence why there is none")
    return faults


@pytest.mark.parametrize("role", ROLES)
def test_every_cell_names_a_test_that_exists_or_says_why_there_is_none(role: str) -> None:
    by_asset = cells(role)
    assert tuple(by_asset) == ASSETS
    faults = [fault for asset, cell in by_asset.items() for fault in cell_faults(role, asset, *cell)]
    assert faults == []


def doors() -> dict[str, tuple[str, str]]:
    """By its name, what a door checks and what shows it."""
    section = PAGE.read_text().partition("## The doors")[2].partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return {row[0].strip(): (row[-2].strip(), row[-1].strip()) for row in rows[1:]}


def test_every_door_names_a_test_that_exists_or_says_why_there_is_none() -> None:
    assert len(doors()) > 10
    assert [fault for door, cell in doors().items() for fault in cell_faults("door", door, *cell)] == []


def test_whatever_listens_or_shows_pages_is_a_door_of_the_page() -> None:
    listening = set()
    for path in (path for folder in ("pipelines", "plugins", "dags") for path in (REPOSITORY / folder).rglob("*.py")):
        names = {
            getattr(call.func, "attr", getattr(call.func, "id", ""))
            for call in ast.walk(ast.parse(path.read_text()))
            if isinstance(call, ast.Call)
        }
        if names & MAKES_A_SERVER or any(name.endswith(SERVERS) for name in names):
            listening.add(path.relative_to(REPOSITORY).as_posix())
    assert listening == LISTENERS.keys(), "a new server is a new door: docs/security.md says what it checks"
    for door in LISTENERS.values():
        assert [name for name in doors() if name.startswith(door)] != [], door


def test_the_page_has_no_further_role() -> None:
    matrix = PAGE.read_text().partition("## Roles and assets")[2]
    assert tuple(re.findall(r"^### (.+)$", matrix, re.MULTILINE)) == ROLES


@pytest.mark.parametrize(
    "shown_by", ["", "nothing", "`tests/house/test_security_page.py::test_that_is_not_there`", "`tests/no.py::test_x`"]
)
def test_a_cell_without_a_proof_is_a_fault(shown_by: str) -> None:
    assert len(cell_faults("pod", "host", "runs", shown_by)) == 1


@pytest.mark.parametrize("path", ["SECURITY.md", "docs/index.md", "docs/architecture.md"])
def test_the_page_is_found(path: str) -> None:
    assert "security.md)" in (REPOSITORY / Path(path)).read_text()
