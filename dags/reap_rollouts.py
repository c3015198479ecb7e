"""Reap rollouts: handles rollouts whose lease has expired."""

from airflow.sdk import CronTriggerTimetable

from practices._connections.installation import load_catalog
from practices._operators.airflow_dag import should_build, stage_dag
from practices._operators.form import dry_run_field
from practices.lease_reaper import LeaseReaper

DOC = """
### Roll back the rollouts whose lease has expired
**reap_leases** reads the rollout of every model from its target. If the lease has expired, it rolls the rollout back,
holds it (an A/B test) or stops its mirror (a shadow); the gateway does this itself, so its rollouts are only reported.
Rollouts that are held for a person, or whose deploy run has ended or was deleted, are reported in the log. Each action
is a line of the ledger (`lease_expired`).

Runs every 5 minutes, and by hand (*Trigger*, with a form).
"""
FORM = {"dry_run": dry_run_field("Log what would be done, and change nothing.")}
DAG_ID = "airworthy__reap_rollouts"

if should_build(DAG_ID) and load_catalog().models:
    with stage_dag(
        DAG_ID,
        "airworthy",
        schedule=CronTriggerTimetable("*/5 * * * *", timezone="UTC"),
        params=FORM,
        description="Roll back the rollouts whose lease has expired",
        doc_md=DOC,
        max_active_runs=1,
        is_paused_upon_creation=False,
    ):
        LeaseReaper(task_id="reap_leases", report_only="{{ params.dry_run }}")
