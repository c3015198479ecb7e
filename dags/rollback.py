"""Roll back: ends a rollout, or else puts the version before the live one back."""

from airflow.sdk import Param

from practices._connections.installation import load_catalog
from practices._operators.airflow_dag import specs_to_build, stage_dag
from practices._operators.defaults import asset
from practices._operators.form import version_field
from practices.release_rollback import ReleaseRollback

DOC = """
### Roll back `{spec.model}`
{spec.description}

Owner: **{spec.owner}**

**restore_previous** takes back what is newest, traffic first: the candidate of a rollout that goes on, a promotion that
is being finished, else the live version. Then it writes the ledger and moves the aliases. It refuses when there is
nothing to go back to. If traffic went back already (`airworthy rollback {spec.model} --reason "..."`), it only writes
that down.

Runs by hand only. Say why: the reason is kept in the ledger beside your name.
"""
FORM = {
    "reason": Param(
        "",
        type="string",
        minLength=10,
        title="Reason",
        description="Why it is taken back, in ten letters or more.",
        examples=["Predictions for one carrier are far off since the release"],
    ),
    "version": version_field(
        "Take back this version or nothing. Empty: the candidate of a rollout, else the live version.", example="4"
    ),
}

for spec in specs_to_build(load_catalog().models, "rollback"):
    with stage_dag(
        f"{spec.model}__rollback",
        spec.owner,
        schedule=None,
        params=FORM,
        description=f"Take the newest version of {spec.model} back",
        doc_md=DOC.format(spec=spec),
        max_active_runs=1,
    ):
        ReleaseRollback(
            task_id="restore_previous",
            model=spec.model,
            reason="{{ params.reason }}",
            version="{{ params.version or '' }}",
            outlets=[asset(spec.model, "released")],
        )
