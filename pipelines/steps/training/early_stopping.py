"""Training stops once the declared metric has not improved by more than ``min_delta`` for ``patience`` rounds."""

from __future__ import annotations

from pipelines.spec.model import EarlyStopping
from pipelines.steps.training.scores import improves


class EarlyStopper:
    """``observe`` each round's validation score; ``best_round`` counts from 0 and is None before the first."""

    def __init__(self, declared: EarlyStopping, mode: str) -> None:
        self._declared = declared
        self._mode = mode
        self._seen = 0
        self._best: float | None = None
        self.best_round: int | None = None

    def observe(self, score: float) -> bool:
        """True if training should stop after this round."""
        if improves(score, self._best, self._mode, self._declared.min_delta):
            self._best, self.best_round = score, self._seen
        self._seen += 1
        waited = self._seen - 1 - (self.best_round if self.best_round is not None else -1)
        return self._declared.enabled and waited >= self._declared.patience
