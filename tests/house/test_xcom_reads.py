"""Every value that a person may edit in Airflow is compared with the ledger, or has a sentence why it need not be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.settings import REPOSITORY

SOURCES = [
    path
    for folder in ("plugins", "dags", "pipelines")
    for path in sorted((REPOSITORY / folder).rglob("*.py"))
    if "__pycache__" not in path.parts
]
READS = {
    ("dags/arrive.py", "late_partitions.output", "partition"),
    ("dags/evaluate.py", "ReturnedBy(measure.task_id)", "evaluation"),
    ("dags/evaluate.py", "measure.output", "evaluation"),
    ("dags/train.py", "snapshot.output", "snapshot"),
    ("plugins/practices/_deploy/stages.py", "ReturnedBy(check.task_id)", "ticket"),
    ("plugins/practices/_deploy/stages.py", "requests.output", "answers"),
}
"""File, the expression that reads an XCom, and the argument of an operator that gets it."""
CHECKS = {
    "ticket": {"checked_ticket", "unchecked_ticket"},
    "evaluation": {"checked_evaluation"},
    "snapshot": {"checked_snapshot"},
    "answers": {"recorded_answers"},
}
"""The only functions that get such an argument; they compare it with the run's lines on the ledger."""
CHECKED_TICKET = "plugins/practices/_rollouts/rollout.py"
"""A rollout is made of a ticket that was checked, and has an attribute of the same name."""
UNCHECKED = {
    "partition": "it names a delivery, which its manifest and contract decide on; who may edit it may trigger that one"
}
TEMPLATES = {
    "{{ params.dry_run }}": "whoever starts a run chooses whether it changes anything",
    "{{ params.number or '' }}": "whoever starts a run takes this incident by name, and nothing else follows from it",
    "{{ params.why or '' }}": "a text for people, stored with the name of the user",
    "{{ params.reason }}": "a text for people, stored with the name of the user",
    "{{ params.version or '' }}": "a rollback takes back this version only if the target serves it",
    "{{ task.role }}": "a label in Airflow",
    "{{ task.partition or dag_run.partition_key }}": "a label in Airflow",
}
"""Every template with the reason why a person may fill it in."""
EVENT_READERS = {
    (
        "plugins/practices/_arrivals/late_partitions.py",
        "_announced_partitions",
    ): "selects among the partitions that lie there",
    ("plugins/practices/_operators/run_context.py", "event_extras"): "read by the functions below",
    ("plugins/practices/_operators/run_context.py", "is_posted"): "tells events of people from those of tasks",
    (
        "plugins/practices/_operators/run_context.py",
        "version",
    ): "names a version; digests, gates, approvals: the ledger",
    ("plugins/practices/_operators/run_context.py", "as_of"): "a day; who posts an event may name one in the form",
    (
        "plugins/practices/_operators/retrain_facts.py",
        "check_posted_request",
    ): "holds a training that somebody posted to cool-down and budget",
    ("plugins/practices/preflight_checklist.py", "version_to_deploy"): "whether there is an event, not what it says",
}
"""Functions that read what an asset's event carries, which a person may post, with the reason why they may."""


def name_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def with_parents(path: Path, *words: str) -> Iterator[tuple[ast.AST, list[ast.AST]]]:
    """Each node with those that it lies in, the nearest first; none if the file has none of the words."""
    text = path.read_text()
    waiting: list[tuple[ast.AST, list[ast.AST]]] = []
    if any(word in text for word in words):
        waiting.append((ast.parse(text), []))
    while waiting:
        node, parents = waiting.pop()
        yield node, parents
        waiting += [(child, [node, *parents]) for child in ast.iter_child_nodes(node)]


def reads_an_xcom(node: ast.AST) -> bool:
    is_output = isinstance(node, ast.Attribute) and node.attr == "output"
    return is_output or (isinstance(node, ast.Call) and ast.unparse(node.func) == "ReturnedBy")


