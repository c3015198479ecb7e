"""Registers a trained model as one version with all its digests; a retried request finds it by its own digest."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.errors import Refused
from pipelines.messages.training import ModelDigests
from pipelines.mlflow_client import keeps_artifacts_locally, translate_mlflow_errors
from pipelines.ports import Registry, VersionInfo
from pipelines.steps.models.model_card import training_tags
from pipelines.steps.models.registered_model import (
    INPUTS_DIGEST_TAG,
    JUDGED_DIGEST_TAG,
    MODEL_DIGEST_TAG,
    digests_of,
    inputs_digest,
)
from pipelines.steps.training.model_folder import write_model_folder
from pipelines.steps.training.plan import TrainingPlan, TrainingResult
from pipelines.steps.training.run_record import REQUEST_DIGEST_TAG, RunRecord


@dataclass(frozen=True)
class ModelCard:
    """Descriptions in markdown: of the registered model, and of one version."""

    model: str
    version: str


@dataclass(frozen=True)
class RegisteredVersion:
    version: str
    model_uri: str
    digests: ModelDigests


def find_registered(registry: Registry, model: str, request_digest: str) -> VersionInfo | None:
    """The version that an earlier attempt at the same request registered."""
    for info in registry.versions(model):
        if info.tags.get(REQUEST_DIGEST_TAG) == request_digest:
            return info
    return None


def register(
    record: RunRecord,
    plan: TrainingPlan,
    trained: TrainingResult,
    example: pl.DataFrame,
    facts: Mapping[str, str],
    card: ModelCard,
    before_version: Callable[[ModelDigests], None],
) -> RegisteredVersion:
    """Upload the model folder, link it to the run, and add the version with its card and its short tags in one call.

    ``facts`` are tags of the run; its digests are added to them, where the registry looks them up.
    ``before_version`` is called once the files are uploaded and before the version exists.
    """
    client, model = record.client, plan.request.model
    uri = str(client.tracking_uri)
    with tempfile.TemporaryDirectory(prefix="airworthy-model-") as name, translate_mlflow_errors(uri):
        folder = Path(name)
        logged = client.create_logged_model(record.experiment_id, name=model, source_run_id=record.run_id)
        write_model_folder(
            folder,
            model=model,
            problem=plan.problem,
            estimator=plan.training.estimator.kind,
            native=trained.deployed.native,
            features=trained.deployed_features,
            judged=(trained.fitted.native, trained.features) if trained.refitted else None,
            example=example,
            run_id=record.run_id,
            model_id=logged.model_id,
        )
        digests = digests_of(folder, plan.request.snapshot)
        tag_digests = {MODEL_DIGEST_TAG: digests.model_digest, INPUTS_DIGEST_TAG: inputs_digest(folder)}
        if digests.judged_digest is not None:
            tag_digests[JUDGED_DIGEST_TAG] = digests.judged_digest
        client.log_model_artifacts(logged.model_id, name)
        client.finalize_logged_model(logged.model_id, "READY")
        _link_model(client, record.run_id, logged.model_id)
        record.log_tags(tag_digests)
        _create_registered_model(client, model, card)
        before_version(digests)
        source = logged.artifact_location if keeps_artifacts_locally(uri) else logged.model_uri
        version = client.create_model_version(
            model,
            source,
            run_id=record.run_id,
            tags=training_tags(facts),
            description=card.version,
            model_id=logged.model_id,
            await_creation_for=None,
        )
    return RegisteredVersion(str(version.version), str(logged.model_uri), digests)


def _link_model(client: Any, run_id: str, model_id: str) -> None:
    from mlflow.entities import LoggedModelOutput

    client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])


def _create_registered_model(client: Any, model: str, card: ModelCard) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(model, description=card.model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def model_digest_of(info: VersionInfo) -> str:
    """``Refused`` for a version that training did not register."""
    if MODEL_DIGEST_TAG not in info.tags:
        raise Refused(f"{info.model} version {info.version} has no tag {MODEL_DIGEST_TAG}; it was not trained here")
    return info.tags[MODEL_DIGEST_TAG]
