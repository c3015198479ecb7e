"""Arrive: ingests a partition that lands before or after its scheduled wait, or is delivered again."""

from airflow.sdk import AssetWatcher

from pipelines.ledger import markdown
from practices._arrivals.late_partitions import LatePartitions
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

The triggerer watches the landing folder, or a queue of S3 messages about it. This DAG starts for a {noun} that lands
before its scheduled run begins or after it has stopped waiting, that was never scheduled, or that is delivered again:

1. **list_late_days** lists the delivered {noun}s that were neither ingested nor refused.
2. **ingest_late_day** ingests each of them like `{spec.dataset}__ingest`; `{spec.dataset}__validate` follows.

A refused delivery is not tried again until the source replaces it. A manual run checks all {noun}s at once.
"""

for spec in specs_to_build(load_catalog().datasets, "arrive"):
    arrival, noun = spec.arrival, spec.partition_calendar.noun
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
        description=f"Ingest {noun}s of {spec.dataset} that landed early or late or were delivered again",
        doc_md=markdown.fill(DOC, spec=spec, noun=noun),
        max_active_runs=1,
    ):
        late_partitions = LatePartitions(task_id="list_late_days", dataset=spec.dataset)
        ContractCheck.partial(
            task_id="ingest_late_day",
            dataset=spec.dataset,
            outlets=[asset(spec.dataset, "ingested")],
            max_active_tis_per_dagrun=4,
        ).expand(partition=late_partitions.output)
