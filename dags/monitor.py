"""Monitor: compares the live model with its labels and its training data each day, and asks for a retraining if due."""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import PartitionedAssetTimetable

from practices._connections.installation import load_catalog
from practices._operators.airflow_dag import specs_to_build, stage_dag
from practices._operators.defaults import asset
from practices._operators.form import day_field
from practices.drift_check import DriftCheck
from practices.performance_check import PerformanceCheck
from practices.retrain_request import RetrainRequest

DOC = """
### Monitor `{spec.model}`
{spec.description}

Owner: **{spec.owner}** · limits declared under `monitoring` in `include/models/{spec.model}.yaml`

1. **check_performance** joins the answers with the labels known by now; **check_drift** compares the trailing window
   with what the live version was trained on. Red is a detection, or a number that could not be measured; the log and
   the ledger give every reason. Skipped: no version is live, or it was not asked.
2. **request_retraining** starts `{spec.model}__train` after enough detections in a row, once per incident; else it is
   skipped.
3. **all_is_well** makes the run as red as its checks.

Follows each day of `{spec.view}:features`; by hand for one day to look again, for example after late labels.
"""
FORM = {"day": day_field("The day to look at. Empty: the run's partition.", example="2013-03-01")}

for spec in specs_to_build(load_catalog().models, "monitor"):
    with stage_dag(
        f"{spec.model}__monitor",
        spec.owner,
        schedule=PartitionedAssetTimetable(assets=asset(spec.view, "features")),
        params=FORM,
        description=f"Watch the live version of {spec.model} day by day",
        doc_md=DOC.format(spec=spec),
        max_active_runs=4,
    ):
        performance = PerformanceCheck(task_id="check_performance", model=spec.model)
        checks = [performance, DriftCheck(task_id="check_drift", model=spec.model)]
        checks >> RetrainRequest(
            task_id="request_retraining",
            model=spec.model,
            outlets=[asset(spec.model, "retrain_requested")],
            trigger_rule="none_skipped",
            max_active_tis_per_dag=1,
        )
        checks >> EmptyOperator(task_id="all_is_well", trigger_rule="none_failed_min_one_success")
