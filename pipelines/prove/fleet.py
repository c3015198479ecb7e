"""Versions of a model, each trained by its recipe on what was known at a virtual day; every training is made once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, time

import numpy as np
import polars as pl

from pipelines.messages.monitoring import DayValue
from pipelines.messages.training import SnapshotResult, TrainRequest
from pipelines.ports import Ports
from pipelines.prove.ground import Ground
from pipelines.steps.evaluation.metrics import Array
from pipelines.steps.snapshot.split import assign_parts
from pipelines.steps.training.monitoring_reference import measure_reference
from pipelines.steps.training.plan import execute_plan, plan_training
from pipelines.steps.training.snapshot import Snapshot
from pipelines.tables.encoding import encode
from pipelines.tables.profile import TrainingProfile

RowsOf = Callable[[int], pl.DataFrame]


@dataclass(frozen=True)
class Version:
    """A trained version. ``trained``: the virtual day at whose beginning its labels were known."""

    trained: int
    predict: Callable[[pl.DataFrame], Array]
    reference: TrainingProfile

    @property
    def certificate(self) -> list[DayValue]:
        return self.reference.test_days


@dataclass
class Fleet:
    """``rows_of``: the rows of a virtual day that versions learn from. ``on_training`` is told of each new training."""

    ground: Ground
    ports: Ports
    rows_of: RowsOf
    on_training: Callable[[], None] = lambda: None
    _versions: dict[int, Version] = field(default_factory=dict)

    def version(self, trained: int) -> Version:
        """The version of the rows before a day, as far back as the calendar goes before it repeats."""
        if trained not in self._versions:
            self._versions[trained] = self._train(trained)
            self.on_training()
        return self._versions[trained]

    def _train(self, trained: int) -> Version:
        ground, spec = self.ground, self.ground.spec
        moment = datetime.combine(ground.day(trained), time(), UTC)
        rows = pl.concat([self.rows_of(number) for number in range(max(trained - ground.length, 0), trained)])
        rows = rows.filter((pl.col("label_time") < moment) & (pl.col("prediction_time") < moment))
        rows = rows.sort("prediction_time", maintain_order=True)
        request = TrainRequest(model=spec.model, snapshot="0" * 64, run_key=f"prove/{trained}")
        plan = plan_training(request, list(ground.kinds), self.ports)
        classifies = spec.problem == "classification"
        parts = assign_parts(rows, plan.training.split, seed=plan.seed, classification=classifies)
        frame = rows.with_columns(pl.Series("part", parts))
        record = SnapshotResult(
            model=spec.model,
            as_of=moment,
            digest=request.snapshot,
            uri="",
            rows=rows.height,
            parts={},
            features=list(ground.kinds),
            table_versions={},
        )
        snapshot = Snapshot(record, frame)
        result = execute_plan(plan, snapshot)

        def judged(rows: pl.DataFrame) -> Array:
            """The model of the certificate, which has not learnt its test days."""
            return np.asarray(result.fitted.predict(encode(rows, result.features)), dtype=np.float64)

        def predict(rows: pl.DataFrame) -> Array:
            return np.asarray(result.deployed.predict(encode(rows, result.deployed_features)), dtype=np.float64)

        reference = measure_reference(ground.kinds, snapshot, self.ports, judged, plan.seed, refitted=plan.refit)
        return Version(trained, predict, reference)