def argument_of(node: ast.AST, parents: list[ast.AST]) -> str:
    """The argument or key of a dictionary that a value is given to; empty: it is used otherwise."""
    for below, parent in zip([node, *parents], parents, strict=False):
        if isinstance(parent, ast.keyword):
            return str(parent.arg)
        if isinstance(parent, ast.Dict) and below in parent.values:
            return str(ast.literal_eval(parent.keys[parent.values.index(below)]))  # type: ignore[arg-type]
    return ""


def test_every_read_of_an_xcom_is_listed_with_the_argument_that_gets_it() -> None:
    found = {
        (name_of(path), ast.unparse(node), argument_of(node, parents))
        for path in SOURCES
        if path.is_relative_to(REPOSITORY / "plugins") or path.is_relative_to(REPOSITORY / "dags")
        for node, parents in with_parents(path, "output", "ReturnedBy")
        if reads_an_xcom(node)
    }
    assert found == READS
    assert {argument for *_, argument in READS} == CHECKS.keys() | UNCHECKED.keys()


def test_an_xcom_is_read_in_no_other_way() -> None:
    """Not by its API, not by a template, and in one method of a task instance."""
    readers = {
        (name_of(path), next((parent.name for parent in parents if isinstance(parent, ast.ClassDef)), ""))
        for path in SOURCES
        for node, parents in with_parents(path, "xcom", "XCom")
        if (isinstance(node, ast.Attribute) and node.attr in ("xcom_pull", "get_xcom", "xcom_args"))
        or (isinstance(node, ast.Name) and node.id in ("XCom", "XComArg", "BaseXCom"))
        or (isinstance(node, ast.Constant) and isinstance(node.value, str) and "xcomEntries" in node.value)
    }
    assert readers == {("plugins/practices/_operators/model.py", "ReturnedBy")}


@pytest.mark.parametrize("argument", CHECKS)
def test_an_argument_that_comes_from_an_xcom_goes_nowhere_but_to_its_check(argument: str) -> None:
    calls = {}
    for path in SOURCES:
        if not name_of(path).startswith("plugins/practices/") or name_of(path) == CHECKED_TICKET:
            continue
        for node, parents in with_parents(path, argument):
            is_read = isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
            if is_read and ast.unparse(node) == f"self.{argument}":
                call = parents[0]
                function = ast.unparse(call.func) if isinstance(call, ast.Call) else ast.unparse(call)
                calls.setdefault(function, name_of(path))
    assert calls
    assert calls.keys() <= CHECKS[argument], calls


def test_a_ticket_is_used_unchecked_only_where_a_candidate_can_but_lose_its_traffic() -> None:
    users = [name_of(path) for path in SOURCES if "unchecked_ticket(" in path.read_text()]
    assert users == [
        "plugins/practices/_operators/recorded_results.py",
        "plugins/practices/_rollouts/stage_operator.py",
    ]


def test_every_template_has_a_reason() -> None:
    """Those of Prometheus and Grafana are never read by Airflow."""
    found = {
        node.value
        for path in SOURCES
        if not name_of(path).startswith("pipelines/observability/")
        for node, _ in with_parents(path, "{{")
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "{{" in node.value
    }
    assert found == TEMPLATES.keys()


def test_everything_that_reads_an_event_is_listed_with_a_reason() -> None:
    found = set()
    for path in SOURCES:
        for node, parents in with_parents(path, "triggering_asset_events", "event_extras", "is_posted"):
            reads = isinstance(node, ast.Constant) and node.value == "triggering_asset_events"
            reads |= isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("event_extras", "is_posted"))
            if reads:
                function = next(parent.name for parent in parents if isinstance(parent, ast.FunctionDef))
                found.add((name_of(path), function))
    assert found == EVENT_READERS.keys() | {("plugins/practices/_approvals/release_standing.py", "release_standing")}


@pytest.mark.parametrize("reasons", [UNCHECKED, TEMPLATES, EVENT_READERS], ids=["values", "templates", "events"])
def test_a_reason_is_a_sentence(reasons: dict[object, str]) -> None:
    assert all(len(reason.split()) >= 4 for reason in reasons.values())
