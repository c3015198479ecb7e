"""What a training leaves on its MLflow run, so that it can be done again: plan, environment, result of the search."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pydantic import ValidationError

from pipelines.errors import Refused
from pipelines.mlflow_client import open_client, translate_mlflow_errors
from pipelines.ports import Ports, VersionInfo
from pipelines.spec.fault_text import fault_texts
from pipelines.steps.training.environment import Environment
from pipelines.steps.training.plan import TrainingPlan
from pipelines.steps.training.search import Trial

PLAN_FILE, RESULT_FILE, ENVIRONMENT_FILE = "training/order.json", "training/result.json", "training/environment.json"
LOCK_FILE, TRIAL_FILE, SNAPSHOT_FILE = "training/environment.txt", "training/best_trial.json", "training/snapshot.json"


def read_training_record(info: VersionInfo, ports: Ports) -> tuple[TrainingPlan, Environment, Trial | None]:
    """``Refused`` for a version without a readable record. The trial is None where nothing was searched."""
    client = open_client(ports.settings.tracking)
    with tempfile.TemporaryDirectory() as folder:
        with translate_mlflow_errors(ports.settings.tracking):
            record_folder = Path(client.download_artifacts(info.run_id, str(Path(PLAN_FILE).parent), folder))
        try:
            plan = TrainingPlan.model_validate_json((record_folder / Path(PLAN_FILE).name).read_bytes())
            recorded = Environment.model_validate_json((record_folder / Path(ENVIRONMENT_FILE).name).read_bytes())
            trial_file = record_folder / Path(TRIAL_FILE).name
            trial = Trial.model_validate_json(trial_file.read_bytes()) if trial_file.exists() else None
        except OSError as error:
            raise Refused(f"{info.model} version {info.version} has no record of its training", [str(error)]) from error
        except ValidationError as error:
            subject = f"the record of the training of {info.model} version {info.version} cannot be used"
            raise Refused(subject, fault_texts(error)) from error
    if plan.training.search is not None and trial is None:
        raise Refused(f"{info.model} version {info.version} has a search but no record of its result")
    return plan, recorded, trial
