from __future__ import annotations

from types import SimpleNamespace

import pytest

from practices._operators import airflow_dag
from practices._operators.airflow_dag import numbered_stage, should_build, specs_to_build, stage_dag
from practices._operators.defaults import DEFAULT_ARGS

SPECS = {"flight_delay": "the one", "arrival_delay": "the other"}


def test_a_stage_is_shown_by_its_subject_and_its_place_in_the_order_and_tagged_by_its_owner() -> None:
    dag = stage_dag("flight_delay__train", "flight-operations", schedule=None, max_active_runs=3)
    assert (dag.dag_id, dag.dag_display_name) == ("flight_delay__train", "flight_delay · 1 train")
    assert dag.tags == {"flight_delay", "1 train", "flight-operations"}
    assert dag.default_args == {**DEFAULT_ARGS, "owner": "flight-operations"}
    assert (dag.catchup, dag.max_active_runs) == (False, 3)


def test_sorted_by_name_the_stages_stand_in_the_order_in_which_they_follow_each_other() -> None:
    stages = ["train", "evaluate", "deploy", "monitor", "rollback", "drill"]
    assert sorted(map(numbered_stage, stages)) == [numbered_stage(stage) for stage in stages]
    of_data = ["1 ingest", "2 arrive", "3 validate", "4 catch up"]
    assert sorted(map(numbered_stage, ["ingest", "arrive", "validate", "catch_up"])) == of_data
    assert numbered_stage("reap_rollouts") == "reap rollouts"


def test_a_parsed_folder_has_the_dag_of_every_declaration() -> None:
    assert specs_to_build(SPECS, "train") == ["the one", "the other"]
    assert should_build("airworthy__reap_pods")


def test_a_running_task_builds_only_its_own_dag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(airflow_dag, "get_parsing_context", lambda: SimpleNamespace(dag_id="flight_delay__train"))
    assert specs_to_build(SPECS, "train") == ["the one"]
    assert specs_to_build(SPECS, "evaluate") == []
    assert not should_build("airworthy__reap_pods")
