"""Drill: tries and times the rollback on schedule, for models that declare it."""

from airflow.sdk import CronTriggerTimetable

from practices._connections.installation import load_catalog
from practices._operators.airflow_dag import specs_to_build, stage_dag
from practices.rollback_drill import RollbackDrill

DOC = """
### Rollback drill of `{spec.model}`
{spec.description}

Owner: **{spec.owner}**

**drill_rollback** begins a harmless rollout of the version that was live before, gives it one ten-thousandth of the
traffic and its own requests, takes it back and times it. Its verdict is on the ledger (`rollback_drill`). Skipped while
a deployment goes on, or where no version could stand in. Red: see what it says, before the way back is needed.

Runs at `deployment.rollback.drill`, and by hand.
"""

for spec in specs_to_build(load_catalog().models, "drill"):
    if spec.deployment.rollback.drill is None:
        continue
    with stage_dag(
        f"{spec.model}__drill",
        spec.owner,
        schedule=CronTriggerTimetable(spec.deployment.rollback.drill, timezone="UTC"),
        description=f"Try and time the rollback of {spec.model}",
        doc_md=DOC.format(spec=spec),
        max_active_runs=1,
    ):
        RollbackDrill(task_id="drill_rollback", model=spec.model)
