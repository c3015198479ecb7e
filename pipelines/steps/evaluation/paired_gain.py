"""The gain of a candidate with an interval by days or entities, both models measured on the same rows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from pipelines.messages.evaluation import Interval, Method
from pipelines.spec.model import LOWER_IS_BETTER, ComparisonSpec
from pipelines.statistics.block_jackknife import BlockError, block_jackknife
from pipelines.steps.evaluation.metrics import Array, gain, measure_one
from pipelines.steps.evaluation.weighted import weighted_metric

Blocks = npt.NDArray[np.int64]
MAX_BLOCKS = 400
"""Entities beyond this number share blocks, drawn by their digest (delete-a-group jackknife, Kott 2001)."""


@dataclass(frozen=True)
class PairedAnswers:
    """What two models answered on the same rows, and in which block (day or entity) each row is."""

    target: Array
    candidate: Array
    champion: Array
    blocks: Blocks

    def take(self, inside: npt.NDArray[np.bool_]) -> PairedAnswers:
        """The chosen rows; blocks without a row are gone."""
        blocks = np.unique(self.blocks[inside], return_inverse=True)[1].astype(np.int64)
        return PairedAnswers(self.target[inside], self.candidate[inside], self.champion[inside], blocks)

    @property
    def units(self) -> int:
        return len(np.unique(self.blocks))


def day_blocks(days: pl.Series) -> Blocks:
    """Block of each row by its day."""
    return np.unique(days.to_numpy(), return_inverse=True)[1].astype(np.int64)


def entity_blocks(values: pl.Series) -> Blocks:
    """Block of each row by its entity; of more than ``MAX_BLOCKS`` entities several share one."""
    names, places = np.unique(values.cast(pl.String).fill_null("").to_numpy().astype(str), return_inverse=True)
    if len(names) <= MAX_BLOCKS:
        return places.astype(np.int64)
    digests = [hashlib.sha256(name.encode()).hexdigest() for name in names]
    ranks = np.argsort(np.argsort(digests))
    return np.asarray(ranks * MAX_BLOCKS // len(names), dtype=np.int64)[places]


def paired_gain(
    problem: str,
    declared: ComparisonSpec,
    answers: PairedAnswers,
    *,
    threshold: float,
    attempt: int = 1,
    method: Method = "held_out",
) -> Interval | None:
    """The gain, positive is better, with the interval of the block jackknife; None if it could not be measured.

    With one block there is a gain and no interval: its ends are then infinite. ``attempt`` counts the candidates that
    were compared on these test rows; each has a wider interval than the one before (``ComparisonSpec.level``).
    """
    values = [
        measure_one(problem, declared.metric, answers.target, model, threshold)
        for model in (answers.candidate, answers.champion)
    ]
    estimate = gain(declared.metric, values[0], values[1])
    if estimate is None or values[0] is None or values[1] is None:
        return None
    error = gain_error(declared.metric, answers, threshold)
    confidence, margin = declared.level(attempt), declared.allowed_loss(values[1])
    width = error.half_width(confidence) if error else None
    return Interval(
        metric=declared.metric,
        candidate=values[0],
        champion=values[1],
        gain=estimate,
        low=None if width is None else estimate - width,
        high=None if width is None else estimate + width,
        confidence=confidence,
        rows=len(answers.target),
        unit=declared.unit,
        units=answers.units,
        standard_error=error.standard_error if error else None,
        equal_passes=error.chance_to_pass(margin, confidence) if error else None,
        margin=margin,
        method=method,
        attempt=attempt,
    )


def gain_error(metric: str, answers: PairedAnswers, threshold: float) -> BlockError | None:
    """Standard error of the difference of both models' metric; None where leaving out a block leaves it undefined."""
    models = [
        weighted_metric(metric, answers.target, model, threshold) for model in (answers.candidate, answers.champion)
    ]
    sign = -1 if metric in LOWER_IS_BETTER else 1
    return block_jackknife(lambda weights: sign * (models[0](weights) - models[1](weights)), answers.blocks)
