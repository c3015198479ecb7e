"""The DAG folder is parsed in processes of its own, so that what it imports and what it costs can be told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.settings import REPOSITORY

Parse = Callable[..., dict[str, Any]]
PARSER = Path(__file__).with_name("parse_folder.py")


def parse_folder(home: Path, *, include: Path = REPOSITORY / "include", dag_id: str | None = None) -> dict[str, Any]:
    """What Airflow finds in ``dags/``; with a DAG id as a running task of it finds it."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AIRWORTHY"))},
        "AIRFLOW_HOME": str(home),
        "AIRWORTHY_HOME": str(home),
        "AIRWORTHY_INCLUDE": str(include),
    }
    command = [sys.executable, "-W", "error::SyntaxWarning", str(PARSER), *([dag_id] if dag_id else [])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.fixture(scope="session")
def parse() -> Parse:
    return parse_folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The folder with the repository's own declarations, parsed once."""
    return parse_folder(tmp_path_factory.mktemp("airflow"))
