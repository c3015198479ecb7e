"""Says which declared fields of a training its estimator cannot honour, so that none is accepted and then ignored."""

from __future__ import annotations

from typing import Any

from pipelines.spec.model import Training

RESERVED_PARAMETERS = {
    "seed": "declare it as training.seed",
    "random_state": "declare it as training.seed",
    "seed_per_iteration": "it is always on",
    "eta": "declare it as training.learning_rate.initial",
    "learning_rate": "declare it as training.learning_rate.initial",
    "eval_metric": "declare it as training.early_stopping.metric",
    "num_boost_round": "declare it as training.estimator.rounds",
    "n_estimators": "declare it as training.estimator.rounds",
    "n_jobs": "declare it as nthread",
    "early_stopping_rounds": "declare it as training.early_stopping.patience",
    "num_class": "only two classes are supported",
    "device": "declare it as runner.train.gpus",
}
"""Parameters of boosting that have a place of their own in the declaration."""
OF_BOOSTING = ("learning_rate", "rounds")
"""What a search puts elsewhere than among the estimator's parameters."""


def estimator_faults(training: Training) -> list[tuple[str, str]]:
    """Field below ``training``, and what to do, for each that would be accepted and ignored."""
    if training.estimator.kind == "sklearn":
        return _sklearn_faults(training)
    faults = [
        (f"estimator.parameters.{name}", why)
        for name, why in RESERVED_PARAMETERS.items()
        if name in training.estimator.parameters
    ]
    space = training.search.space if training.search else {}
    faults += [
        (f"search.space.{name}", _searched_elsewhere(name))
        for name in space
        if name in RESERVED_PARAMETERS and name not in OF_BOOSTING
    ]
    return faults + [
        (f"search.space.{name}", f"{value!r} is no {kind}")
        for name, kind in (("learning_rate", "number above 0"), ("rounds", "whole number above 0"))
        if name in space
        for value in space[name].choices or []
        if not _is_positive(value, whole=name == "rounds")
    ]


def _sklearn_faults(training: Training) -> list[tuple[str, str]]:
    declared = training.model_fields_set
    text = "is of boosting round by round, which scikit-learn fits at once; remove it, or use kind: xgboost"
    faults = [("learning_rate", text)] if "learning_rate" in declared else []
    faults += [
        (name, text)
        for name in ("early_stopping", "checkpointing")
        if name in declared and getattr(training, name).enabled
    ]
    if "rounds" in training.estimator.model_fields_set:
        faults.append(("estimator.rounds", "is of kind: xgboost; give the estimator's own parameter"))
    space = training.search.space if training.search else {}
    return faults + [(f"search.space.{name}", text) for name in OF_BOOSTING if name in space]


def _searched_elsewhere(name: str) -> str:
    named = {"eta": "learning_rate", "n_estimators": "rounds", "num_boost_round": "rounds"}.get(name)
    return f"search it as {named}" if named else f"cannot be searched: {RESERVED_PARAMETERS[name]}"


def _is_positive(value: Any, *, whole: bool) -> bool:
    return not isinstance(value, bool) and isinstance(value, int if whole else int | float) and value > 0
