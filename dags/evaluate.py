"""Evaluate: measure candidate and champion, judge the candidate by every gate, approve it if all pass."""

from pipelines.ledger import markdown
from practices._connections.installation import load_catalog
from practices._operators.airflow_dag import specs_to_build, stage_dag
from practices._operators.defaults import asset
from practices._operators.form import version_field
from practices._operators.model import ReturnedBy
from practices.candidate_evaluation import CandidateEvaluation
from practices.champion_comparison_gate import ChampionComparisonGate
from practices.minimum_metrics_gate import MinimumMetricsGate
from practices.semantic_versioning import SemanticVersioning
from practices.slice_gate import SliceGate

DOC = """
### Evaluate `{spec.model}`
{description}

Owner: **{owner}** · gates declared under `evaluation` in `include/models/{spec.model}.yaml`

1. **measure_candidate** measures candidate, champion and anchor on the same rows, later than their training data; where
   these are fewer than 20 days, by models trained again on earlier days.
2. **check_minimum_metrics**, **compare_with_champion** and **check_slices** judge these numbers independently. Each
   verdict is in the registry and the ledger. If a gate rejects the candidate, its task and the following ones are
   *skipped* (pink). A gate *fails* if a number that it needs was not measured.
3. **approve_candidate** gives the version its semantic version; `{spec.model}__deploy` follows.

Starts for each new candidate, or by hand with a version to judge it again.
"""
FORM = {"version": version_field("The registry's number of the version to judge. Empty: the newest candidate.")}

for spec in specs_to_build(load_catalog().models, "evaluate"):
    with stage_dag(
        f"{spec.model}__evaluate",
        spec.owner,
        schedule=[asset(spec.model, "candidate")],
        params=FORM,
        description=f"Measure a candidate of {spec.model} and judge it by every gate",
        doc_md=markdown.fill(DOC, spec=spec),
    ):
        model, approved, one_at_a_time = spec.model, asset(spec.model, "approved"), {"max_active_tis_per_dag": 1}
        measure = CandidateEvaluation(task_id="measure_candidate", model=model, **one_at_a_time)
        gates = [
            MinimumMetricsGate(task_id="check_minimum_metrics", model=model, evaluation=measure.output),
            ChampionComparisonGate(task_id="compare_with_champion", model=model, evaluation=measure.output),
            SliceGate(task_id="check_slices", model=model, evaluation=measure.output),
        ]
        gates >> SemanticVersioning(
            task_id="approve_candidate",
            model=model,
            evaluation=ReturnedBy(measure.task_id),
            outlets=[approved],
            **one_at_a_time,
        )
