"""Ingest: reads each delivered partition into the raw tables if it satisfies its contract."""

from pipelines.ledger import markdown
from pipelines.spec.durations import written_duration
from practices._connections.installation import load_catalog
from practices._operators.airflow_dag import specs_to_build, stage_dag
from practices._operators.defaults import asset, partition_schedule
from practices._operators.form import partition_fields
from practices.contract_check import ContractCheck
from practices.partition_arrival import PartitionArrival

DOC = """
### Ingest `{spec.dataset}`
{description}

Owner: **{owner}** · declared in `include/datasets/{spec.dataset}.yaml` · one run per {noun}, key as `{example}`,
begins when the {noun} is over ({spec.partition.timezone}); files are due {due} later

1. **wait_for_partition** waits (deferred, without a worker) for the manifest of every source, at most
   {wait} after the files are due.
2. **ingest_partition** reads tables of databases, and checks digests, columns, types, categories and keys. If the
   {noun} violates its contract, the task fails and lists every violation; nothing of it is used, and other {noun}s are
   not affected. Have the source corrected; `{spec.dataset}__arrive` ingests the new delivery, or *Clear* the task.

Backfill any range in any order (*Trigger → Backfill*, or `airflow backfill create --dag-id {spec.dataset}__ingest
--from-date 2013-01-01 --to-date 2013-01-31`); ingesting a {noun} twice gives the same tables.
`{spec.dataset}__validate` follows for each {noun}.
"""

for spec in specs_to_build(load_catalog().datasets, "ingest"):
    calendar = spec.partition_calendar
    noun = calendar.noun
    with stage_dag(
        f"{spec.dataset}__ingest",
        spec.owner,
        **partition_schedule(calendar),
        params=partition_fields(calendar, f"The {noun} to ingest in a manual run. Empty: the run's partition key."),
        description=f"Read each {noun} of {spec.dataset} that satisfies its contract",
        doc_md=markdown.fill(
            DOC,
            spec=spec,
            noun=noun,
            example=calendar.example,
            due=written_duration(spec.partition.due),
            wait=written_duration(spec.partition.wait),
        ),
        max_active_runs=4,
    ):
        arrival = PartitionArrival(task_id="wait_for_partition", dataset=spec.dataset, retries=1)
        arrival >> ContractCheck(
            task_id="ingest_partition", dataset=spec.dataset, outlets=[asset(spec.dataset, "ingested")]
        )
