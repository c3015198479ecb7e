"""Roll back: rolls back an active rollout, or else restores the version before the live one."""

from airflow.sdk import Param

from pipelines.ledger import markdown
from practices._connections.installation import load_catalog
from practices._operators.airflow_dag import specs_to_build, stage_dag
from practices._operators.defaults import asset
from practices._operators.form import dry_run_field, version_field
from practices.release_rollback import ReleaseRollback

DOC = """
### Roll back `{spec.model}`
{description}

Owner: **{owner}**

**restore_previous** rolls back the newest version: the candidate of an active rollout, or the version of a promotion
whose rollback window is open, else the live version. It moves the traffic first, then updates ledger and registry. The
log says beforehand and afterwards which version answers next, and warns if that one was itself taken back; *Dry run*
says it and changes nothing. It fails if there is no version to go back to. If the traffic was moved already
(`airworthy rollback {spec.model} --reason "..."`), it only updates the records.

Runs by hand only. The reason is stored in the ledger with your user name.
"""
FORM = {
    "reason": Param(
        "",
        type="string",
        minLength=10,
        maxLength=2000,
        pattern=r"\S",
        title="Reason",
        description="Why the version is rolled back, at least 10 characters. For example: answers for one carrier are"
        " far off since the release.",
    ),
    "version": version_field(
        "Roll back only this version. Empty: the candidate of an active rollout, else the live version.", example="4"
    ),
    "dry_run": dry_run_field("Say in the log which version would answer next, and change nothing."),
}

for spec in specs_to_build(load_catalog().models, "rollback"):
    with stage_dag(
        f"{spec.model}__rollback",
        spec.owner,
        schedule=None,
        params=FORM,
        description=f"Roll back the newest version of {spec.model}",
        doc_md=markdown.fill(DOC, spec=spec),
        max_active_runs=1,
    ):
        ReleaseRollback(
            task_id="restore_previous",
            model=spec.model,
            reason="{{ params.reason }}",
            version="{{ params.version or '' }}",
            report_only="{{ params.dry_run }}",
            outlets=[asset(spec.model, "released")],
        )
