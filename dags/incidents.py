"""Incidents: takes in what is wrong, tells the people who are due to hear it, and takes an incident for a person."""

from airflow.sdk import CronTriggerTimetable

from practices._connections.installation import load_catalog
from practices._operators.airflow_dag import should_build, stage_dag
from practices._operators.form import count_field, text_field
from practices.incidents import Incidents

DOC = """
### Incidents
**look** reads the ledger's new lines, checks the ledger, the drills and the watch, and opens, escalates and resolves
incidents. It sends what is due to the channels of `include/alerts.yaml`.

To take an incident, so that it escalates no more: *Trigger*, with its number and what you do about it. Your user name
is written into it. `airworthy incidents` lists them.

Runs every two minutes. `airworthy watch` does the same outside of Airflow, every 15 seconds.
"""
FORM = {
    "number": count_field(
        "The number of the incident that you take. Empty: none.", title="Incident", minimum=1, maximum=999_999_999
    ),
    "why": text_field(
        "What you do about it; needed where an incident is named.", title="Why", example="asking the weather service"
    ),
}
DAG_ID = "airworthy__incidents"

if should_build(DAG_ID) and load_catalog().datasets:
    with stage_dag(
        DAG_ID,
        "airworthy",
        schedule=CronTriggerTimetable("*/2 * * * *", timezone="UTC"),
        params=FORM,
        description="Tell people what is wrong, and take an incident",
        doc_md=DOC,
        max_active_runs=1,
        is_paused_upon_creation=False,
    ):
        Incidents(task_id="look", number="{{ params.number or '' }}", why="{{ params.why or '' }}")
