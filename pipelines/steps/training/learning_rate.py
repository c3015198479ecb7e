"""The learning rate of a round depends on the declaration and the earlier scores alone, so a resumed run repeats it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipelines.spec.model import LearningRate
from pipelines.steps.training.scores import improves


class LearningRateSchedule:
    """``rate(round)`` before each boosting round, counting from 0; ``observe(score)`` after it.

    constant: ``initial``. step: ``initial * factor ** (round // step_every)``. cosine: from ``initial`` to ``minimum``
    along half a cosine over all ``rounds`` (Loshchilov and Hutter 2017, without restarts). plateau: multiplied by
    ``factor`` after every ``patience`` rounds without a better score. step and plateau never go below ``minimum``.
    """

    def __init__(self, declared: LearningRate, rounds: int, mode: str) -> None:
        self._declared = declared
        self._rounds = rounds
        self._mode = mode
        self._reductions = 0
        self._waited = 0
        self._best: float | None = None

    def rate(self, round_: int) -> float:
        declared = self._declared
        if declared.schedule == "constant":
            return declared.initial
        if declared.schedule == "cosine":
            share = (1 + math.cos(math.pi * round_ / self._rounds)) / 2
            return declared.minimum + (declared.initial - declared.minimum) * share
        reductions = round_ // declared.step_every if declared.schedule == "step" else self._reductions
        return max(min(declared.minimum, declared.initial), declared.initial * declared.factor**reductions)

    def observe(self, score: float) -> None:
        """Record the validation score of the round just done."""
        if improves(score, self._best, self._mode):
            self._best, self._waited = score, 0
            return
        self._waited += 1
        if self._waited >= self._declared.patience:
            self._reductions, self._waited = self._reductions + 1, 0


class RepeatedRates:
    """The learning rates of another fit, round by round, whatever the scores of this one are."""

    def __init__(self, rates: Sequence[float]) -> None:
        self._rates = rates

    def rate(self, round_: int) -> float:
        return self._rates[round_]

    def observe(self, score: float) -> None:
        """Scores change nothing."""
        del score
