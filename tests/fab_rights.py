"""Prints, as JSON, what each user of an Airflow with FAB may do once the commands of a page have made them.

``python -m tests.fab_rights <page>``, in an environment that names an empty database and ``NamedApprovers``.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

DAG = "flight_delay__deploy"
OTHERS = [
    ["users", "create", "-u", "joe", "-r", "Viewer", "-f", "Joe", "-l", "Doe", "-e", "joe@example.com"],
    ["users", "create", "-u", "ada", "-r", "Viewer", "-f", "Ada", "-l", "Lovelace", "-e", "ada@example.com"],
    ["users", "add-role", "-u", "ada", "-r", "Approver"],
]
"""A viewer who approves nothing, and an approver whom nobody asks."""
PASSWORD = ["--password", "of-a-test-alone"]


def commands(page: Path) -> list[list[str]]:
    """The words after ``airflow`` of each command line in the block that names the auth manager."""
    [block] = [
        block
        for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
        if "people.fab" in block
    ]
    lines = [shlex.split(line, comments=True) for line in block.splitlines()]
    return [words[1:] for words in lines if words and words[0] == "airflow"]


def run(words: list[str]) -> None:
    from airflow.cli import cli_parser

    arguments = cli_parser.get_parser().parse_args([*words, *(PASSWORD if words[:2] == ["users", "create"] else [])])
    arguments.func(arguments)


def rights(manager: Any, user: Any) -> list[str]:
    """What the user may do about the deployments of one model, of which grace alone was asked to answer."""
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails

    def on_dag(method: str, entity: DagAccessEntity | None = None) -> bool:
        details = DagDetails(id=DAG)
        return bool(manager.is_authorized_dag(method=method, access_entity=entity, details=details, user=user))

    may = {
        "answer any request": on_dag("PUT", DagAccessEntity.HITL_DETAIL),
        "answer this request": on_dag("PUT", DagAccessEntity.HITL_DETAIL)
        and manager.is_authorized_hitl_task(assigned_users={"grace"}, user=user),
        "read runs": on_dag("GET", DagAccessEntity.RUN),
        "start a run": on_dag("POST", DagAccessEntity.RUN),
        "clear a task": on_dag("PUT", DagAccessEntity.TASK_INSTANCE),
        "edit an XCom": on_dag("PUT", DagAccessEntity.XCOM),
        "read connections": bool(manager.is_authorized_connection(method="GET", user=user)),
        "edit variables": bool(manager.is_authorized_variable(method="PUT", user=user)),
    }
    return [what for what, is_allowed in may.items() if is_allowed]


def main() -> None:
    for words in [*commands(Path(sys.argv[1])), *OTHERS]:
        run(words)
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        people = {name: builder.sm.find_user(name) for name in ("root", "grace", "ada", "joe")}
        print(json.dumps({name: rights(get_auth_manager(), user) for name, user in people.items()}))


if __name__ == "__main__":
    main()
