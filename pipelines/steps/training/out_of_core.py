"""Trains on a snapshot in batches: in memory are one batch at a time, then one page and about 40 bytes per row.

XGBoost keeps the quantised rows in pages on local disk (``ExtMemQuantileDMatrix``) and goes through them once per
level of a tree. In memory remain one page, and per row its gradient, target and score: about 40 bytes. The quantiles
are sketched over the batches, so the cut of the snapshot affects the model, too; its digest covers the cut.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import xgboost as xgb

from pipelines.errors import Refused, Unavailable
from pipelines.spec.model import Training
from pipelines.steps.snapshot.split import PARTS
from pipelines.steps.training.boosting import CheckpointStore, OnRound, boost
from pipelines.steps.training.boosting_plan import BoostingPlan, plan_boosting
from pipelines.steps.training.fitting import FittedModel, to_fitted_model
from pipelines.steps.training.snapshot import Snapshot, encode_part
from pipelines.tables.encoding import FeatureInput, Kind, learn_inputs

CACHE_PREFIX = "airworthy-out-of-core-"
CELL_BYTES = 10
"""Disk that one value of one row may take: 4 as encoded, until it is quantised, and up to 6 in XGBoost's pages."""


def learn_inputs_in_batches(
    snapshot: Snapshot, types: Mapping[str, Kind], parts: Sequence[str] = ("train",)
) -> list[FeatureInput]:
    """``learn_inputs`` of all rows of these parts, from one batch after the other."""
    categories: dict[str, set[str]] = {name: set() for name in types}
    for batch in (batch for part in parts for batch in snapshot.batches(part, list(types))):
        for feature in learn_inputs(batch, types):
            categories[feature.name].update(feature.categories)
    return [FeatureInput(name, kind, tuple(sorted(categories[name]))) for name, kind in types.items()]


def fit_in_batches(
    training: Training,
    problem: str,
    seed: int,
    features: list[FeatureInput],
    snapshot: Snapshot,
    *,
    key: str,
    checkpoints: CheckpointStore | None = None,
    on_round: OnRound | None = None,
    rates: Sequence[float] | None = None,
) -> FittedModel:
    """Fit as ``fitting.fit`` does, on ``train``, watching ``validation``; with ``rates`` on all parts, watching none.

    ``key`` names the request: what a killed attempt at it left on local disk is removed first. ``Unavailable`` if the
    disk has too little room for the quantised rows.
    """
    plan = plan_boosting(training, problem, seed, rates=rates)
    with _cache_folder(key) as folder:
        _check_disk_space(folder, snapshot, features, ["train", "validation"] if rates is None else PARTS)
        try:
            return _fit(plan, features, snapshot, folder, checkpoints, on_round)
        except xgb.core.XGBoostError as error:
            text = str(error).partition("Stack")[0]
            raise Refused("XGBoost does not accept the declared training", [text]) from error


def _fit(
    plan: BoostingPlan,
    features: list[FeatureInput],
    snapshot: Snapshot,
    folder: Path,
    checkpoints: CheckpointStore | None,
    on_round: OnRound | None,
) -> FittedModel:
    """In a function of its own, so that the matrices release their pages before the folder is deleted."""
    parts = ["train"] if plan.rates is None else PARTS
    train = _matrix(plan, _EncodedBatches(snapshot, parts, features, folder))
    validation = None
    if plan.rates is None:
        validation = _matrix(plan, _EncodedBatches(snapshot, ["validation"], features, folder), train)
    return to_fitted_model(boost(plan, train, validation, checkpoints=checkpoints, on_round=on_round), plan, features)


def _matrix(plan: BoostingPlan, rows: _EncodedBatches, reference: xgb.DMatrix | None = None) -> xgb.DMatrix:
    bins = plan.parameters.get("max_bin")
    settings: dict[str, Any] = {"max_bin": bins} if bins else {}
    matrix = xgb.ExtMemQuantileDMatrix(rows, nthread=plan.threads, ref=reference, **settings)
    rows.delete_batches()
    return matrix


class _EncodedBatches(xgb.DataIter):
    """Parts in batches. XGBoost asks for all of them several times; each is read, verified and encoded once."""

    def __init__(self, snapshot: Snapshot, parts: Sequence[str], features: list[FeatureInput], folder: Path) -> None:
        name = "-".join(parts)
        super().__init__(cache_prefix=str(folder / name))
        self._unread: Iterator[tuple[Any, Any]] = (
            (encoded.rows, encoded.target)
            for encoded in (
                encode_part(batch, features)
                for part in parts
                for batch in snapshot.batches(part, [*(feature.name for feature in features), "target"])
            )
        )
        self._folder = folder / f"{name}-encoded"
        self._folder.mkdir()
        self._saved = self._next = 0

    def next(self, input_data: Callable[..., Any]) -> bool:
        batch = self._next_batch()
        if batch is None:
            return False
        input_data(data=batch[0], label=batch[1])
        self._next += 1
        return True

    def reset(self) -> None:
        self._next = 0

    def delete_batches(self) -> None:
        """Remove the encoded batches; the quantised pages hold all that is needed."""
        shutil.rmtree(self._folder)

    def _next_batch(self) -> tuple[Any, Any] | None:
        rows, target = (self._folder / f"{self._next:06d}-{name}.npy" for name in ("rows", "target"))
        if self._next < self._saved:
            return np.load(rows), np.load(target)
        batch = next(self._unread, None)
        if batch is not None:
            np.save(rows, batch[0])
            np.save(target, batch[1])
            self._saved += 1
        return batch


@contextmanager
def _cache_folder(key: str) -> Iterator[Path]:
    """A folder on local disk (``TMPDIR``), deleted at the end; so are those of killed attempts at the request.

    Its name ends with the process, so that an attempt that is still alive keeps its own.
    """
    prefix = f"{CACHE_PREFIX}{key[:16]}-"
    root = Path(tempfile.gettempdir())
    for stale in root.glob(f"{prefix}*"):
        owner = stale.name.removeprefix(prefix)
        if not (owner.isdecimal() and psutil.pid_exists(int(owner))) or owner == str(os.getpid()):
            shutil.rmtree(stale, ignore_errors=True)
    folder = root / f"{prefix}{os.getpid()}"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_disk_space(folder: Path, snapshot: Snapshot, features: list[FeatureInput], parts: Sequence[str]) -> None:
    rows = sum(snapshot.record.parts[part].rows for part in parts)
    needed, free = rows * (len(features) + 4) * CELL_BYTES, shutil.disk_usage(folder).free
    if free < needed:
        gigabyte = 1024**3
        raise Unavailable(
            f"training out of core may need {needed / gigabyte:.1f} GiB below {folder.parent}, which has "
            f"{free / gigabyte:.1f} GiB free; make room, or point TMPDIR to a larger disk"
        )
