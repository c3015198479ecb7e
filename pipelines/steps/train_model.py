"""Trains, records and registers one candidate; the same request again goes on from a checkpoint or finds it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import polars as pl

from pipelines import store_paths
from pipelines.messages.training import TrainRequest, TrainResult
from pipelines.mlflow_client import mlflow_answers, open_client
from pipelines.ports import Ports, VersionInfo
from pipelines.steps.models.registered_model import MODEL_DIGEST_TAG, load_model
from pipelines.steps.training import plots
from pipelines.steps.training.device import DEVICES
from pipelines.steps.training.environment import environment, installed
from pipelines.steps.training.facts import data_metrics, dataset_input, flattened, previous_best
from pipelines.steps.training.order import (
    TrainingPlan,
    TrainingResult,
    checkpoints_of,
    execute_plan,
    plan_training,
    team_of,
)
from pipelines.steps.training.registration import find_registered, register
from pipelines.steps.training.run_record import REQUEST_DIGEST_TAG, RunRecord, recorded_run
from pipelines.steps.training.search import Trial
from pipelines.steps.training.snapshot import Snapshot, open_snapshot
from pipelines.tables.encoding import encode
from pipelines.tables.profile import TableProfile, merge_profiles, profile_frame

ORDER, RESULT, ENVIRONMENT = "training/order.json", "training/result.json", "training/environment.json"
LOCK, TRIAL, SNAPSHOT = "training/environment.txt", "training/best_trial.json", "training/snapshot.json"
LAUNCH = "AIRWORTHY_RUN"
"""Set where the step runs in a pod: the launch's folder in the store, which other pods of it may join."""
Predict = Callable[[pl.DataFrame], Any]


def run(request: TrainRequest, ports: Ports) -> TrainResult:
    """Train, record, register, profile. ``Refused`` for a faulty plan or snapshot, ``Unavailable`` without MLflow."""
    started = ports.clock()
    snapshot = open_snapshot(ports.store, request.model, request.snapshot)
    order = plan_training(request, snapshot.record.features, ports)
    earlier = _earlier(order, ports)
    if earlier:
        return _found_again(earlier, snapshot, ports)
    client = open_client(ports.settings.tracking)
    tags = _tags(order, ports)
    name = f"{request.trigger}-{started:%Y%m%d-%H%M%S}"
    with recorded_run(client, request.model, ports.settings.home, ports.clock, name=name, tags=tags) as record:
        _describe(record, order, snapshot)
        filled = execute_plan(
            order,
            snapshot,
            checkpoints=checkpoints_of(order, ports),
            on_round=record.round,
            on_trial=lambda trial: _keep_trial(record, order, trial),
            seconds=lambda: _seconds(started, ports.clock()),
            team=team_of(order, ports, os.environ.get(LAUNCH)),
        )
        _report(record, filled)
        result = _register(record, order, filled, snapshot, tags, started, ports)
    _profile(order.features, snapshot, ports, result.version, lambda rows: _answers(filled, rows))
    return result


def _earlier(order: TrainingPlan, ports: Ports) -> VersionInfo | None:
    """The version that another attempt registered; if it may fall back, it can have run on the other device."""
    either = ports.catalog.model(order.request.model).runs("train").cpu_fallback
    same = [order.on(device) for device in DEVICES] if either else [order]
    matches = (find_registered(ports.registry, order.request.model, variant.digest()) for variant in same)
    return next((info for info in matches if info), None)


def _tags(order: TrainingPlan, ports: Ports) -> dict[str, str]:
    """Tags of the run; those that start with ``airworthy.`` are on the model version, too."""
    request = order.request
    return {
        REQUEST_DIGEST_TAG: order.digest(),
        "airworthy.run_key": request.run_key,
        "airworthy.snapshot": request.snapshot,
        "airworthy.hypothesis": request.hypothesis,
        "airworthy.trigger": request.trigger,
        "airworthy.requested_by": request.requested_by,
        "airworthy.git_revision": request.git_revision,
        "airworthy.seed": str(order.seed),
        "airworthy.device": order.device,
        "airworthy.workers": str(order.workers),
        "airworthy.experiment_tags": ", ".join(order.training.experiment_tags),
        "airworthy.environment_digest": environment().digest(),
        "airworthy.previous_best": previous_best(ports.registry, request.model, order.metric),
        "mlflow.source.git.commit": request.git_revision,
        "mlflow.source.name": "pipelines train_model",
        "mlflow.user": request.requested_by,
    }


def _describe(record: RunRecord, order: TrainingPlan, snapshot: Snapshot) -> None:
    """What goes in, before the first round: a run that fails still says what it was."""
    record.parameters(
        {
            **flattened(order.training),
            "seed_used": order.seed,
            "device_used": order.device,
            "features": ", ".join(order.features),
        }
    )
    record.metrics(data_metrics(snapshot, order.problem))
    record.files(
        {
            ORDER: order.model_dump_json(by_alias=True, indent=1).encode(),
            SNAPSHOT: snapshot.record.model_dump_json(by_alias=True, indent=1).encode(),
            ENVIRONMENT: environment().model_dump_json(indent=1).encode(),
            LOCK: installed().encode(),
        }
    )
    record.attempt("dataset input", lambda: dataset_input(record, snapshot))


def _keep_trial(record: RunRecord, order: TrainingPlan, trial: Trial) -> None:
    values = {f"validation_{order.metric}": trial.score}
    record.attempt("trials", lambda: record.child(f"trial-{trial.number:03d}", trial.parameters, values))


