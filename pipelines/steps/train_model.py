"""Trains, records and registers one candidate; a repeated request resumes from a checkpoint or finds it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import polars as pl

from pipelines import store_paths
from pipelines.ledger import markdown
from pipelines.messages.message import Message
from pipelines.messages.training import ModelDigests, RefitCheck, TrainRequest, TrainResult
from pipelines.mlflow_client import open_client, translate_mlflow_errors
from pipelines.ports import Ports, VersionInfo
from pipelines.steps.models.model_card import training_card
from pipelines.steps.models.registered_model import load_model
from pipelines.steps.training import plots
from pipelines.steps.training.device import DEVICES
from pipelines.steps.training.environment import environment, installed_packages
from pipelines.steps.training.facts import data_metrics, flatten, log_dataset_input, previous_best
from pipelines.steps.training.monitoring_reference import measure_reference
from pipelines.steps.training.plan import (
    TrainingPlan,
    TrainingResult,
    execute_plan,
    make_worker_team,
    open_checkpoints,
    plan_training,
)
from pipelines.steps.training.registration import ModelCard, find_registered, register
from pipelines.steps.training.run_record import REQUEST_DIGEST_TAG, RunRecord, recorded_run
from pipelines.steps.training.search import Trial
from pipelines.steps.training.snapshot import Snapshot, open_snapshot
from pipelines.steps.training.training_record import (
    ENVIRONMENT_FILE,
    LOCK_FILE,
    PLAN_FILE,
    RESULT_FILE,
    SNAPSHOT_FILE,
    TRIAL_FILE,
)
from pipelines.tables.encoding import encode
from pipelines.tables.profile import TrainingProfile

LAUNCH_VARIABLE = "AIRWORTHY_RUN"
"""Set where the step runs in a pod: the launch's folder in the store, which other pods of it may join."""


class TrainingReceipt(Message):
    """What a training made, before its version was registered. ``result``: fields of its ``TrainResult``."""

    run_id: str
    digests: ModelDigests
    environment_digest: str = ""
    result: dict[str, Any]


def run(request: TrainRequest, ports: Ports) -> TrainResult:
    """Train, record, register, profile. ``Refused`` for a faulty plan or snapshot, ``Unavailable`` without MLflow."""
    started = ports.clock()
    snapshot = open_snapshot(ports.store, request.model, request.snapshot)
    plan = plan_training(request, snapshot.record.features, ports)
    earlier = _find_earlier_result(plan, snapshot, ports)
    if earlier:
        return earlier
    client = open_client(ports.settings.tracking)
    tags = _tags(plan, ports)
    name = f"{request.trigger}-{started:%Y%m%d-%H%M%S}"
    with recorded_run(client, request.model, ports.settings.home, ports.clock, name=name, tags=tags) as record:
        _log_inputs(record, plan, snapshot)
        trained = execute_plan(
            plan,
            snapshot,
            checkpoints=open_checkpoints(plan, ports),
            on_round=record.log_round,
            on_trial=lambda trial: _log_trial(record, plan, trial),
            seconds=lambda: _elapsed_seconds(started, ports.clock()),
            team=make_worker_team(plan, ports, os.environ.get(LAUNCH_VARIABLE)),
        )
        _log_result(record, trained)
        profile = measure_reference(
            plan.features, snapshot, ports, lambda rows: _predict(trained, rows), plan.seed, refitted=plan.refit
        )
        result = _register(record, plan, trained, profile, snapshot, tags, started, ports)
    _put_profile(profile, ports, result.model, result.version)
    return result


def _find_earlier_result(plan: TrainingPlan, snapshot: Snapshot, ports: Ports) -> TrainResult | None:
    """The result of an attempt that registered its version, with ``cpu_fallback`` on either device."""
    may_fall_back = ports.catalog.model(plan.request.model).stage_runner("train").cpu_fallback
    for variant in [plan.with_device(device) for device in DEVICES] if may_fall_back else [plan]:
        path = store_paths.training_receipt(plan.request.model, variant.digest())
        info = find_registered(ports.registry, plan.request.model, variant.digest())
        # A version without a receipt in the store was registered by somebody else: it is trained again.
        if info is not None and ports.store.exists(path):
            receipt = TrainingReceipt.model_validate_json(ports.store.get(path))
            return _earlier_result(info, receipt, variant.digest(), snapshot, ports)
    return None


