"""Deploy: gives an approved version traffic in the declared stages, and rolls it back if it is shown to be worse."""

from pipelines.ledger import markdown
from practices._connections.installation import load_catalog
from practices._deploy.stages import build_stages
from practices._operators.airflow_dag import specs_to_build, stage_dag
from practices._operators.defaults import asset
from practices._operators.form import version_field

DOC = """
### Deploy `{spec.model}`
{description}

Owner: **{owner}** · strategy: **{spec.deployment.strategy}**

{stages}

Each verdict is in the task's log and in its XComs `reasons` and `facts`. A killed task is retried and continues. While
Airflow is down, the gateway still enforces guard and lease; other targets do not.

Starts for each approval, or by hand with an approved version. To roll back, trigger `{spec.model}__rollback`.
"""
VERSION = (
    "The registry's number of an approved version. Empty: the newest approved version that is not live. A version that"
    " was live, or was taken back from callers, has to be named."
)
FORM = {"version": version_field(VERSION)}

for spec in specs_to_build(load_catalog().models, "deploy"):
    with stage_dag(
        f"{spec.model}__deploy",
        spec.owner,
        schedule=[asset(spec.model, "approved")],
        params=FORM,
        description=f"Make an approved version of {spec.model} live",
    ) as dag:
        dag.doc_md = markdown.fill(DOC, spec=spec, stages=build_stages(spec))
