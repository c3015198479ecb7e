"""Reads what monitoring compares a version with: the profile that its training stored."""

from __future__ import annotations

from pipelines import store_paths
from pipelines.ports import Store
from pipelines.tables.profile import TrainingProfile


def read_training_profile(store: Store, model: str, version: str) -> TrainingProfile | None:
    """None for a version whose training stored none."""
    path = store_paths.training_profile(model, version)
    return TrainingProfile.model_validate_json(store.get(path)) if store.exists(path) else None


def missing_profile(model: str, version: str) -> str:
    """The note of a check that has no profile to compare with."""
    path = store_paths.training_profile(model, version)
    return f"{path} is missing: version {version} has no training profile to compare with"
