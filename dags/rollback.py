"""Roll back: one click ends a rollout, or else puts the version before back into the air."""

from airflow.sdk import DAG, Param

from practices._connections.installation import load_catalog
from practices._operators.defaults import DEFAULT_ARGS, asked_for, asset
from practices.release_rollback import ReleaseRollback

DOC = """
### Roll back `{spec.model}`
{spec.description}

Owner: **{spec.owner}**

**restore_previous** takes back what is newest, traffic first: the candidate of a rollout that goes on, a promotion that
is being finished, else the live version. Then it writes the ledger and moves the aliases. It refuses when there is
nothing to go back to. If traffic went back already (`airworthy rollback {spec.model}`), it only writes that down.

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
    "version": Param(
        None,
        type=["null", "string"],
        pattern="^[0-9]+$",
        title="Version",
        description="Take back this version or nothing. Empty: the candidate of a rollout, else the live version.",
        examples=["4"],
    ),
}

for spec in load_catalog().models.values():
    if not asked_for(f"{spec.model}__rollback"):
        continue
    with DAG(
        dag_id=f"{spec.model}__rollback",
        schedule=None,
        params=FORM,
        description=f"Take the newest version of {spec.model} back",
        doc_md=DOC.format(spec=spec),
        tags=[spec.model, "rollback", spec.owner],
        default_args={**DEFAULT_ARGS, "owner": spec.owner},
        max_active_runs=1,
    ):
        ReleaseRollback(
            task_id="restore_previous",
            model=spec.model,
            reason="{{ params.reason }}",
            version="{{ params.version or '' }}",
            outlets=[asset(spec.model, "released")],
        )
