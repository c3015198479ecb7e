"""MLflow makes the tables of an empty database once for all workers of a run; every test gets a copy."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from pipelines.mlflow_client import open_client

SHARED_FOLDER = "SHARED_BY_TESTS"
"""The variable that names the folder which all workers of a run share; ``conftest.py`` sets it."""


def copy_empty_mlflow(to: Path) -> str:
    """Copy it to this path; returns its address."""
    empty = Path(os.environ[SHARED_FOLDER]) / "mlflow.db"
    with empty.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not empty.exists():
            incomplete = empty.with_suffix(".incomplete")
            open_client(f"sqlite:///{incomplete}").search_experiments()
            incomplete.rename(empty)
    shutil.copy(empty, to)
    return f"sqlite:///{to}"
