"""How much better a version's own test part shows it than later days do."""

from __future__ import annotations

import math
from collections.abc import Mapping

import polars as pl

from pipelines.messages.evaluation import Optimism
from pipelines.spec.model import LOWER_IS_BETTER
from pipelines.statistics.block_jackknife import BlockError, block_jackknife
from pipelines.steps.evaluation.comparison_units import unit_blocks
from pipelines.steps.evaluation.contest import Compared, Contest
from pipelines.steps.evaluation.metrics import Array, measure_one
from pipelines.steps.evaluation.paired_gain import Blocks
from pipelines.steps.evaluation.rows import read_facts, time_span
from pipelines.steps.evaluation.weighted import weighted_metric


def optimism_of_version(contest: Contest, version: str) -> Optimism | None:
    """A version's test part beside the candidate's rows that are later than that version's whole snapshot.

    None where no such rows are known, or the metric is not defined on them. ``Refused`` if the version cannot answer.
    """
    info = contest.ports.registry.get(contest.spec.model, version)
    shown = read_facts(info, contest.ports).test
    _, end = time_span(shown)
    table = contest.facts.table if contest.facts.table is not None else contest.facts.test
    if end is None:
        return None
    later = table.filter(pl.col("target").is_not_null() & (pl.col("prediction_time") > end))
    if later.is_empty():
        return None
    values, errors = zip(
        *[_measured(contest, rows, contest.predict(info, rows)) for rows in (shown, later)], strict=True
    )
    return _optimism(contest, version, values, errors, int(unit_blocks(later, contest.spec, contest.ports).max()) + 1)


def optimism_by_training_again(
    contest: Contest, metrics: Mapping[str, float | None], compared: Compared
) -> Optimism | None:
    """The candidate's shown metric beside that of its recipe on rows which it was trained without."""
    if compared.answers is None:
        return None
    own = _measured(contest, contest.test, contest.test.get_column("_candidate").to_numpy())
    again = _measure(contest, compared.answers.target, compared.answers.candidate, compared.answers.blocks)
    values = (metrics.get(contest.spec.evaluation.comparison.metric), again[0])
    return _optimism(contest, contest.candidate.version, values, (own[1], again[1]), compared.answers.units)


def _measured(contest: Contest, rows: pl.DataFrame, answers: Array) -> tuple[float | None, BlockError | None]:
    return _measure(
        contest,
        rows.get_column("target").cast(pl.Float64).to_numpy(),
        answers,
        unit_blocks(rows, contest.spec, contest.ports),
    )


def _measure(contest: Contest, target: Array, answers: Array, blocks: Blocks) -> tuple[float | None, BlockError | None]:
    metric, threshold = contest.spec.evaluation.comparison.metric, contest.spec.evaluation.threshold
    value = measure_one(contest.spec.problem, metric, target, answers, threshold)
    return value, block_jackknife(weighted_metric(metric, target, answers, threshold), blocks)


def _optimism(
    contest: Contest, version: str, values: tuple[float | None, ...], errors: tuple[BlockError | None, ...], units: int
) -> Optimism | None:
    declared = contest.spec.evaluation.comparison
    shown, later = values
    if shown is None or later is None:
        return None
    squares = [error.standard_error**2 for error in errors if error is not None]
    return Optimism(
        metric=declared.metric,
        of=version,
        shown=shown,
        later=later,
        amount=later - shown if declared.metric in LOWER_IS_BETTER else shown - later,
        standard_error=math.sqrt(sum(squares)) if len(squares) == 2 else None,
        units=units,
        unit=declared.unit,
    )
