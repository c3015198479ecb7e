"""Arrive: a day that lands after its scheduled wait, or is delivered anew, is taken up by itself within seconds."""

from airflow.sdk import DAG, AssetWatcher

from practices._arrivals.late_days import LateDays
from practices._arrivals.sqs_trigger import QueuedArrivals
from practices._arrivals.trigger import LateArrivals
from practices._connections.installation import load_catalog
from practices._operators.defaults import DEFAULT_ARGS, asked_for, asset
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

for spec in load_catalog().datasets.values():
    if not asked_for(f"{spec.dataset}__arrive"):
        continue
    told = spec.arrival
    trigger = (
        QueuedArrivals(spec.dataset, told.queue, told.connection, poll_seconds=told.poll_minutes * 60)
        if told
        else LateArrivals(spec.dataset)
    )
    watcher = AssetWatcher(name=f"{spec.dataset}_landing", trigger=trigger)
    with DAG(
        dag_id=f"{spec.dataset}__arrive",
        schedule=[asset(spec.dataset, "arrived", watchers=[watcher])],
        description=f"Take up days of {spec.dataset} that landed late or anew",
        doc_md=DOC.format(spec=spec),
        tags=[spec.dataset, "arrive", spec.owner],
        default_args={**DEFAULT_ARGS, "owner": spec.owner},
        max_active_runs=1,
        catchup=False,
    ):
        late = LateDays(task_id="list_late_days", dataset=spec.dataset)
        ContractCheck.partial(
            task_id="ingest_late_day",
            dataset=spec.dataset,
            outlets=[asset(spec.dataset, "ingested")],
            max_active_tis_per_dagrun=4,
        ).expand(day=late.output)
