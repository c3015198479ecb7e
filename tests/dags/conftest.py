"""The DAG folder is parsed in processes of its own, so that what it imports and what it costs can be told."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pipelines.settings import REPOSITORY

Parse = Callable[..., dict[str, Any]]
PARSER = Path(__file__).with_name("parser_process.py")


@cache
def parser_process() -> subprocess.Popen[str]:
    """The process that parses until this one ends."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AIRWORTHY"))}
    home = tempfile.TemporaryDirectory(prefix="airflow-parser-")
    atexit.register(home.cleanup)
    process = subprocess.Popen(
        [sys.executable, "-W", "error::SyntaxWarning", str(PARSER)],
        env=environment | {"AIRFLOW_HOME": home.name},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    atexit.register(process.communicate)
    return process


def parse_folder(home: Path, *, include: Path = REPOSITORY / "include", dag_id: str | None = None) -> dict[str, Any]:
    """What Airflow finds in ``dags/``; with a DAG id as a running task of it finds it."""
    environment = {"AIRWORTHY_HOME": str(home), "AIRWORTHY_INCLUDE": str(include)}
    process = parser_process()
    assert process.stdin
    assert process.stdout
    process.stdin.write(json.dumps({"environment": environment, "dag_id": dag_id}) + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    assert answer, f"the process that parses has ended with {process.poll()}"
    result: dict[str, Any] = json.loads(answer)
    assert "failed" not in result, result["failed"]
    return result


@pytest.fixture(scope="session")
def parse() -> Parse:
    return parse_folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The folder with the repository's own declarations, parsed once."""
    return parse_folder(tmp_path_factory.mktemp("airflow"))
