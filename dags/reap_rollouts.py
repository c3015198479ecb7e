"""Reap rollouts: rolls back, holds or unmirrors rollouts whose lease is over; only where a model stages deployments."""

from airflow.sdk import CronTriggerTimetable

from practices._connections.installation import load_catalog
from practices._operators.airflow_dag import should_build, stage_dag
from practices._operators.form import dry_run_field
from practices.lease_reaper import LeaseReaper

DOC = """
### Take back the rollouts that nobody watches
**reap_leases** asks the target of every model for its rollout. One whose lease is over is rolled back, held (an A/B
test) or loses its mirror (a shadow); the gateway does that by itself and is only told of if it did not. Rollouts whose
deploy run has ended or is gone, or that are held for a person, are told in the log. Each action is a line of the ledger
(`lease_expired`).

Runs every 5 minutes, and by hand (*Trigger*, with a form).
"""
FORM = {"dry_run": dry_run_field("Say what would be done, and change nothing.")}
DAG_ID = "airworthy__reap_rollouts"

if should_build(DAG_ID) and any(spec.deployment.staged for spec in load_catalog().models.values()):
    with stage_dag(
        DAG_ID,
        "airworthy",
        schedule=CronTriggerTimetable("*/5 * * * *", timezone="UTC"),
        params=FORM,
        description="Take back the rollouts that nobody watches",
        doc_md=DOC,
        max_active_runs=1,
        is_paused_upon_creation=False,
    ):
        LeaseReaper(task_id="reap_leases", report_only="{{ params.dry_run }}")