def _tags(plan: TrainingPlan, ports: Ports) -> dict[str, str]:
    """Tags of the run, which the registry also gives as those of the model version."""
    request = plan.request
    return {
        REQUEST_DIGEST_TAG: plan.digest(),
        "airworthy.run_key": request.run_key,
        "airworthy.snapshot": request.snapshot,
        "airworthy.hypothesis": request.hypothesis,
        "airworthy.trigger": request.trigger,
        "airworthy.requested_by": request.requested_by,
        "airworthy.git_revision": request.git_revision,
        "airworthy.seed": str(plan.seed),
        "airworthy.device": plan.device,
        "airworthy.workers": str(plan.workers),
        "airworthy.experiment_tags": ", ".join(plan.training.experiment_tags),
        "airworthy.environment_digest": environment().digest(),
        "airworthy.previous_best": previous_best(ports.registry, request.model, plan.metric),
        "mlflow.source.git.commit": request.git_revision,
        "mlflow.source.name": "pipelines train_model",
        "mlflow.user": request.requested_by,
    }


def _log_inputs(record: RunRecord, plan: TrainingPlan, snapshot: Snapshot) -> None:
    """Log the inputs before the first round, so that a failed run has them, too."""
    record.log_parameters(
        {
            **flatten(plan.training),
            "seed_used": plan.seed,
            "device_used": plan.device,
            "refit_used": plan.refit,
            "features": ", ".join(plan.features),
        }
    )
    record.log_metrics(data_metrics(snapshot, plan.problem))
    record.log_files(
        {
            PLAN_FILE: plan.model_dump_json(by_alias=True, indent=1).encode(),
            SNAPSHOT_FILE: snapshot.record.model_dump_json(by_alias=True, indent=1).encode(),
            ENVIRONMENT_FILE: environment().model_dump_json(indent=1).encode(),
            LOCK_FILE: installed_packages().encode(),
        }
    )
    record.log_optional("dataset input", lambda: log_dataset_input(record, snapshot))


def _log_trial(record: RunRecord, plan: TrainingPlan, trial: Trial) -> None:
    values = {f"validation_{plan.metric}": trial.score}
    record.log_optional("trials", lambda: record.log_child_run(f"trial-{trial.number:03d}", trial.parameters, values))


def _log_result(record: RunRecord, trained: TrainingResult) -> None:
    fitted = trained.fitted
    record.log_metrics(trained.metrics)
    record.log_metrics({f"cv_{name}": value for name, value in trained.fold_summary.items()})
    for number, fold in enumerate(trained.folds):
        record.log_metrics({f"cv_fold/{name}": value for name, value in fold.items()}, number)
    record.log_metrics(
        {"rounds": fitted.rounds, **({} if fitted.best_round is None else {"best_round": fitted.best_round})}
    )
    if fitted.resumed_from_round is not None:  # the earlier curves are on the killed attempt's run
        for number in range(fitted.resumed_from_round):
            scores = {name: values[number] for name, values in fitted.curves.items()}
            record.log_metrics({**scores, "learning_rate": fitted.learning_rates[number]}, number)
    if trained.best_trial:
        record.log_files({TRIAL_FILE: trained.best_trial.model_dump_json(indent=1).encode()})
        record.log_parameters({f"best_trial.{name}": value for name, value in trained.best_trial.parameters.items()})
    record.log_optional("plots", lambda: record.log_files(_plot_files(trained)))


