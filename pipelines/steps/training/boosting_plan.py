"""Makes the plan of a boosting from its declaration, or refuses it with every reserved or unfit parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.errors import Refused
from pipelines.spec.estimator_faults import RESERVED_PARAMETERS
from pipelines.spec.model import Checkpointing, EarlyStopping, LearningRate, Training
from pipelines.steps.training.device import Device
from pipelines.steps.training.scores import Mode, mode_of

THREADS = 2
"""Threads unless ``parameters.nthread`` says otherwise. Not the machine's cores: sums of another number of threads
round differently, and the same request must give the same model on every machine."""
DEFAULT_OBJECTIVES = {"classification": "binary:logistic", "regression": "reg:squarederror"}
METRICS = {"classification": ["logloss", "auc"], "regression": ["rmse", "mae"]}


@dataclass(frozen=True)
class BoostingPlan:
    """All that determines the model besides the data. ``metric``: the one that early stopping and checkpoints watch."""

    parameters: dict[str, Any]
    rounds: int
    metric: str
    mode: Mode
    learning_rate: LearningRate
    early_stopping: EarlyStopping
    checkpointing: Checkpointing
    rates: tuple[float, ...] | None = None
    """The learning rate of each round, of a fit that repeats another's rounds; None: by the declared schedule."""

    @property
    def threads(self) -> int:
        return int(self.parameters["nthread"])

    @property
    def quantile(self) -> bool:
        """Whether the tree method works on quantised data."""
        return self.parameters.get("tree_method", "hist") in ("hist", "auto")


def plan_boosting(
    training: Training, problem: str, seed: int, device: Device = "cpu", rates: Sequence[float] | None = None
) -> BoostingPlan:
    """Raises ``Refused`` with every parameter that is reserved or does not fit the problem.

    ``rates``: as many rounds with these learning rates instead of those declared, none of them left out afterwards.
    """
    given = training.estimator.parameters
    faults = [f"{name}: {why}" for name, why in RESERVED_PARAMETERS.items() if name in given]
    if given.get("booster", "gbtree") != "gbtree":
        faults.append(f"booster: {given['booster']!r} cannot be resumed exactly; only gbtree is supported")
    objective = str(given.get("objective", DEFAULT_OBJECTIVES[problem]))
    if (problem == "classification") != (objective == "binary:logistic"):
        faults.append(
            f"objective: {objective!r} does not answer a {problem}; leave it out or use {DEFAULT_OBJECTIVES[problem]}"
        )
    threads = given.get("nthread", THREADS)
    if not isinstance(threads, int) or threads < 1:
        faults.append(f"nthread: {threads!r} is not a fixed number of threads; give 1 or more")
    if faults:
        raise Refused("training.estimator.parameters cannot be used", faults)
    metrics = METRICS[problem]
    metric = training.early_stopping.metric or metrics[0]
    parameters = {
        **given,
        "objective": objective,
        "eval_metric": [*(name for name in metrics if name != metric), metric],
        "seed": seed,
        "seed_per_iteration": True,
        "nthread": threads,
        "validate_parameters": True,
        **({} if device == "cpu" else {"device": device}),
    }
    return BoostingPlan(
        parameters=parameters,
        rounds=training.estimator.rounds if rates is None else len(rates),
        metric=metric,
        mode=mode_of(metric, training.early_stopping.mode),
        learning_rate=training.learning_rate,
        early_stopping=training.early_stopping if rates is None else EarlyStopping(enabled=False),
        checkpointing=training.checkpointing,
        rates=None if rates is None else tuple(rates),
    )
