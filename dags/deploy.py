"""Deploy: brings an approved version to its traffic in the declared stages; shown to be bad, it is rolled back."""

from practices._connections.installation import load_catalog
from practices._deploy.stages import build_stages
from practices._operators.airflow_dag import specs_to_build, stage_dag
from practices._operators.defaults import asset
from practices._operators.form import version_field

DOC = """
### Deploy `{spec.model}`
{spec.description}

Owner: **{spec.owner}** · strategy: **{spec.deployment.strategy}**

{stages}

Each verdict is in the task's log and in its XCom `reasons` and `facts`. Killed at any moment, a task ends right when it
is tried again; with Airflow gone, the target's own guard and lease go on.

Follows each approval; by hand with a version that was approved before. To go back, trigger `{spec.model}__rollback`.
"""
FORM = {"version": version_field("The registry's number of an approved version. Empty: the newest approval.")}

for spec in specs_to_build(load_catalog().models, "deploy"):
    with stage_dag(
        f"{spec.model}__deploy",
        spec.owner,
        schedule=[asset(spec.model, "approved")],
        params=FORM,
        description=f"Make an approved version of {spec.model} live",
    ) as dag:
        dag.doc_md = DOC.format(spec=spec, stages=build_stages(spec))
