"""Validate: audits each ingested partition, publishes its good rows, and builds its features."""

from airflow.sdk import PartitionedAssetTimetable

from pipelines.ledger import markdown
from practices._connections.installation import load_catalog
from practices._operators.airflow_dag import specs_to_build, stage_dag
from practices._operators.defaults import asset
from practices._operators.form import partition_fields
from practices.point_in_time_features import PointInTimeFeatures
from practices.quarantine import Quarantine

DOC = """
### Validate `{spec.dataset}`
{description}

Owner: **{owner}** · suites in `include/expectations/` · at most {spec.max_quarantined_share:.1%} of the rows of a
{noun} may be bad

1. **publish_partition** audits the {noun}, writes bad rows with every reason to `quarantine/…` and the others to
   `validated/…`. With too many bad rows the task fails, and the published tables stay unchanged.
2. **build_features_…** builds the features of the day from what was known at prediction time, and those of later days
   whose windows include it; judges each day, publishes what passes and removes what does not. Of a view by week or
   month it builds the period that the day completes, and is *skipped* where there is none.

Starts for each {noun} of `{spec.dataset}:ingested`, in any order, or by hand for one. Validating a {noun} twice gives
the same tables.
"""

catalog = load_catalog()
for spec in specs_to_build(catalog.datasets, "validate"):
    calendar = spec.partition_calendar
    noun = calendar.noun
    with stage_dag(
        f"{spec.dataset}__validate",
        spec.owner,
        schedule=PartitionedAssetTimetable(assets=asset(spec.dataset, "ingested")),
        params=partition_fields(calendar, f"The ingested {noun} to validate by hand. Empty: the run's partition key."),
        description=f"Audit each {noun} of {spec.dataset}, publish its good rows, build its features",
        doc_md=markdown.fill(DOC, spec=spec, noun=noun),
        max_active_runs=4,
    ):
        publish = Quarantine(
            task_id="publish_partition", dataset=spec.dataset, outlets=[asset(spec.dataset, "validated")]
        )
        for view in catalog.views_of(spec.dataset):
            publish >> PointInTimeFeatures(
                task_id=f"build_features_{view.view}", view=view.view, outlets=[asset(view.view, "features")]
            )
