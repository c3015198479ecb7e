"""Reap pods: deletes the pods that no task waits for any more; only where steps run in pods."""

from airflow.sdk import CronTriggerTimetable

from pipelines.settings import Settings
from practices._connections.installation import load_catalog
from practices._operators.airflow_dag import should_build, stage_dag
from practices._operators.form import dry_run_field
from practices.orphaned_pods import OrphanedPods

DOC = """
### Delete the pods that no task waits for
**delete_orphaned_pods** checks the task of every pod of this installation. It deletes pods whose task has ended or was
deleted, pods that a later try has replaced, and pods that exceeded their deadline. A pod in doubt is kept and reported
in the log. Each deletion is a line of the ledger (`orphaned_pod`).

Runs every 15 minutes, and by hand (*Trigger*, with a form).
"""
FORM = {"dry_run": dry_run_field("Log which pods would be deleted, and delete none.")}
DAG_ID = "airworthy__reap_pods"


def steps_run_in_pods() -> bool:
    """Whether the installation, or a stage of any model, runs its steps in pods."""
    stages = [stage for spec in load_catalog().models.values() for stage in spec.runner.values()]
    return Settings.from_environment().runner == "kubernetes" or any(stage.on == "kubernetes" for stage in stages)


if should_build(DAG_ID) and steps_run_in_pods():
    with stage_dag(
        DAG_ID,
        "airworthy",
        schedule=CronTriggerTimetable("*/15 * * * *", timezone="UTC"),
        params=FORM,
        description="Delete the pods that no task waits for",
        doc_md=DOC,
        max_active_runs=1,
        is_paused_upon_creation=False,
    ):
        OrphanedPods(task_id="delete_orphaned_pods", report_only="{{ params.dry_run }}")
