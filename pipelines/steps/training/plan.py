"""A training plan: the request with its declarations, recorded so that it can be executed again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from pipelines.errors import Refused
from pipelines.messages.training import TrainRequest
from pipelines.ports import Ports
from pipelines.spec.model import LOWER_IS_BETTER, ModelSpec, Training
from pipelines.steps.evaluation.metrics import measure
from pipelines.steps.models.registered_model import Problem
from pipelines.steps.snapshot.files import SAMPLE_ROWS
from pipelines.steps.snapshot.split import PARTS, TEST
from pipelines.steps.training.boosting import OnRound
from pipelines.steps.training.boosting_plan import plan_boosting
from pipelines.steps.training.checkpoints import Checkpoints
from pipelines.steps.training.cross_validation import cross_validate
from pipelines.steps.training.device import Device, choose_device
from pipelines.steps.training.distributed import WorkerTeam
from pipelines.steps.training.distributed_work import SharedWork
from pipelines.steps.training.fitting import EncodedPart, FittedModel, fit
from pipelines.steps.training.out_of_core import fit_in_batches, learn_inputs_in_batches
from pipelines.steps.training.refit import Refitted, check_refit, kept_rates
from pipelines.steps.training.search import TRIALS, Trial, search, with_parameters
from pipelines.steps.training.snapshot import Snapshot, check_rows, encode_part, prediction_times
from pipelines.tables.encoding import FeatureInput, Kind, encode, learn_inputs, vocabularies

TRIALS_FILE = "trials.json"


class TrainingPlan(BaseModel):
    """A request with the declarations at its time. ``features``: name to type, in order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request: TrainRequest
    problem: Problem
    training: Training
    features: dict[str, Kind]
    threshold: float
    metric: str
    """The metric by which candidates are compared; a search maximises or minimises it on the validation part."""
    device: Device = Field(default="cpu", exclude_if=lambda device: device == "cpu")
    """Where boosting runs. Left out of the digest for the CPU."""
    workers: int = Field(default=1, exclude_if=lambda workers: workers == 1)
    """Workers that share the rows; the number determines the model. Left out of the digest if it is 1."""
    refit: bool = Field(default=False, exclude_if=lambda refit: not refit)
    """Whether all rows are fitted again after the judged model. Left out of the digest if they are not."""

    @property
    def seed(self) -> int:
        return self.training.seed if self.request.seed is None else self.request.seed

    @property
    def mode(self) -> Any:
        return "min" if self.metric in LOWER_IS_BETTER else "max"

    def with_device(self, device: Device) -> TrainingPlan:
        return self.model_copy(update={"device": device})

    def digest(self) -> str:
        """sha256 of the whole plan, 64 hex digits; retries of one request share it."""
        return hashlib.sha256(self.model_dump_json(by_alias=True).encode()).hexdigest()


@dataclass(frozen=True)
class TrainingResult:
    """The result of a plan: ``training`` is the declaration with the searched values.

    ``fitted`` with ``features`` is judged; ``deployed`` with ``deployed_features`` serves.
    """

    fitted: FittedModel
    training: Training
    features: list[FeatureInput]
    metrics: dict[str, float]
    folds: list[dict[str, float]] = field(default_factory=list)
    fold_summary: dict[str, float] = field(default_factory=dict)
    best_trial: Trial | None = None
    notes: list[str] = field(default_factory=list)
    refitted: Refitted | None = None

    @property
    def deployed(self) -> FittedModel:
        return self.refitted.fitted if self.refitted else self.fitted

    @property
    def deployed_features(self) -> list[FeatureInput]:
        return self.refitted.features if self.refitted else self.features


def plan_training(request: TrainRequest, features: list[str], ports: Ports) -> TrainingPlan:
    """Resolve the request by the catalog. ``Refused`` for an unknown model or feature, or a plan with faults."""
    spec = ports.catalog.model(request.model)
    view = ports.catalog.view(spec.view)
    unknown = [name for name in features if name not in view.features]
    if unknown:
        raise Refused(f"snapshot {request.snapshot} has features that view {view.view} does not declare", unknown)
    days = request.history_days
    declared = spec.training if days is None else spec.training.model_copy(update={"history_days": days})
    training = declared.model_copy(update={"split": declared.split.with_gap(view.label_horizon)})
    plan = TrainingPlan(
        request=request,
        problem=spec.problem,
        training=training,
        features={name: view.features[name].type for name in features},
        threshold=spec.evaluation.threshold,
        metric=spec.evaluation.comparison.metric,
        device=_device(spec),
        workers=_worker_count(spec),
        refit=spec.training.refits,
    )
    if spec.training.estimator.kind == "xgboost":
        plan_boosting(training, spec.problem, plan.seed, plan.device)
    return plan


