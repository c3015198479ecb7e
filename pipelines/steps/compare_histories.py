"""Measures whether a model of the newest rows alone predicts the next days better than one of all rows."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl

from pipelines.errors import Refused
from pipelines.messages.evaluation import HistoryComparison, HistoryRequest, Interval
from pipelines.ports import Ports
from pipelines.spec.model import ModelSpec
from pipelines.steps.evaluation.forward_chaining import Recipe, known_rows, later_stretches, train_again
from pipelines.steps.evaluation.metrics import Array
from pipelines.steps.evaluation.paired_gain import PairedAnswers, day_blocks, paired_gain
from pipelines.steps.evaluation.rows import event_days, time_span
from pipelines.steps.take_snapshot import read_snapshot
from pipelines.tables.entity_id import entity_id


def run(request: HistoryRequest, ports: Ports) -> HistoryComparison:
    """Chain both histories forward over the last third of the newest days, 20 at least (``later_stretches``).

    Before each stretch the declared recipe is trained on the rows that were known then, of the declared history and of
    ``recent_days`` alone, in the way that it is deployed: with ``refit`` on all of them. Searched parameters are not
    searched again; both have the declared ones. ``notes`` say why nothing was measured.
    """
    spec = ports.catalog.model(request.model)
    frame = read_snapshot(ports.store, request.model, request.declared)
    frame = frame.filter(pl.col("target").is_not_null()).sort("prediction_time", maintain_order=True)
    facts = {"model": request.model, "recent_days": request.recent_days, "rows": frame.height}
    if spec.training.out_of_core is not None:
        return HistoryComparison(**facts, notes=["training.out_of_core: its rows are not trained on again in memory"])
    try:
        gain, note = _chain(frame, request.recent_days, spec, ports)
    except Refused as refusal:
        return HistoryComparison(**facts, notes=["; ".join([refusal.subject, *refusal.reasons])])
    return HistoryComparison(**facts, gain=gain, notes=[note])


def _chain(frame: pl.DataFrame, recent_days: int, spec: ModelSpec, ports: Ports) -> tuple[Interval | None, str]:
    """The gain (None: the metric is not defined), and how it was measured. ``Refused`` for too few rows or days."""
    view = ports.catalog.view_of(spec.model)
    features = {name: feature.type for name, feature in view.features.items() if name in frame.columns}
    recipe = Recipe(spec.training, spec.problem, spec.training.seed, features)
    frame = frame.with_columns(entity_id(view))
    newest_moment = time_span(frame)[1]
    earliest = newest_moment - timedelta(days=recent_days) if newest_moment else None
    recent = frame.filter(pl.col("prediction_time") >= earliest)
    stretches = later_stretches(event_days(recent, spec.model, ports), recent["prediction_time"], by_day=True)

    def chained(history_days: int | None) -> Array:
        training = spec.training.model_copy(update={"history_days": history_days})
        what = "all rows" if history_days is None else f"rows of {history_days} days"
        return np.concatenate(
            [
                train_again(
                    recipe,
                    known_rows(frame, stretch.start, training),
                    f"{what} before {stretch.start:%Y-%m-%d}",
                    refit=training.refits,
                )(recent[stretch.places])
                for stretch in stretches
            ]
        )

    rows = recent[np.concatenate([stretch.places for stretch in stretches])]
    days = event_days(rows, spec.model, ports)
    target = rows["target"].cast(pl.Float64).to_numpy()
    answers = PairedAnswers(target, chained(recent_days), chained(spec.training.history_days), day_blocks(days))
    by_day = spec.evaluation.comparison.model_copy(update={"unit": "day"})
    threshold = spec.evaluation.threshold
    gain = paired_gain(spec.problem, by_day, answers, threshold=threshold, method="forward_chaining")
    undefined = "" if gain else f"; {by_day.metric} is not defined on them"
    return gain, f"compared over the {days.n_unique()} newest days in {len(stretches)} stretches{undefined}"
