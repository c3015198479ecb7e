"""Scores of several folds, with mean and spread; a forward-chained fold never trains on a row later than it scores."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import KFold, StratifiedKFold

from pipelines.errors import Refused
from pipelines.spec.durations import written_duration
from pipelines.spec.model import CrossValidation, Training
from pipelines.steps.evaluation.metrics import measure
from pipelines.steps.training.device import Device
from pipelines.steps.training.fitting import EncodedPart, fit
from pipelines.tables.encoding import FeatureInput

RowIndices = npt.NDArray[np.int64]


def folds(
    declared: CrossValidation,
    times: npt.NDArray[np.datetime64],
    target: npt.NDArray[np.float64],
    seed: int,
    gap: timedelta | None = None,
) -> Iterator[tuple[RowIndices, RowIndices]]:
    """Places of the rows to train on and of those to score, fold by fold; ``times`` ascends.

    forward_chaining: the rows are cut into ``folds + 1`` blocks of nearly equal size along time; fold *i* trains on
    the blocks up to *i* and scores the next. Rows of one instant are never on both sides. ``gap``: how long after its
    moment a row's label tells of; no fold trains on a row whose label tells of the time that it scores.
    """
    if declared.strategy != "forward_chaining" and len(times) < declared.folds:
        raise Refused(f"{len(times)} rows are too few for {declared.folds} folds; declare fewer folds")
    if declared.strategy == "k_fold":
        yield from KFold(declared.folds, shuffle=True, random_state=seed).split(times)
        return
    if declared.strategy == "stratified":
        classes = np.unique(target)
        if len(classes) > 2:
            raise Refused("cross_validation.strategy stratified needs classes; use forward_chaining or k_fold")
        fewest = min((int((target == value).sum()) for value in classes), default=0)
        if len(classes) == 2 and fewest < declared.folds:
            raise Refused(f"{fewest} rows of the rarer class are too few for {declared.folds} stratified folds")
        yield from StratifiedKFold(declared.folds, shuffle=True, random_state=seed).split(times, target)
        return
    cuts = [len(times) * block // (declared.folds + 1) for block in range(1, declared.folds + 1)]
    edges = [int(np.searchsorted(times, times[cut], side="left")) for cut in cuts] + [len(times)]
    if edges[0] == 0 or any(low >= high for low, high in pairwise(edges)):
        raise Refused(f"{len(times)} rows have too few distinct times for {declared.folds} forward-chained folds")
    for low, high in pairwise(edges):
        end = int(np.searchsorted(times, times[low] - np.timedelta64(gap), side="right")) if gap else low
        if gap and end == 0:
            raise Refused(
                f"no row is {written_duration(gap)} older than {times[low]}; declare fewer folds, or take more data"
            )
        yield np.arange(end), np.arange(low, high)


def _check_classes(targets: list[npt.NDArray[np.float64]]) -> None:
    """``Refused`` with every fold that would learn from one class alone; its scored rows may be of one."""
    faults = [
        f"fold {number} of {len(targets)} trains on {len(target)} rows, {int(target.sum())} of them positive"
        for number, target in enumerate(targets, 1)
        if len(np.unique(target)) < 2
    ]
    if faults:
        way_on = "declare fewer folds, strategy stratified, or a history with both classes from its beginning"
        raise Refused("training.cross_validation has folds of one class only", [*faults, way_on])


def cross_validate(
    training: Training,
    problem: str,
    seed: int,
    features: list[FeatureInput],
    rows: EncodedPart,
    times: npt.NDArray[np.datetime64],
    rounds: int,
    threshold: float,
    device: Device = "cpu",
) -> tuple[list[dict[str, float]], dict[str, float]]:
    """Metrics per fold, and ``<metric>_mean`` and ``<metric>_std`` (of the sample) over the folds that define it.

    Every fold boosts the same number of rounds, so that none stops early by the rows that score it.
    """
    if training.cross_validation is None:
        return [], {}
    fold_training = training.model_copy(
        update={
            "estimator": training.estimator.model_copy(update={"rounds": rounds}),
            "early_stopping": training.early_stopping.model_copy(update={"enabled": False}),
        }
    )
    scores = []
    parts = list(folds(training.cross_validation, times, rows.target, seed, training.split.gap))
    if problem == "classification":
        _check_classes([rows.target[train] for train, _ in parts])
    for train, held_out in parts:
        part = rows.take_rows(held_out)
        model = fit(fold_training, problem, seed, features, rows.take_rows(train), part, device=device)
        measured = measure(problem, part.target, model.predict(part.rows), threshold)
        scores.append({name: value for name, value in measured.items() if value is not None})
    summary = {}
    for name in sorted({name for score in scores for name in score}):
        values = np.array([score[name] for score in scores if name in score])
        summary[f"{name}_mean"] = float(values.mean())
        summary[f"{name}_std"] = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return scores, summary
