"""A search draws the same trials from the same seed, also when it is killed and resumed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import optuna
from pydantic import BaseModel, ConfigDict, TypeAdapter

from pipelines.errors import Refused
from pipelines.spec.model import Training
from pipelines.spec.search import Search, SearchRange

Score = Callable[[Training], float]


class Trial(BaseModel):
    """One finished trial: its parameters and the validation score of its best round."""

    model_config = ConfigDict(frozen=True)

    number: int
    parameters: dict[str, Any]
    score: float


TRIALS: TypeAdapter[list[Trial]] = TypeAdapter(list[Trial])


def with_parameters(training: Training, chosen: dict[str, Any]) -> Training:
    """The declaration with searched values put in: ``learning_rate`` and ``rounds`` at their own places."""
    remaining = dict(chosen)
    changes: dict[str, Any] = {}
    if "learning_rate" in remaining:
        changes["learning_rate"] = training.learning_rate.model_copy(update={"initial": remaining.pop("learning_rate")})
    estimator: dict[str, Any] = {"rounds": remaining.pop("rounds")} if "rounds" in remaining else {}
    estimator["parameters"] = {**training.estimator.parameters, **remaining}
    return training.model_copy(update={**changes, "estimator": training.estimator.model_copy(update=estimator)})


def search(
    declared: Search,
    training: Training,
    seed: int,
    mode: Literal["min", "max"],
    score: Score,
    *,
    done: list[Trial],
    on_trial: Callable[[Trial], None],
    seconds: Callable[[], float],
) -> Trial:
    """The best of all trials; the first of equals. ``done``: trials of an earlier attempt, not tried again.

    Each trial gets a sampler of its own, seeded by its number and given all earlier trials: what it draws does not
    depend on where an attempt began. ``timeout_minutes`` counts from this attempt's start; a search that ran into it
    depends on the machine's speed, and is repeated by its recorded result.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = {name: _distribution(range_) for name, range_ in declared.space.items()}
    direction: Literal["maximize", "minimize"] = "maximize" if mode == "max" else "minimize"
    trials = list(done)
    while len(trials) < declared.trials:
        if declared.timeout_minutes and trials and seconds() > declared.timeout_minutes * 60:
            break
        number = len(trials)
        study = optuna.create_study(direction=direction, sampler=optuna.samplers.TPESampler(seed=seed + number))
        study.add_trials(
            [
                optuna.trial.create_trial(params=trial.parameters, distributions=space, value=trial.score)
                for trial in trials
            ]
        )
        chosen = study.ask(space).params
        trials.append(Trial(number=number, parameters=chosen, score=score(with_parameters(training, chosen))))
        on_trial(trials[-1])
    return (max if mode == "max" else min)(trials, key=lambda trial: trial.score)


def _distribution(range_: SearchRange) -> optuna.distributions.BaseDistribution:
    if range_.choices is not None:
        return optuna.distributions.CategoricalDistribution(range_.choices)
    if range_.low is None or range_.high is None or range_.low > range_.high:
        raise Refused(f"search.space: low {range_.low} is above high {range_.high}; swap them")
    if range_.integer:
        return optuna.distributions.IntDistribution(int(range_.low), int(range_.high), log=range_.log)
    return optuna.distributions.FloatDistribution(range_.low, range_.high, log=range_.log)
