"""Deploy: an approved version goes live in one switch; the version before stays ready to be put back."""

from airflow.sdk import DAG, Param

from practices._hooks import load_catalog
from practices.champion_release import ChampionRelease
from practices.defaults import DEFAULT_ARGS, asked_for, asset

DOC = """
### Deploy `{spec.model}`
{spec.description}

Owner: **{spec.owner}**

**release_champion** builds the bundle that the gateway serves and checks that it answers like the registered model;
asks the ledger whether every gate passed for this very model file and the version was approved; switches traffic and
reads it back; then moves the aliases `champion` and `previous` and writes the release to the ledger.
Killed at any moment, it ends right when it is tried again.

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
        doc_md=DOC.format(spec=spec),
        tags=[spec.model, "deploy", spec.owner],
        default_args={**DEFAULT_ARGS, "owner": spec.owner},
    ):
        ChampionRelease(
            task_id="release_champion",
            model=spec.model,
            outlets=[asset(spec.model, "released")],
            max_active_tis_per_dag=1,
        )
