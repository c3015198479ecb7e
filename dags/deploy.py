"""Deploy: an approved version comes to its traffic in the declared stages; what is shown to be bad loses it at once."""

from airflow.sdk import DAG, Param

from practices._connections.installation import load_catalog
from practices._deploy.stages import lay_out
from practices._operators.defaults import DEFAULT_ARGS, asked_for, asset

DOC = """
### Deploy `{spec.model}`
{spec.description}

Owner: **{spec.owner}** · strategy: **{spec.deployment.strategy}**

{stages}

Each verdict is in the task's log and in its XCom `reasons` and `facts`. Killed at any moment, a task ends right when it
is tried again; with Airflow gone, the target's own guard and lease go on.

Follows each approval; by hand with a version that was approved before. To go back, trigger `{spec.model}__rollback`.
"""
FORM = {
    "version": Param(
        None,
        type=["null", "string"],
        pattern="^[0-9]+$",
        title="Version",
        description="The registry's number of an approved version. Empty: the newest approval.",
        examples=["3"],
    )
}

for spec in load_catalog().models.values():
    if not asked_for(f"{spec.model}__deploy"):
        continue
    with DAG(
        dag_id=f"{spec.model}__deploy",
        schedule=[asset(spec.model, "approved")],
        params=FORM,
        description=f"Make an approved version of {spec.model} live",
        tags=[spec.model, "deploy", spec.owner],
        default_args={**DEFAULT_ARGS, "owner": spec.owner},
    ) as dag:
        dag.doc_md = DOC.format(spec=spec, stages=lay_out(spec))