def _report(record: RunRecord, filled: TrainingResult) -> None:
    fitted = filled.fitted
    record.metrics(filled.metrics)
    record.metrics({f"cv_{name}": value for name, value in filled.fold_summary.items()})
    for number, fold in enumerate(filled.folds):
        record.metrics({f"cv_fold/{name}": value for name, value in fold.items()}, number)
    record.metrics(
        {"rounds": fitted.rounds, **({} if fitted.best_round is None else {"best_round": fitted.best_round})}
    )
    if fitted.resumed_from_round is not None:  # its earlier curves went down with the killed attempt's run
        for number in range(fitted.resumed_from_round):
            scores = {name: values[number] for name, values in fitted.curves.items()}
            record.metrics({**scores, "learning_rate": fitted.learning_rates[number]}, number)
    if filled.best_trial:
        record.files({TRIAL: filled.best_trial.model_dump_json(indent=1).encode()})
        record.parameters({f"best_trial.{name}": value for name, value in filled.best_trial.parameters.items()})
    record.attempt("plots", lambda: record.files(_pictures(filled)))


def _pictures(filled: TrainingResult) -> dict[str, bytes]:
    fitted, pictures = filled.fitted, {}
    if fitted.curves:
        pictures["plots/learning_curves.png"] = plots.learning_curves(
            fitted.curves, fitted.learning_rates, fitted.best_round
        )
    if fitted.importance:
        pictures["plots/feature_importance.png"] = plots.feature_importance(fitted.importance)
        pictures["plots/feature_importance.json"] = json.dumps(fitted.importance, indent=1).encode()
    return pictures


def _register(
    record: RunRecord,
    order: TrainingPlan,
    filled: TrainingResult,
    snapshot: Snapshot,
    tags: Mapping[str, str],
    started: datetime,
    ports: Ports,
) -> TrainResult:
    """The result is kept with the run before the version exists, so that a retry can answer with it."""
    fitted = filled.fitted
    facts = {name: value for name, value in tags.items() if name.startswith("airworthy.")}
    partial = {
        "rounds": fitted.rounds,
        "best_round": fitted.best_round,
        "resumed_from_round": fitted.resumed_from_round,
        "metrics": filled.metrics | {f"cv_{name}": value for name, value in filled.fold_summary.items()},
        "seconds": _seconds(started, ports.clock()),
        "device": order.device,
        **({"notes": filled.notes} if filled.notes else {}),
    }
    record.files({RESULT: json.dumps(partial).encode()})
    record.flush()
    done = register(record, order, filled, _first_rows(snapshot), facts)
    return TrainResult(
        model=order.request.model,
        run_id=record.run_id,
        version=done.version,
        model_uri=done.model_uri,
        model_digest=done.model_digest,
        snapshot=order.request.snapshot,
        request_digest=order.digest(),
        environment_digest=tags["airworthy.environment_digest"],
        **partial,
    )


def _found_again(info: VersionInfo, snapshot: Snapshot, ports: Ports) -> TrainResult:
    """The result of the attempt that registered ``info``; what it had not finished when it was killed is done now."""
    client = open_client(ports.settings.tracking)
    with mlflow_answers(ports.settings.tracking):
        from mlflow.artifacts import load_text

        run = client.get_run(info.run_id)
        partial = json.loads(load_text(f"{run.info.artifact_uri}/{RESULT}"))
        if run.info.status != "FINISHED":
            client.set_terminated(info.run_id, "FINISHED")
    if not ports.store.exists(store_paths.training_profile(info.model, info.version)):
        model = load_model(info, ports)
        features = {feature.name: feature.type for feature in model.inputs}
        _profile(features, snapshot, ports, info.version, model.predict)
    return TrainResult(
        model=info.model,
        run_id=info.run_id,
        version=info.version,
        model_uri=info.source,
        model_digest=info.tags[MODEL_DIGEST_TAG],
        snapshot=info.tags["airworthy.snapshot"],
        request_digest=info.tags[REQUEST_DIGEST_TAG],
        environment_digest=info.tags["airworthy.environment_digest"],
        **partial,
    )


def _profile(features: Mapping[str, str], snapshot: Snapshot, ports: Ports, version: str, predict: Predict) -> None:
    """Keep what drift is measured against: the rows it was fitted on, and its own answers to them."""
    held = [snapshot.rows("train", "validation")] if snapshot.files is None else _fitted_on(snapshot)
    profiles = [_profiled(rows, features, predict) for rows in held]
    profile = profiles[0] if len(profiles) == 1 else merge_profiles(profiles)
    path = store_paths.training_profile(snapshot.record.model, version)
    ports.store.put(path, profile.model_dump_json().encode())


def _fitted_on(snapshot: Snapshot) -> Iterator[pl.DataFrame]:
    return (batch for part in ("train", "validation") for batch in snapshot.batches(part))


def _profiled(rows: pl.DataFrame, features: Mapping[str, str], predict: Predict) -> TableProfile:
    frame = rows.select(list(features)).with_columns(pl.Series("prediction", predict(rows), dtype=pl.Float64))
    return profile_frame(
        frame,
        categorical=[name for name, kind in features.items() if kind == "categorical"],
        numeric=[name for name, kind in features.items() if kind == "numeric"] + ["prediction"],
    )


def _first_rows(snapshot: Snapshot) -> pl.DataFrame:
    return next(snapshot.batches("train"))


def _answers(filled: TrainingResult, rows: pl.DataFrame) -> Any:
    return filled.fitted.predict(encode(rows, filled.features))


def _seconds(started: datetime, now: datetime) -> float:
    return round((now - started).total_seconds(), 3)
