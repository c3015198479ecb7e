"""Catch up: validates the partitions that were ingested while validation was paused."""

from airflow.sdk import AssetWatcher

from pipelines.ledger import markdown
from practices._arrivals.backlog_trigger import UnauditedDays
from practices._connections.installation import load_catalog
from practices._operators.airflow_dag import specs_to_build, stage_dag
from practices._operators.defaults import asset
from practices.validation_backlog import ValidationBacklog

DOC = """
### Catch up with `{spec.dataset}`
{description}

Owner: **{owner}** · declared in `include/datasets/{spec.dataset}.yaml`

Airflow drops the events that a paused DAG would start for. The triggerer watches the ledger for {noun}s that were
ingested and not audited since:

1. **hand_on_days** sends their events again once `{spec.dataset}__validate` is unpaused and has no unfinished run;
   until then it is *skipped* (pink) and says which {noun}s wait. Each delivery is handed on once.

Runs by itself, and by hand at any time.
"""

for spec in specs_to_build(load_catalog().datasets, "catch_up"):
    noun = spec.partition_calendar.noun
    watcher = AssetWatcher(name=f"{spec.dataset}_unaudited", trigger=UnauditedDays(spec.dataset))
    with stage_dag(
        f"{spec.dataset}__catch_up",
        spec.owner,
        schedule=[asset(spec.dataset, "unaudited", watchers=[watcher])],
        description=f"Validate {noun}s of {spec.dataset} that were ingested while validation was paused",
        doc_md=markdown.fill(DOC, spec=spec, noun=noun),
        max_active_runs=1,
        is_paused_upon_creation=False,
    ):
        ValidationBacklog(task_id="hand_on_days", dataset=spec.dataset, outlets=[asset(spec.dataset, "ingested")])