def _device(spec: ModelSpec) -> Device:
    kind, runner = spec.training.estimator.kind, spec.stage_runner("train")
    if runner.gpus and kind != "xgboost":
        raise Refused(f"runner.train.gpus of {spec.model} is {runner.gpus}, but kind {kind} uses none; set gpus: 0")
    return choose_device(spec.model, runner)


def _worker_count(spec: ModelSpec) -> int:
    training, workers = spec.training, spec.stage_runner("train").workers
    faults = []
    if training.estimator.kind != "xgboost":
        faults.append(f"training.estimator.kind: {training.estimator.kind} is fitted by one worker")
    if training.cross_validation:
        faults.append("training.cross_validation: folds are not distributed; leave it out")
    if workers > 1 and faults:
        raise Refused(f"runner.train.workers of {spec.model} is {workers}; set workers: 1, or", faults)
    return workers


def make_worker_team(plan: TrainingPlan, ports: Ports, run: str | None) -> WorkerTeam | None:
    """None for a training of one worker. ``run``: the launch whose pods are the other workers; None: processes here."""
    return WorkerTeam(ports.store, ports.settings.store, run) if plan.workers > 1 else None


def open_checkpoints(plan: TrainingPlan, ports: Ports) -> Checkpoints | None:
    """None where checkpoints are not declared, or the estimator cannot resume from one."""
    if not plan.training.checkpointing.enabled or plan.training.estimator.kind != "xgboost":
        return None
    boosting = plan_boosting(plan.training, plan.problem, plan.seed, plan.device)
    keep = plan.training.checkpointing.keep_best
    return Checkpoints(ports.store, plan.request.model, plan.digest(), boosting.mode, keep)


def _ignore_trial(trial: Trial) -> None:
    """A reproduction records no trials."""
    del trial


def execute_plan(
    plan: TrainingPlan,
    snapshot: Snapshot,
    *,
    checkpoints: Checkpoints | None = None,
    on_round: OnRound | None = None,
    on_trial: Callable[[Trial], None] = _ignore_trial,
    seconds: Callable[[], float] = lambda: 0.0,
    best_trial: Trial | None = None,
    team: WorkerTeam | None = None,
) -> TrainingResult:
    """Search, fit, cross-validate, measure, refit. ``best_trial``: the recorded result of a search, taken instead.

    ``team``: the workers that share every fit (``make_worker_team``).
    """
    check_rows(snapshot, plan.problem, plan.features)
    if plan.training.out_of_core:
        judged = _execute_in_batches(plan, snapshot, checkpoints, on_round)
    else:
        judged = _execute(plan, snapshot, checkpoints, on_round, on_trial, seconds, best_trial, team)
    return replace(judged, refitted=_refit(plan, judged, snapshot, checkpoints, team)) if plan.refit else judged


def _execute(
    plan: TrainingPlan,
    snapshot: Snapshot,
    checkpoints: Checkpoints | None,
    on_round: OnRound | None,
    on_trial: Callable[[Trial], None],
    seconds: Callable[[], float],
    best_trial: Trial | None,
    team: WorkerTeam | None,
) -> TrainingResult:
    train_rows, validation_rows = snapshot.rows("train"), snapshot.rows("validation")
    features = learn_inputs(train_rows, plan.features)
    train, validation = encode_part(train_rows, features), encode_part(validation_rows, features)
    training = plan.training
    if training.search and best_trial is None:
        best_trial = _search(plan, features, train, validation, checkpoints, on_trial, seconds, team)
    if best_trial is not None:
        training = with_parameters(training, best_trial.parameters)
    if team:
        work = shared_work(plan, training, features)
        fitted = team.fit(work, features, checkpoints=checkpoints, on_round=on_round, last=not plan.refit)
    else:
        fitted = fit(
            training,
            plan.problem,
            plan.seed,
            features,
            train,
            validation,
            device=plan.device,
            checkpoints=checkpoints,
            on_round=on_round,
        )
    metrics = {
        f"{name}_{metric}": value
        for name, part in (("train", train), ("validation", validation))
        for metric, value in measure(plan.problem, part.target, fitted.predict(part.rows), plan.threshold).items()
        if value is not None
    }
    return TrainingResult(
        fitted, training, features, metrics, *_cross_validate(plan, training, features, snapshot, fitted), best_trial
    )