def _plot_files(trained: TrainingResult) -> dict[str, bytes]:
    fitted, pictures = trained.fitted, {}
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
    plan: TrainingPlan,
    trained: TrainingResult,
    profile: TrainingProfile,
    snapshot: Snapshot,
    tags: Mapping[str, str],
    started: datetime,
    ports: Ports,
) -> TrainResult:
    """Write the result to the store before the version exists, so that a retry can return it."""
    fitted = trained.fitted
    facts = {name: value for name, value in tags.items() if name.startswith("airworthy.")}
    partial = {
        "rounds": fitted.rounds,
        "best_round": fitted.best_round,
        "resumed_from_round": fitted.resumed_from_round,
        "seed": plan.seed,
        "metrics": trained.metrics | {f"cv_{name}": value for name, value in trained.fold_summary.items()},
        "seconds": _elapsed_seconds(started, ports.clock()),
        "device": plan.device,
        **({"notes": trained.notes} if trained.notes else {}),
        **({"refit": check.model_dump(mode="json")} if (check := _refit_check(trained)) else {}),
        **_test_days(profile, ports.catalog.model(plan.request.model).monitoring.performance.metric),
    }
    record.log_files({RESULT_FILE: json.dumps(partial).encode()})
    record.flush()

    def write_receipt(digests: ModelDigests) -> None:
        environment_digest = tags["airworthy.environment_digest"]
        receipt = TrainingReceipt(
            run_id=record.run_id, digests=digests, environment_digest=environment_digest, result=partial
        )
        path = store_paths.training_receipt(plan.request.model, plan.digest())
        ports.store.put(path, receipt.model_dump_json(by_alias=True).encode())

    card = _card(plan, trained, snapshot, facts, ports)
    registered = register(record, plan, trained, _first_rows(snapshot), facts, card, write_receipt)
    return TrainResult(
        model=plan.request.model,
        run_id=record.run_id,
        version=registered.version,
        model_uri=registered.model_uri,
        **registered.digests.model_dump(by_alias=False, exclude={"schema_"}),
        request_digest=plan.digest(),
        environment_digest=tags["airworthy.environment_digest"],
        **partial,
    )


def _refit_check(trained: TrainingResult) -> RefitCheck | None:
    return trained.refitted.check if trained.refitted else None


def _test_days(profile: TrainingProfile, metric: str) -> dict[str, Any]:
    """The monitored metric within each test day, for the certificate; nothing where there is no such day."""
    known = [day for day in profile.test_days if metric in day.metrics]
    days = [day.model_copy(update={"metrics": {metric: day.metrics[metric]}}).model_dump(mode="json") for day in known]
    return {"test_days": days} if days else {}


def _card(
    plan: TrainingPlan, trained: TrainingResult, snapshot: Snapshot, facts: Mapping[str, str], ports: Ports
) -> ModelCard:
    spec = ports.catalog.model(plan.request.model)
    rows, as_of, now = snapshot.record.rows, snapshot.record.as_of, ports.clock()
    text = training_card(spec, facts, trained.metrics, rows=rows, as_of=as_of, trained_at=now)
    return ModelCard(model=f"{markdown.text(spec.description)}\n\nOwner: {markdown.text(spec.owner)}", version=text)


def _earlier_result(
    info: VersionInfo, receipt: TrainingReceipt, request_digest: str, snapshot: Snapshot, ports: Ports
) -> TrainResult:
    """The result of the attempt that registered ``info``; what it had not finished is done now.

    ``Refused`` if the version's files are not those of the receipt.
    """
    model = load_model(info, ports, receipt.digests, "judged")
    client = open_client(ports.settings.tracking)
    with translate_mlflow_errors(ports.settings.tracking):
        if client.get_run(receipt.run_id).info.status != "FINISHED":
            client.set_terminated(receipt.run_id, "FINISHED")
    if not ports.store.exists(store_paths.training_profile(info.model, info.version)):
        features = {feature.name: feature.type for feature in model.inputs}
        seed = int(info.tags.get("airworthy.seed", 0))
        refitted = receipt.digests.judged_digest is not None
        profile = measure_reference(features, snapshot, ports, model.predict, seed, refitted=refitted)
        _put_profile(profile, ports, info.model, info.version)
    return TrainResult(
        model=info.model,
        run_id=receipt.run_id,
        version=info.version,
        model_uri=info.source,
        request_digest=request_digest,
        environment_digest=receipt.environment_digest or info.tags["airworthy.environment_digest"],
        **receipt.digests.model_dump(by_alias=False, exclude={"schema_"}),
        **receipt.result,
    )


def _put_profile(profile: TrainingProfile, ports: Ports, model: str, version: str) -> None:
    """Store what monitoring compares the version with."""
    ports.store.put(store_paths.training_profile(model, version), profile.model_dump_json().encode())


def _first_rows(snapshot: Snapshot) -> pl.DataFrame:
    return next(snapshot.batches("train"))


def _predict(trained: TrainingResult, rows: pl.DataFrame) -> Any:
    return trained.fitted.predict(encode(rows, trained.features))


def _elapsed_seconds(started: datetime, now: datetime) -> float:
    return round((now - started).total_seconds(), 3)
