"""A deploy DAG has the tasks that its model declares, in their order, and explains each of them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.settings import REPOSITORY

PEOPLE = {"approvers": [{"role": "lead", "users": ["ada"]}, {"role": "compliance", "users": ["grace", "mary"]}]}
LOAD = {"assertions": {"p95_latency": {"max": 100}}}
BEGIN, END = ["check_release", "prepare_candidate"], ["promote_candidate", "retire_former", "end_rollout"]
AT_ONCE = ["release_champion", "retire_former", "end_rollout"]
GUARDED = {
    "kind": "sagemaker",
    "mode": "guardrail",
    "alarms": ["errors"],
    "role_arn": "arn:aws:iam::123456789012:role/airworthy",
    "image": "airworthy:step",
    "instance_type": "ml.m5.large",
}
"""SageMaker itself shifts and judges."""
DECLARED: list[tuple[dict[str, Any], list[str]]] = [
    ({}, [*BEGIN, *AT_ONCE]),
    ({"approval": PEOPLE}, [*BEGIN, "request_approvals", "count_approvals", *AT_ONCE]),
    ({"load_test": LOAD}, [*BEGIN, "test_under_load", *AT_ONCE]),
    ({"strategy": "shadow"}, [*BEGIN, "compare_in_shadow", *END]),
    ({"shadow": {}, "load_test": LOAD}, [*BEGIN, "test_under_load", "compare_in_shadow", *END]),
    ({"strategy": "blue_green"}, [*BEGIN, "try_green", "judge_green", *END]),
    ({"strategy": "ab", "routing": {"key": "field:ids"}}, [*BEGIN, "test_versions", *END]),
    ({"strategy": "canary", "canary": {"steps": [5]}, "resources": {"replicas": 2}, "target": GUARDED}, [*BEGIN, *END]),
    ({"strategy": "blue_green", "resources": {"replicas": 2}, "target": GUARDED}, [*BEGIN, *END]),
    (
        {"strategy": "canary", "canary": {"steps": [5, 12.5]}, "shadow": {}, "load_test": LOAD, "approval": PEOPLE},
        [
            *[*BEGIN, "test_under_load", "compare_in_shadow", "request_approvals", "count_approvals"],
            *["shift_to_5", "judge_at_5", "shift_to_12_5", "judge_at_12_5"],
            *END,
        ],
    ),
]


@pytest.fixture(scope="module")
def laid(parse: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The folder with one model per declaration, parsed once."""
    home = tmp_path_factory.mktemp("stages")
    include = Path(shutil.copytree(REPOSITORY / "include", home / "include"))
    spec = yaml.safe_load((include / "models" / "flight_delay.yaml").read_text())
    for number, (block, _) in enumerate(DECLARED):
        told = spec | {"model": f"model_{number}", "deployment": block}
        (include / "models" / f"model_{number}.yaml").write_text(yaml.safe_dump(told))
    found: dict[str, Any] = parse(home, include=include)
    assert found["errors"] == {}
    return found


@pytest.mark.parametrize("number", range(len(DECLARED)))
def test_what_is_declared_is_a_task_and_what_is_not_is_none(laid: dict[str, Any], number: int) -> None:
    dag, (_, tasks) = laid["dags"][f"model_{number}__deploy"], DECLARED[number]
    assert set(dag["tasks"]) == set(tasks)
    for before, after in pairwise(tasks):
        assert before in dag["tasks"][after]["upstream"], after
    edges = {(before, task) for task, facts in dag["tasks"].items() for before in facts["upstream"]}
    clean_up = {("prepare_candidate", "end_rollout")}
    assert edges == set(pairwise(tasks)) | clean_up, "the graph is a line with one clean-up"
    told = re.findall(r"\*\*(\w+)\*\*", dag["doc"])
    assert sorted(set(tasks) - set(told)) == []
    assert all(task["policy"] and task["retries"] >= 1 for task in dag["tasks"].values())
    assert set(dag["params"]) == {"version"}
    assert {name for name, task in dag["tasks"].items() if not task["decides_the_run"]} == {"end_rollout"}
    [releasing] = [name for name, task in dag["tasks"].items() if task["outlets"]]
    assert releasing in ("release_champion", "promote_candidate")
