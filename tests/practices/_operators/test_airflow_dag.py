from __future__ import annotations

from types import SimpleNamespace

import pytest

from practices._operators import airflow_dag
from practices._operators.airflow_dag import should_build, specs_to_build, stage_dag
from practices._operators.defaults import DEFAULT_ARGS

SPECS = {"flight_delay": "the one", "arrival_delay": "the other"}


def test_a_stage_is_tagged_by_its_subject_its_name_and_its_owner() -> None:
    dag = stage_dag("flight_delay__train", "flight-operations", schedule=None, max_active_runs=3)
    assert (dag.dag_id, dag.tags) == ("flight_delay__train", {"flight_delay", "train", "flight-operations"})
    assert dag.default_args == {**DEFAULT_ARGS, "owner": "flight-operations"}
    assert (dag.catchup, dag.max_active_runs) == (False, 3)


def test_a_parsed_folder_has_the_dag_of_every_declaration() -> None:
    assert specs_to_build(SPECS, "train") == ["the one", "the other"]
    assert should_build("airworthy__reap_pods")


def test_a_running_task_builds_only_its_own_dag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(airflow_dag, "get_parsing_context", lambda: SimpleNamespace(dag_id="flight_delay__train"))
    assert specs_to_build(SPECS, "train") == ["the one"]
    assert specs_to_build(SPECS, "evaluate") == []
    assert not should_build("airworthy__reap_pods")
