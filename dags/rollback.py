"""Roll back: one click puts the version before back into the air."""

from airflow.sdk import DAG, Param

from practices._hooks import load_catalog
from practices.defaults import DEFAULT_ARGS, asked_for, asset
from practices.release_rollback import ReleaseRollback

DOC = """
### Roll back `{spec.model}`
{spec.description}

Owner: **{spec.owner}**

**restore_previous** puts the version before back, traffic first, then writes the ledger and moves the aliases. It
refuses when there is no version to go back to. If traffic went back already (`airworthy rollback {spec.model}`), it
brings the records up to date.

Runs by hand only. Say why: the reason is kept in the ledger beside your name.
"""
FORM = {
    "reason": Param(
        "",
        type="string",
        title="Reason",
        description="Why the live version is taken back.",
        examples=["Predictions for one carrier are far off since the release"],
    )
}

for spec in load_catalog().models.values():
    if not asked_for(f"{spec.model}__rollback"):
        continue
    with DAG(
        dag_id=f"{spec.model}__rollback",
        schedule=None,
        params=FORM,
        description=f"Put the previous version of {spec.model} back",
        doc_md=DOC.format(spec=spec),
        tags=[spec.model, "rollback", spec.owner],
        default_args={**DEFAULT_ARGS, "owner": spec.owner},
        max_active_runs=1,
    ):
        ReleaseRollback(
            task_id="restore_previous",
            model=spec.model,
            reason="{{ params.reason }}",
            outlets=[asset(spec.model, "released")],
        )
