"""With FAB, approvers are the people whom a declaration names; FAB itself knows them by number."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from people.fab import NamedApprovers
from pipelines.settings import REPOSITORY
from tests.postgresql import postgresql_server


def user(number: int, name: str) -> Any:
    return SimpleNamespace(get_id=lambda: str(number), get_name=lambda: name)


@pytest.mark.parametrize(("name", "may"), [("ada", True), ("joe", False), ("", False)])
def test_an_assigned_person_answers_by_the_log_in_name(name: str, may: bool) -> None:
    manager = NamedApprovers.__new__(NamedApprovers)
    assert manager.is_authorized_hitl_task(assigned_users={"ada", "grace"}, user=user(3, name)) is may


def test_a_number_is_nobodys_name() -> None:
    manager = NamedApprovers.__new__(NamedApprovers)
    assert not manager.is_authorized_hitl_task(assigned_users={"3"}, user=user(3, "ada"))


def test_the_documented_commands_give_approvers_the_least_role_that_can_answer(tmp_path: Path) -> None:
    """On PostgreSQL, by the commands of the page as they stand there."""
    with postgresql_server() as folder:
        environment = os.environ | {
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__CORE__AUTH_MANAGER": "people.fab.NamedApprovers",
            "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(tmp_path),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://airworthy@/postgres?host={folder}",
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "plugins")]),
        }
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "tests.fab_rights",
            str(REPOSITORY / "docs/approve-a-release.md"),
        ]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stderr
    rights = json.loads(ended.stdout.splitlines()[-1])
    assert rights["grace"] == ["answer any request", "answer this request", "read runs"]
    assert rights["ada"] == ["answer any request", "read runs"], "nobody asked her"
    assert rights["joe"] == ["read runs"], "a viewer without the role answers nothing"
    assert {"start a run", "clear a task", "edit an XCom"} <= set(rights["root"])
