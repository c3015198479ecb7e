"""Train: take a snapshot of the training data, train on it, register the model as a candidate."""

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable

from pipelines.ledger import markdown
from pipelines.spec.model import LARGEST_SEED
from pipelines.spec.retraining import RECENT_DAYS
from practices._connections.installation import load_catalog
from practices._operators.airflow_dag import specs_to_build, stage_dag
from practices._operators.defaults import asset, gpu_slots
from practices._operators.form import count_field, day_field, text_field
from practices.reproducible_training import ReproducibleTraining
from practices.training_snapshot import TrainingSnapshot

DOC = """
### Train `{spec.model}`
{description}

Owner: **{owner}** · declared in `include/models/{spec.model}.yaml` · schedule `{spec.training.schedule}`

1. **take_snapshot** stores the features and labels known at one time, named by digest; with too few rows it fails.
   After a loss of performance it tries the newest rows alone, too, and takes what predicted the newest days better.
2. **train_model** trains and registers a candidate; a retry continues from the last checkpoint; GPUs: pool `gpu`.

Starts on schedule, on a retrain request, by hand (*Trigger*, with a form) and in backfills (one training per date).
`{spec.model}__evaluate` follows. Reproduce a training with `airworthy reproduce {spec.model} <version>`.
"""
FORM = {
    "hypothesis": text_field(
        "What this training is expected to show.", title="Hypothesis", example="two more weeks tell spring from winter"
    ),
    "as_of": day_field(
        "Train on the data known at the end of this day. Empty: now, or the date of the scheduled run.",
        title="As of",
        example="2013-02-28",
    ),
    "recent_days": count_field(
        "Try the rows of so many newest days alone, too, and take what predicts better. Empty: all rows.",
        title="Recent days",
        **RECENT_DAYS,
    ),
    "seed": count_field("Empty: the declared seed.", title="Seed", maximum=LARGEST_SEED),
}

for spec in specs_to_build(load_catalog().models, "train"):
    timetable = CronTriggerTimetable(spec.training.schedule, timezone="UTC")
    with stage_dag(
        f"{spec.model}__train",
        spec.owner,
        schedule=AssetOrTimeSchedule(timetable=timetable, assets=[asset(spec.model, "retrain_requested")]),
        params=FORM,
        description=f"Train {spec.model} and register a candidate",
        doc_md=markdown.fill(DOC, spec=spec),
        max_active_runs=spec.training.max_active,
    ):
        snapshot = TrainingSnapshot(task_id="take_snapshot", model=spec.model)
        candidate = asset(spec.model, "candidate")
        ReproducibleTraining(
            task_id="train_model", model=spec.model, snapshot=snapshot.output, outlets=[candidate], **gpu_slots(spec)
        )
