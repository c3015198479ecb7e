"""What is logged on a training's run before its first round: parameters, data, and the score to beat."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from pipelines.ledger.version_state import State
from pipelines.mlflow_client import translate_mlflow_errors
from pipelines.ports import Registry
from pipelines.spec.model import LOWER_IS_BETTER
from pipelines.steps.training.run_record import RunRecord
from pipelines.steps.training.snapshot import Snapshot
from pipelines.versions.standing import STATUS_TAG

MAX_DIGEST_LENGTH = 36
"""MLflow keeps no more of a dataset's digest."""


def flatten(declared: BaseModel) -> dict[str, Any]:
    """``{"estimator.parameters.max_depth": 6, ...}``: every declared value under its path."""
    flat: dict[str, Any] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict) and value:
            for name, inner in value.items():
                walk(f"{prefix}.{name}" if prefix else str(name), inner)
        elif value is not None:
            flat[prefix] = value

    walk("", declared.model_dump())
    return flat


def data_metrics(snapshot: Snapshot, problem: str) -> dict[str, float]:
    """Rows per part, and their share of positives or their mean target."""
    metrics: dict[str, float] = {"data/rows": float(sum(facts.rows for facts in snapshot.targets.values()))}
    for part, facts in snapshot.targets.items():
        if not facts.rows:
            continue
        metrics[f"data/{part}_rows"] = float(facts.rows)
        if facts.mean is not None:
            metrics[f"data/{part}_{'positive_share' if problem == 'classification' else 'mean_target'}"] = facts.mean
    return metrics


def log_dataset_input(record: RunRecord, snapshot: Snapshot) -> None:
    """Link the snapshot to the run by digest and address; its rows are not uploaded."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    facts = snapshot.record
    dataset = Dataset(
        name=f"{facts.model} snapshot",
        digest=facts.digest[:MAX_DIGEST_LENGTH],
        source_type="local",
        source=json.dumps({"uri": facts.uri}),
        schema=json.dumps({"mlflow_colspec": _columns(snapshot)}),
        profile=json.dumps({"num_rows": facts.rows, "table_versions": facts.table_versions}),
    )
    with translate_mlflow_errors(str(record.client.tracking_uri)):
        record.client.log_inputs(record.run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def previous_best(registry: Registry, model: str, metric: str) -> str:
    """``roc_auc 0.712 (version 3, champion)``: the validation score of the champion, else of the best version.

    The champion is the version whose status is live: a pod reaches neither target nor ledger, an alias may be moved.
    """
    key = f"validation_{metric}"
    scored = [info for info in registry.versions(model) if key in info.metrics]
    for info in scored:
        if info.tags.get(STATUS_TAG) == State.LIVE.value:
            return f"{metric} {info.metrics[key]:.6g} (version {info.version}, champion)"
    if not scored:
        return "none"
    best = (min if metric in LOWER_IS_BETTER else max)(scored, key=lambda info: info.metrics[key])
    return f"{metric} {best.metrics[key]:.6g} (version {best.version})"


def _columns(snapshot: Snapshot) -> list[dict[str, str]]:
    kinds = {True: "double", False: "string"}
    return [{"name": name, "type": kinds[snapshot.columns[name].is_numeric()]} for name in snapshot.record.features]
