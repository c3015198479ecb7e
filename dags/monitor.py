"""Monitor: compares the live version with its labels and training data each day, and requests a retraining if due."""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import PartitionedAssetTimetable

from pipelines.ledger import markdown
from practices._connections.installation import load_catalog
from practices._operators.airflow_dag import specs_to_build, stage_dag
from practices._operators.defaults import asset
from practices._operators.form import day_field, switch_field
from practices.drift_check import DriftCheck
from practices.estimated_performance import EstimatedPerformance
from practices.live_input_check import LiveInputCheck
from practices.performance_check import PerformanceCheck
from practices.retrain_request import RetrainRequest

DOC = """
### Monitor `{spec.model}`
{description}

Owner: **{owner}** · limits declared under `monitoring` in `include/models/{spec.model}.yaml`

1. **check_performance** compares the live version's days with those of its certificate as labels arrive;
   **check_drift** compares each column with its own past, and the window with the training data;
   **check_live_inputs** compares what callers sent with constraints, offline features and its own past. Each *fails* if
   the days are worse, a column broke, or callers send something else; the log and the ledger have every reason. It is
   *skipped* while it has too few rows, labels or days (for {spec.monitoring.max_unmeasured_days} days), or no requests.
2. **estimate_performance** says how well it answers before labels arrive; *skipped* while that cannot be known.
3. **request_retraining** starts `{spec.model}__train` when a declared trigger detects, once per incident.
4. **all_is_well** fails the run if a check failed.

Starts for each day of `{spec.view}:features`, or by hand for one day, for example after late labels.
"""
DAY = day_field("The day to monitor in a manual run. Empty: the run's partition key.", example="2013-03-01")
SHAPES = switch_field("Draw the shapes of all columns into the drift report, though none broke.", title="Shapes")

for spec in specs_to_build(load_catalog().of_days(), "monitor"):
    with stage_dag(
        f"{spec.model}__monitor",
        spec.owner,
        schedule=PartitionedAssetTimetable(assets=asset(spec.view, "features")),
        params={"day": DAY, "shapes": SHAPES},
        description=f"Check performance, drift and inputs of the live version of {spec.model} for each day",
        doc_md=markdown.fill(DOC, spec=spec),
        max_active_runs=4,
    ):
        checks = [
            PerformanceCheck(task_id="check_performance", model=spec.model),
            DriftCheck(task_id="check_drift", model=spec.model),
            LiveInputCheck(task_id="check_live_inputs", model=spec.model),
        ]
        checks >> RetrainRequest(
            task_id="request_retraining",
            model=spec.model,
            outlets=[asset(spec.model, "retrain_requested")],
            trigger_rule="all_done",
            max_active_tis_per_dag=1,
        )
        checks >> EstimatedPerformance(task_id="estimate_performance", model=spec.model, trigger_rule="all_done")
        checks >> EmptyOperator(task_id="all_is_well", trigger_rule="none_failed_min_one_success")
