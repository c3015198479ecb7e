"""Ingest: reads each delivered day into the raw tables if it satisfies its contract."""

from pipelines.ledger import markdown
from pipelines.spec.durations import written_duration
from practices._connections.installation import load_catalog
from practices._operators.airflow_dag import specs_to_build, stage_dag
from practices._operators.defaults import asset, daily_schedule
from practices._operators.form import day_field
from practices.contract_check import ContractCheck
from practices.partition_arrival import PartitionArrival

DOC = """
### Ingest `{spec.dataset}`
{description}

Owner: **{owner}** · declared in `include/datasets/{spec.dataset}.yaml` · one run per day, key `YYYY-MM-DD`,
begins when the day is over ({spec.partition.timezone}); files are due {due} later

1. **wait_for_partition** waits (deferred, without a worker) for the manifest of every source, at most
   {wait} after the files are due.
2. **ingest_partition** checks digests, columns, types, categories and keys. If the day violates its contract, the task
   fails and lists every violation; nothing of the day is used, and other days are not affected. Have the source
   corrected; `{spec.dataset}__arrive` ingests the new delivery, or *Clear* the task.

Backfill any range in any order (*Trigger → Backfill*, or `airflow backfill create --dag-id {spec.dataset}__ingest
--from-date 2013-01-01 --to-date 2013-01-31`); ingesting a day twice gives the same tables. `{spec.dataset}__validate`
follows for each day.
"""
FORM = {"day": day_field("The day to ingest in a manual run. Empty: the run's partition key.")}

for spec in specs_to_build(load_catalog().datasets, "ingest"):
    with stage_dag(
        f"{spec.dataset}__ingest",
        spec.owner,
        **daily_schedule(spec.partition),
        params=FORM,
        description=f"Read each day of {spec.dataset} that satisfies its contract",
        doc_md=markdown.fill(
            DOC, spec=spec, due=written_duration(spec.partition.due), wait=written_duration(spec.partition.wait)
        ),
        max_active_runs=4,
    ):
        arrival = PartitionArrival(task_id="wait_for_partition", dataset=spec.dataset, retries=1)
        arrival >> ContractCheck(
            task_id="ingest_partition", dataset=spec.dataset, outlets=[asset(spec.dataset, "ingested")]
        )
