"""Monitor tables: watches each day what callers send about a table without dates, which has no days to compare."""

from airflow.providers.standard.operators.empty import EmptyOperator

from pipelines.ledger import markdown
from pipelines.spec.partitions import FIRST_DATE, PartitionCalendar
from practices._connections.installation import load_catalog
from practices._operators.airflow_dag import specs_to_build, stage_dag
from practices._operators.defaults import asset, partition_schedule
from practices._operators.form import day_field
from practices.live_input_check import LiveInputCheck
from practices.retrain_request import RetrainRequest

DOC = """
### Monitor `{spec.model}`
{description}

Owner: **{owner}** · limits declared under `monitoring` in `include/models/{spec.model}.yaml`

1. **check_live_inputs** compares what callers sent with constraints, the table's own rows and its own past; it *fails*
   if callers send something else, and the log and the ledger have every reason. *Skipped* while requests are too few.
   A table has no days that could be compared: performance and drift are not measured.
2. **request_retraining** starts `{spec.model}__train` when a declared trigger detects, once per incident.
3. **all_is_well** fails the run if the check failed.

Starts each day, or by hand for one day.
"""
FORM = {"day": day_field("The day to monitor in a manual run. Empty: the run's partition key.", example="2013-03-01")}
EACH_DAY = PartitionCalendar("day", FIRST_DATE)

catalog = load_catalog()
for spec in specs_to_build(catalog.of_tables(), "monitor"):
    with stage_dag(
        f"{spec.model}__monitor",
        spec.owner,
        **partition_schedule(EACH_DAY),
        params=FORM,
        description=f"Check what callers send to the live version of {spec.model} each day",
        doc_md=markdown.fill(DOC, spec=spec),
        max_active_runs=4,
    ):
        check = LiveInputCheck(task_id="check_live_inputs", model=spec.model)
        check >> RetrainRequest(
            task_id="request_retraining",
            model=spec.model,
            outlets=[asset(spec.model, "retrain_requested")],
            trigger_rule="all_done",
            max_active_tis_per_dag=1,
        )
        check >> EmptyOperator(task_id="all_is_well", trigger_rule="none_failed_min_one_success")
