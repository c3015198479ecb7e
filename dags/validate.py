"""Validate: audits each ingested day, publishes its good rows, and builds its features."""

from airflow.sdk import PartitionedAssetTimetable

from pipelines.ledger import markdown
from practices._connections.installation import load_catalog
from practices._operators.airflow_dag import specs_to_build, stage_dag
from practices._operators.defaults import asset
from practices._operators.form import day_field
from practices.point_in_time_features import PointInTimeFeatures
from practices.quarantine import Quarantine

DOC = """
### Validate `{spec.dataset}`
{description}

Owner: **{owner}** · suites in `include/expectations/` · at most {spec.max_quarantined_share:.1%} of a day's rows
may be bad

1. **publish_partition** audits the day, writes bad rows with every reason to `quarantine/…` and the others to
   `validated/…`. With too many bad rows the task fails, and the published tables stay unchanged.
2. **build_features_…** builds the features of the day from what was known at prediction time, and rebuilds those of
   later days whose windows include it.

Starts for each day of `{spec.dataset}:ingested`, in any order, or by hand for one day. Validating a day twice gives the
same tables.
"""
FORM = {"day": day_field("The ingested day to validate in a manual run. Empty: the run's partition key.")}

catalog = load_catalog()
for spec in specs_to_build(catalog.datasets, "validate"):
    with stage_dag(
        f"{spec.dataset}__validate",
        spec.owner,
        schedule=PartitionedAssetTimetable(assets=asset(spec.dataset, "ingested")),
        params=FORM,
        description=f"Audit each day of {spec.dataset}, publish its good rows, build its features",
        doc_md=markdown.fill(DOC, spec=spec),
        max_active_runs=4,
    ):
        publish = Quarantine(
            task_id="publish_partition", dataset=spec.dataset, outlets=[asset(spec.dataset, "validated")]
        )
        for view in catalog.views_of(spec.dataset):
            publish >> PointInTimeFeatures(
                task_id=f"build_features_{view.view}", view=view.view, outlets=[asset(view.view, "features")]
            )
