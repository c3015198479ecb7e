"""Drill: tests and times the rollback on schedule, for models that declare it."""

from airflow.sdk import CronTriggerTimetable

from pipelines.ledger import markdown
from practices._connections.installation import load_catalog
from practices._operators.airflow_dag import specs_to_build, stage_dag
from practices.rollback_drill import RollbackDrill

DOC = """
### Rollback drill of `{spec.model}`
{description}

Owner: **{owner}**

**drill_rollback** begins a rollout of an earlier live version, gives it one ten-thousandth of the traffic and the
drill's own requests, rolls it back and measures how long that takes. The verdict is on the ledger (`rollback_drill`).
Skipped during a deployment or without an earlier version. If it fails, correct the cause that its log names.

Runs on the schedule `deployment.rollback.drill`, and by hand.
"""

for spec in specs_to_build(load_catalog().models, "drill"):
    if spec.deployment.rollback.drill is None:
        continue
    with stage_dag(
        f"{spec.model}__drill",
        spec.owner,
        schedule=CronTriggerTimetable(spec.deployment.rollback.drill, timezone="UTC"),
        description=f"Test and time the rollback of {spec.model}",
        doc_md=markdown.fill(DOC, spec=spec),
        max_active_runs=1,
    ):
        RollbackDrill(task_id="drill_rollback", model=spec.model)
