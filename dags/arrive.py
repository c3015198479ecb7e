"""Arrive: takes up a day that lands after its scheduled wait, or is delivered again."""

from airflow.sdk import AssetWatcher

from practices._arrivals.late_days import LateDays
from practices._arrivals.sqs_trigger import QueuedArrivals
from practices._arrivals.trigger import LateArrivals
from practices._connections.installation import load_catalog
from practices._operators.airflow_dag import specs_to_build, stage_dag
from practices._operators.defaults import asset
from practices.contract_check import ContractCheck

DOC = """
### Late arrivals of `{spec.dataset}`
{spec.description}

Owner: **{spec.owner}** · declared in `include/datasets/{spec.dataset}.yaml`

The triggerer watches the landing folder, or the queue that tells of it. A day whose scheduled run has stopped waiting,
or that was never scheduled, and a day that was delivered anew start this DAG:

1. **list_late_days** says which days nobody has dealt with.
2. **ingest_late_day** does for each what `{spec.dataset}__ingest` does, and sends it on to `{spec.dataset}__validate`.

A delivery that was refused is not tried again until the source replaces it. Triggering this DAG by hand looks at once.
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
        description=f"Take up days of {spec.dataset} that landed late or anew",
        doc_md=DOC.format(spec=spec),
        max_active_runs=1,
    ):
        late_days = LateDays(task_id="list_late_days", dataset=spec.dataset)
        ContractCheck.partial(
            task_id="ingest_late_day",
            dataset=spec.dataset,
            outlets=[asset(spec.dataset, "ingested")],
            max_active_tis_per_dagrun=4,
        ).expand(day=late_days.output)
