"""Trains a version's recipe again on what was known before some days, so that it can be measured on those days.

A test part of few days cannot tell two models apart; the days before it can, by models that have not seen them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from pipelines.errors import Refused
from pipelines.ports import Ports, VersionInfo
from pipelines.spec.model import MINIMUM_UNITS, WANTED_UNITS, Training
from pipelines.steps.evaluation.metrics import Array
from pipelines.steps.snapshot.split import TRAIN, VALIDATION, assign_parts
from pipelines.steps.training.fitting import fit
from pipelines.steps.training.refit import kept_rates
from pipelines.steps.training.search import with_parameters
from pipelines.steps.training.snapshot import encode_part
from pipelines.steps.training.training_record import read_training_record
from pipelines.tables.encoding import Kind, encode, learn_inputs

STRETCHES = 4
"""Trainings per recipe: each answers about a stretch of days that begins where its rows end."""
CROSS_FITTED_PARTS = 5


@dataclass(frozen=True)
class Recipe:
    """How a version was trained: declaration with the searched values, seed, and features by type."""

    training: Training
    problem: str
    seed: int
    features: dict[str, Kind]


@dataclass(frozen=True)
class Stretch:
    """Rows to answer (places in the table), and the moment at which the models that answer are trained."""

    places: npt.NDArray[np.int64]
    start: datetime


def read_recipe(info: VersionInfo, ports: Ports) -> Recipe:
    """``Refused`` if the version has no record of its training, or its table does not fit in memory."""
    plan, _, trial = read_training_record(info, ports)
    training = plan.training if trial is None else with_parameters(plan.training, trial.parameters)
    if training.out_of_core is not None:
        raise Refused(f"{info.model} version {info.version} is trained out of core, which is not repeated here")
    return Recipe(training, plan.problem, plan.seed, plan.features)


def later_stretches(days: pl.Series, times: pl.Series, *, by_day: bool) -> list[Stretch]:
    """The last third of the days, between 20 and 40, in ``STRETCHES`` of nearly equal length; rows are in time order.

    ``by_day``: days are what is compared, so there must be 20 to compare and as many before them. ``Refused``
    otherwise.
    """
    known = days.unique().sort()
    least = MINIMUM_UNITS if by_day else 1
    if len(known) < 2 * least:
        raise Refused(f"the snapshot has rows of {len(known)} days; forward chaining needs {2 * least}")
    last = known[-min(WANTED_UNITS, max(least, len(known) // 3)) :]
    stretches = []
    for part in np.array_split(np.arange(len(last)), min(STRETCHES, len(last))):
        places = np.flatnonzero(days.is_between(last[int(part[0])], last[int(part[-1])]).to_numpy())
        start = times[int(places[0])]
        assert isinstance(start, datetime)
        stretches.append(Stretch(places.astype(np.int64), start))
    return stretches


def entity_parts(entities: pl.Series) -> list[npt.NDArray[np.int64]]:
    """Places of the rows of each fifth of the entities, drawn by their digest."""
    names = entities.cast(pl.String).fill_null("").to_numpy().astype(str)
    known, places = np.unique(names, return_inverse=True)
    digests = np.array([int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) for name in known])
    drawn = (digests % CROSS_FITTED_PARTS)[places]
    parts = [np.flatnonzero(drawn == part).astype(np.int64) for part in range(CROSS_FITTED_PARTS)]
    return [part for part in parts if len(part)]


def known_rows(frame: pl.DataFrame, moment: datetime, training: Training) -> pl.DataFrame:
    """The rows whose label was known before ``moment``, within the declared history."""
    known = frame.filter((pl.col("label_time") < moment) & (pl.col("prediction_time") < moment))
    if training.history_days is None:
        return known
    return known.filter(pl.col("prediction_time") >= moment - timedelta(days=training.history_days))


def has_shorter_history(training: Training, other: Training) -> bool:
    """Whether rows that the other one is trained on are none of this one's."""
    if training.history_days is None:
        return False
    return other.history_days is None or other.history_days > training.history_days


def train_again(
    recipe: Recipe, known: pl.DataFrame, what: str, *, refit: bool = False
) -> Callable[[pl.DataFrame], Array]:
    """The recipe's model of these rows, as a function that predicts: the declared split, and its train part.

    ``refit``: the same rounds are fitted again on all the rows, as for what is deployed. ``Refused`` if they are too
    few, or a part lacks rows or a class; ``what`` names the model in the reason.
    """
    training = recipe.training
    if known.height < training.minimum_rows:
        raise Refused(f"{what}: {known.height} rows were known, training.minimum_rows is {training.minimum_rows}")
    classifies = recipe.problem == "classification"
    part = assign_parts(known, training.split, seed=training.seed, classification=classifies)
    train, validation = known.filter(part == TRAIN), known.filter(part == VALIDATION)
    for name, rows in ((TRAIN, train), (VALIDATION, validation)):
        if rows.is_empty() or (classifies and rows["target"].n_unique() < 2):
            raise Refused(f"{what}: part {name} of {rows.height} rows cannot be trained on")
    inputs = learn_inputs(train, recipe.features)
    model = fit(
        training, recipe.problem, recipe.seed, inputs, encode_part(train, inputs), encode_part(validation, inputs)
    )
    if refit:
        rates, inputs = kept_rates(model), learn_inputs(known, recipe.features)
        model = fit(training, recipe.problem, recipe.seed, inputs, encode_part(known, inputs), None, rates=rates)
    return lambda rows: np.asarray(model.predict(encode(rows, inputs)), dtype=np.float64)
