"""Steps in pods may write all that they write, and none of what only people, sources and tasks write."""

from __future__ import annotations

import ast
from datetime import date

import pytest

from pipelines import store_paths
from pipelines.settings import REPOSITORY
from tests.adapters.iam_policy import allows, documented_policies

STORE = "arn:aws:s3:::models/air"
DAY = date(2013, 3, 1)
PROTECTED = {
    "ledger_heads": store_paths.ledger_heads("7.json"),
    "approval_form": store_paths.approval_form("m", "0" * 64),
    "landing": store_paths.landing("flights", "weather", DAY, "weather.csv"),
    "declarations": store_paths.declarations("0" * 64),
}
"""By their functions, the paths that tasks, people and sources write."""
OWN = [
    store_paths.raw("flights", "weather") + "/part-0.parquet",
    store_paths.staged("flights", DAY),
    store_paths.features("flight_departures") + "/_delta_log/1.json",
    store_paths.snapshot("m", "0" * 64, "snapshot.json"),
    store_paths.checkpoint("m", "0" * 64, "index.json"),
    store_paths.pod_run("m__train", "r", "t", "1", "result.json"),
    store_paths.bundle("m", "3", "model.onnx"),
    store_paths.live_input_report("m", DAY),
]
TASK_ONLY = {"extract_partition.py", "written_delivery.py", "declarations.py"}
"""What no pod runs: a task reads tables of a database with its connection, and stores what its pods are declared."""


def rights_of_a_step() -> list[dict[str, object]]:
    """What the store needs, less what steps are denied."""
    return [*documented_policies("use-s3.md")[:1], *documented_policies("run-on-kubernetes.md")]


@pytest.mark.parametrize("path", PROTECTED.values())
@pytest.mark.parametrize("action", ["s3:PutObject", "s3:DeleteObject"])
def test_a_step_changes_no_file_of_people_sources_and_the_ledger(action: str, path: str) -> None:
    assert allows(documented_policies("use-s3.md")[:1], action, f"{STORE}/{path}")
    assert not allows(rights_of_a_step(), action, f"{STORE}/{path}")
    assert allows(rights_of_a_step(), "s3:GetObject", f"{STORE}/{path}")


@pytest.mark.parametrize("path", OWN)
@pytest.mark.parametrize("action", ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"])
def test_a_step_writes_what_is_its_own(action: str, path: str) -> None:
    assert allows(rights_of_a_step(), action, f"{STORE}/{path}")
    assert not allows(rights_of_a_step(), action, f"{STORE.replace('air', 'other')}/{path}")


def test_no_step_in_a_pod_writes_below_a_folder_that_it_is_denied() -> None:
    """Held against the code: no call of ``put`` or ``delete`` in a step names such a path."""
    writes = [
        f"{path.relative_to(REPOSITORY)}:{call.lineno}"
        for folder in ("steps", "pod")
        for path in (REPOSITORY / "pipelines" / folder).rglob("*.py")
        if path.name not in TASK_ONLY
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in ("put", "delete")
        if any(name in ast.dump(argument) for argument in call.args for name in PROTECTED)
    ]
    assert writes == []