def _execute_in_batches(
    plan: TrainingPlan, snapshot: Snapshot, checkpoints: Checkpoints | None, on_round: OnRound | None
) -> TrainingResult:
    """The same with one batch in memory. Metrics are of a sample where a part is larger than one; notes say so."""
    if snapshot.files is None:
        raise Refused(
            f"snapshot {snapshot.record.digest} is one table, and {plan.request.model} declares training.out_of_core; "
            "take a new snapshot"
        )
    features = learn_inputs_in_batches(snapshot, plan.features)
    fitted = fit_in_batches(
        plan.training,
        plan.problem,
        plan.seed,
        features,
        snapshot,
        key=plan.digest(),
        checkpoints=checkpoints,
        on_round=on_round,
    )
    metrics: dict[str, float] = {}
    notes = []
    for part in ("train", "validation"):
        rows = snapshot.files.sample(SAMPLE_ROWS, part)
        target = rows["target"].cast(pl.Float64).to_numpy()
        measured = measure(plan.problem, target, fitted.predict(encode(rows, features)), plan.threshold)
        metrics |= {f"{part}_{metric}": value for metric, value in measured.items() if value is not None}
        if rows.height < (total := snapshot.targets[part].rows):
            notes.append(f"metrics of {part} are those of {rows.height} of its {total} rows, drawn evenly over time")
    return TrainingResult(fitted, plan.training, features, metrics, notes=notes)


def _refit(
    plan: TrainingPlan,
    judged: TrainingResult,
    snapshot: Snapshot,
    checkpoints: Checkpoints | None,
    team: WorkerTeam | None,
) -> Refitted:
    """Fit the rows of all parts, by checkpoints of its own, and hold the result to the judged model."""
    rates, own = kept_rates(judged.fitted), checkpoints.of_refit() if checkpoints else None
    if plan.training.out_of_core and snapshot.files is not None:
        features = learn_inputs_in_batches(snapshot, plan.features, PARTS)
        fitted = fit_in_batches(
            judged.training,
            plan.problem,
            plan.seed,
            features,
            snapshot,
            key=plan.digest(),
            checkpoints=own,
            rates=rates,
        )
        newest = snapshot.files.sample(SAMPLE_ROWS, TEST)
    else:
        rows = snapshot.rows(*PARTS)
        features, newest = learn_inputs(rows, plan.features), snapshot.rows(TEST)
        if team:
            work = shared_work(plan, judged.training, features).model_copy(update={"rates": rates})
            fitted = team.fit(work, features, checkpoints=own)
        else:
            part = encode_part(rows, features)
            fitted = fit(
                judged.training,
                plan.problem,
                plan.seed,
                features,
                part,
                None,
                device=plan.device,
                checkpoints=own,
                rates=rates,
            )
    check = check_refit(
        newest,
        (judged.fitted, judged.features),
        (fitted, features),
        problem=plan.problem,
        metric=plan.metric,
        threshold=plan.threshold,
    )
    return Refitted(fitted, features, check)


def shared_work(plan: TrainingPlan, training: Training, features: list[FeatureInput]) -> SharedWork:
    """The message to every worker of the plan."""
    return SharedWork(
        model=plan.request.model,
        snapshot=plan.request.snapshot,
        problem=plan.problem,
        training=training,
        seed=plan.seed,
        device=plan.device,
        workers=plan.workers,
        types={feature.name: feature.type for feature in features},
        vocabularies=vocabularies(features),
    )


def _search(
    plan: TrainingPlan,
    features: list[FeatureInput],
    train: EncodedPart,
    validation: EncodedPart,
    checkpoints: Checkpoints | None,
    on_trial: Callable[[Trial], None],
    seconds: Callable[[], float],
    team: WorkerTeam | None,
) -> Trial:
    assert plan.training.search is not None
    recalled = checkpoints.load_json(TRIALS_FILE) if checkpoints else None
    done = TRIALS.validate_python(recalled or [])
    for trial in done:
        on_trial(trial)
    finished = list(done)

    def keep(trial: Trial) -> None:
        finished.append(trial)
        if checkpoints:
            checkpoints.save_json(TRIALS_FILE, [earlier_trial.model_dump() for earlier_trial in finished])
        on_trial(trial)

    def score(training: Training) -> float:
        if team:
            model = team.fit(shared_work(plan, training, features), features, last=False)
        else:
            model = fit(training, plan.problem, plan.seed, features, train, validation, device=plan.device)
        measured = measure(plan.problem, validation.target, model.predict(validation.rows), plan.threshold)[plan.metric]
        if measured is None:
            raise Refused(f"{plan.metric} is not defined on the validation part; search by another metric")
        return measured

    return search(
        plan.training.search, plan.training, plan.seed, plan.mode, score, done=done, on_trial=keep, seconds=seconds
    )


def _cross_validate(
    plan: TrainingPlan, training: Training, features: list[FeatureInput], snapshot: Snapshot, fitted: FittedModel
) -> tuple[list[dict[str, float]], dict[str, float]]:
    if training.cross_validation is None:
        return [], {}
    seen = snapshot.rows("train", "validation")
    rounds = fitted.rounds if fitted.best_round is None else fitted.best_round + 1
    times = prediction_times(seen).astype("datetime64[us]")
    part = encode_part(seen, features)
    return cross_validate(
        training, plan.problem, plan.seed, features, part, np.asarray(times), rounds, plan.threshold, plan.device
    )
