"""Thirty faults that users of other projects reported, and the test that proves what happens here instead.

Each line is a behaviour, the public report that it is modelled on, and its proof.
"""

from __future__ import annotations

import ast
from functools import cache
from typing import NamedTuple

import pytest

from pipelines.settings import REPOSITORY


class Case(NamedTuple):
    """What happens here, who reported the contrary of another project, and which test proves it."""

    behaviour: str
    reported: str
    proof: str


CASES = [
    Case(
        "What a cleared task returned in a former try decides nothing",
        "Airflow 791: the XCom of a cleared task stays and is read",
        "practices/_operators/test_recorded_results.py::test_after_the_checklist_was_cleared_its_former_ticket_is_refused",
    ),
    Case(
        "A task that was marked as success hands nothing on that was not judged",
        "Airflow 12485: marking a task as success and what follows it",
        "practices/test_actions_by_hand.py::test_a_task_whose_predecessor_was_marked_as_success_says_that_it_left_nothing",
    ),
    Case(
        "Two backfills of one day leave one result",
        "Airflow 30929: a backfill and the state of its runs",
        "practices/test_actions_by_hand.py::test_two_backfills_of_a_day_leave_one_receipt_and_the_same_events",
    ),
    Case(
        "A day that came while its DAG was paused is taken up later, once",
        "Airflow: events of assets are dropped while a DAG is paused",
        "practices/test_validation_backlog.py::test_every_day_is_handed_on_once_under_its_own_key",
    ),
    Case(
        "Of two events that start one run, the newest version is meant",
        "Airflow: events that come close together are merged into one run",
        "practices/test_candidate_evaluation.py::test_of_several_waiting_candidates_the_newest_is_measured",
    ),
    Case(
        "A run with the id of a deleted one is judged anew",
        "Airflow: a deleted run that is made again keeps what it had",
        "practices/test_actions_by_hand.py::test_a_run_with_the_id_of_a_deleted_one_is_judged_anew_so_that_the_newest_line_is_true",
    ),
    Case(
        "Triggers that come at the same time wait for each other and all succeed",
        "Airflow: 'database is locked' when DAGs are triggered together",
        "dags/test_sqlite_writes.py::test_writes_run_one_after_the_other_in_the_order_of_their_coming",
    ),
    Case(
        "A field of a form may stay empty unless it says otherwise",
        "Airflow: a text parameter without null is obligatory in the form",
        "dags/test_folder.py::test_a_field_may_be_left_empty_unless_its_own_default_is_refused",
    ),
    Case(
        "A run that an event starts shows in its id what it is about",
        "Airflow: runs that assets start cannot be told apart in the list",
        "test_partition_in_run_id.py::test_a_run_that_an_approval_starts_bears_the_version_of_its_event",
    ),
    Case(
        "A wait ends in its time although the clock of the machine was set back",
        "Airflow: deferred tasks and clocks that jump",
        "practices/test_partition_arrival.py::test_the_wait_ends_in_its_time_although_the_clock_was_set_back",
    ),
    Case(
        "A lease ends in its time although the clock of the machine was set back",
        "Kubernetes: leases compared by clocks that differ",
        "serving/control_plane/test_guard_loop.py::test_a_clock_set_back_makes_no_lease_longer",
    ),
    Case(
        "The ledger says which version was live since when, by whom and why",
        "MLflow 2169: no history of which version was in production",
        "ledger/test_version_state.py::test_a_live_version_that_was_taken_back_says_by_whom_why_and_who_answers",
    ),
    Case(
        "An alias that somebody moved is named, and what is served counts",
        "MLflow 10336: stages and aliases move without a check",
        "practices/test_candidate_evaluation.py::test_the_champion_is_what_the_target_serves_and_not_what_an_alias_names",
    ),
    Case(
        "A version that was deleted from the registry can still be put back",
        "MLflow 8459: aliases of deleted versions",
        "practices/test_release_rollback.py::test_a_version_that_was_deleted_from_the_registry_can_still_be_put_back",
    ),
    Case(
        "A registry that does not answer is told within a minute, and is no fault of the model",
        "MLflow: clients hang for minutes while the server is away",
        "adapters/test_mlflow_registry.py::test_an_outage_is_told_within_a_minute",
    ),
    Case(
        "Versions are ordered by number: 10 comes after 9",
        "MLflow: versions sorted as text",
        "ledger/test_version_state.py::test_versions_are_listed_by_number_and_not_by_letters",
    ),
    Case(
        "A rolled-back canary gets nothing of the next canary's traffic",
        "KServe 2130: routes leak between consecutive canaries",
        "rollout/test_transitions.py::test_after_a_rolled_back_canary_the_next_one_stands_beside_the_same_champion_alone",
    ),
    Case(
        "While a candidate is prepared the live version answers, and no former one",
        "KServe 2040: a canary falls back to the version before the stable one",
        "adapters/kubernetes/test_kserve_objects.py::test_all_other_versions_stand_beside_the_live_one_with_the_candidates_share_alone",
    ),
    Case(
        "A tensor's number that its datatype does not have is refused",
        "KServe: integers with a fraction are cut without a word",
        "serving/models/test_open_inference_protocol.py::test_a_number_that_its_datatype_does_not_have_is_refused",
    ),
    Case(
        "A body that is compressed beyond the limit takes no more memory than the limit",
        "KServe and MLServer: compressed requests",
        "serving/http/test_content.py::test_a_gzip_bomb_takes_no_more_memory_than_the_limit",
    ),
    Case(
        "A value that became known after the prediction changes no training row",
        "Feast 6615: the created time is no filter of a point-in-time join",
        "steps/features/test_compute.py::test_facts_known_after_the_prediction_time_change_nothing",
    ),
    Case(
        "However often a delivery is corrected, the newest counts",
        "Feast 3360: of more than three corrections the wrong one is served",
        "steps/test_ingest_partition.py::test_a_corrected_delivery_replaces_the_day",
    ),
    Case(
        "A window of time is open at its start and closed at its end",
        "Feast 3435: what a time to live includes",
        "steps/features/test_compute.py::test_a_window_is_open_at_its_start_and_closed_at_its_end",
    ),
    Case(
        "The order in which days arrive changes no feature",
        "Feast 4162: sources whose rows replace earlier ones",
        "steps/test_build_features.py::test_days_in_any_order_give_the_same_table",
    ),
    Case(
        "A day without a row is published empty, and is no failure",
        "Great Expectations 2726: expectations of an empty table",
        "steps/test_audit_partition.py::test_a_day_without_observations_is_published_empty",
    ),
    Case(
        "A row without a value that must have one is shown with its key",
        "Great Expectations 5627 and 6813: rows with null are not listed",
        "steps/test_audit_partition.py::test_a_row_that_lacks_a_value_is_shown_with_its_key_and_the_lack",
    ),
    Case(
        "An expectation that could not be evaluated lets nothing pass",
        "Great Expectations 8548: it is left out, and the suite succeeds",
        "steps/test_audit_partition.py::test_an_expectation_on_a_column_that_is_not_there_is_refused_by_name",
    ),
    Case(
        "A suite that tolerates bad rows is refused when it is read",
        "Great Expectations: what mostly allows and forbids",
        "spec/test_catalog.py::test_a_suite_that_tolerates_bad_rows_is_refused_and_so_is_what_uses_it",
    ),
    Case(
        "A column of nulls and a category that reads like them are two things",
        "Evidently: missing values and texts such as nan",
        "steps/drift/test_tests.py::test_nulls_and_a_category_that_reads_like_them_are_two_things",
    ),
    Case(
        "A rollout that ended says why by its verdict, and not by the name of a task",
        "Argo Rollouts: a degraded rollout whose message names a step",
        "practices/test_rollout_rollback.py::test_a_shadow_that_nobody_asked_is_the_reason_of_the_version_and_not_the_name_of_its_task",
    ),
]


@cache
def names_in(file: str) -> set[str]:
    tree = ast.parse((REPOSITORY / "tests" / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.proof.rpartition("::")[2][:60])
def test_each_behaviour_is_proved_by_a_test_that_is_there(case: Case) -> None:
    file, _, name = case.proof.partition("::")
    assert name in names_in(file)


def test_there_are_thirty_of_them_each_with_a_proof_of_its_own() -> None:
    assert len({case.proof for case in CASES}) == len({case.behaviour for case in CASES}) == len(CASES) == 30
