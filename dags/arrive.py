"""Arrive: ingests a day that lands after its scheduled wait or is delivered again."""

from airflow.sdk import AssetWatcher

from pipelines.ledger import markdown
from practices._arrivals.late_days import LateDays
from practices._arrivals.sqs_trigger import QueuedArrivals
from practices._arrivals.trigger import LateArrivals
from practices._connections.installation import load_catalog
from practices._operators.airflow_dag import specs_to_build, stage_dag
from practices._operators.defaults import asset
from practices.contract_check import ContractCheck

DOC = """
### Late arrivals of `{spec.dataset}`
{description}

Owner: **{owner}** · declared in `include/datasets/{spec.dataset}.yaml`

The triggerer watches the landing folder, or a queue of S3 messages about it. This DAG starts for a day that lands after
its scheduled run has stopped waiting, that was never scheduled, or that is delivered again:

1. **list_late_days** lists the delivered days that were neither ingested nor refused.
2. **ingest_late_day** ingests each of them like `{spec.dataset}__ingest`; `{spec.dataset}__validate` follows.

A refused delivery is not tried again until the source replaces it. A manual run checks all days at once.
"""

for spec in specs_to_build(load_catalog().datasets, "arrive"):
    arrival = spec.arrival
    trigger = (
        QueuedArrivals(spec.dataset, arrival.queue, arrival.connection, poll_seconds=arrival.poll_minutes * 60)
        if arrival
        else LateArrivals(spec.dataset)
    )
    watcher = AssetWatcher(name=f"{spec.dataset}_landing", trigger=trigger)
    with stage_dag(
        f"{spec.dataset}__arrive",
        spec.owner,
        schedule=[asset(spec.dataset, "arrived", watchers=[watcher])],
        description=f"Ingest days of {spec.dataset} that landed late or were delivered again",
        doc_md=markdown.fill(DOC, spec=spec),
        max_active_runs=1,
    ):
        late_days = LateDays(task_id="list_late_days", dataset=spec.dataset)
        ContractCheck.partial(
            task_id="ingest_late_day",
            dataset=spec.dataset,
            outlets=[asset(spec.dataset, "ingested")],
            max_active_tis_per_dagrun=4,
        ).expand(day=late_days.output)
